"""Splits of a recording by time."""

import numpy as np
import pytest

from train.distill import splits


def test_splits_by_hand():
    train, test = splits.split([4, 3, 3], 40)  # a border between episodes
    assert (train.tolist(), test[0], test[-1]) == ([0, 1, 2, 3], 4, 9)
    train, test = splits.split([4, 3, 3], 60, "episode")
    assert (train.tolist(), test.tolist()) == ([0, 1, 2, 3], [7, 8, 9])
    assert splits.split([4, 3, 3], 10, test_percent=40)[1].tolist() == [7, 8, 9]
    assert [len(steps) for steps in splits.held_out([4, 3, 3], 10)] == [7, 3]
    assert [len(steps) for steps in splits.held_out([4, 3, 3], 5)] == [4, 1]


def test_an_episode_that_begins_at_the_border_tests():
    # In floating point 100 * (1 - 0.45) is above 55.
    train, test = splits.split([20, 35, 20, 25], 20, test_percent=45)
    assert (len(train), test[0], len(test)) == (20, 55, 45)
    assert len(splits.training([10_000], 0.57)) == 57


@pytest.mark.parametrize("kind", ["step", "episode"])
@pytest.mark.parametrize("percent", [1, 5, 10, 25, 50, 80])
def test_training_and_test_share_no_episode(kind, percent):
    lengths = np.random.default_rng(0).integers(5, 90, 500)
    episode = np.repeat(np.arange(500), lengths)
    train, test = splits.split(lengths, percent, kind)
    assert not set(episode[train]) & set(episode[test])
    assert max(train) < min(test)
    assert len(train) == int(sum(lengths) * percent / 100) or kind == "episode"
    assert (
        np.bincount(episode[test])[np.unique(episode[test])] == lengths[episode[test[0]] :]
    ).all()
    learn, held_out = splits.held_out(lengths, len(train))
    assert not set(episode[learn]) & set(episode[held_out])
    assert [*learn, *held_out] == [*train]
    assert len(held_out) >= len(train) / 10
