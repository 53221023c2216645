"""The games, the driver, the returns and the policies, on real ROMs."""

import ale_py
import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from train.lib.atari import environment, play, policies
from train.lib.run.errors import UsageError
from train.teacher import returns


def uniform(actions):
    return lambda frames: (np.zeros([len(frames), actions]), np.zeros(len(frames)))


def test_actions_are_the_papers():
    found = {}
    for game, indices in environment.ACTIONS.items():
        ale = ale_py.ALEInterface()
        ale.loadROM(ale_py.roms.get_rom_path(game))
        minimal = [action.name for action in ale.getMinimalActionSet()]
        found[game] = [minimal[k] for k in indices]
    assert found["pong"] == ["NOOP", "RIGHT", "LEFT"]
    assert found["breakout"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert found["space_invaders"] == ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]


def test_stacks_slide_and_episodes_end_and_begin_within_a_step():
    games, random = environment.Atari("breakout", 2, seed=0), np.random.default_rng(0)
    assert games.frames.shape == (2, 84, 84, 4)
    assert games.frames.dtype == np.uint8
    assert not games.frames[..., :3].any()  # black before the start
    lives, ends = np.zeros(2, int), 0
    while ends < 3:
        before = games.frames
        step = games.step(random.integers(0, 4, 2))
        lives += step.life_lost
        after = games.frames if step.last_frames is None else step.last_frames
        for k in range(2):
            seen = after if step.ended[k] else games.frames
            np.testing.assert_array_equal(seen[k, ..., :3], before[k, ..., 1:])
            if step.ended[k]:
                assert lives[k] == 5  # A life lost ends no episode, the fifth one does.
                assert not games.frames[k, ..., :3].any()
                lives[k] = 0
                ends += 1
    assert not step.truncated.any()


def test_long_episodes_are_cut_off():
    games = environment.Atari("pong", 1, seed=0, longest=200)
    steps = [games.step(np.zeros(1, int)) for _ in range(50)]
    [cut] = [step for step in steps if step.ended[0]]
    assert cut.truncated[0]
    assert not cut.terminated[0]


def test_the_same_seed_plays_the_same_game():
    scores = [play.scores(uniform(4), "breakout", 2, seed=[1, 2]) for _ in range(2)]
    np.testing.assert_array_equal(*scores)
    assert play.scores(uniform(4), "breakout", 3, seed=0, stop=lambda: True) is None


def test_scores_count_every_games_first_episode_alone():
    found = play.Scores(2)
    for reward, ended in [([1, 2], [False, True]), ([10, 20], [True, False]), ([5, 5], [0, 1])]:
        step = environment.Step(
            np.array(reward, float), np.array(ended, bool), *3 * [np.zeros(2, bool)]
        )
        found(play.Moment(*4 * [None], step))
    np.testing.assert_array_equal(found.totals, [11, 2])


def test_sampled_actions_follow_the_policy():
    probabilities = np.array([0.1, 0.6, 0.3])
    logits = np.log(np.tile(probabilities, [20_000, 1])) + 5.0
    drawn = play.sample(logits, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, probabilities, atol=0.01)


def test_advantages_by_hand():
    """Two games of three steps; the second one ends at its second step."""
    rewards = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    discounts = np.array([[0.5, 0.5], [0.5, 0.0], [0.5, 0.5]])
    values = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 6.0]])
    last = np.array([8.0, 10.0])
    # deltas: 1+1-1, 0+2-2, 3+4-4 and 0+1-4, 2-2, 0+5-6
    np.testing.assert_allclose(
        returns.advantages(rewards, discounts, values, last, trace=0.5),
        [[1 + 0.25 * (0 + 0.25 * 3), -3 + 0.25 * 0], [0 + 0.25 * 3, 0], [3, -1]],
    )
    n_step = returns.advantages(rewards, discounts, values, last, trace=1.0) + values
    np.testing.assert_allclose(n_step[:, 0], [1 + 0.5 * (0.5 * 7), 0.5 * 7, 3 + 0.5 * 8])
    np.testing.assert_allclose(n_step[:, 1], [0.5 * 2, 2, 0.5 * 10])


def small(actions, inputs=(84, 84, 4), value=False):
    frames = keras.Input(inputs)
    h = keras.layers.GlobalAveragePooling2D()(frames)
    logits = keras.layers.Dense(actions, name="logits")(h)
    return keras.Model(frames, [logits, keras.layers.Dense(1)(h)] if value else logits)


class Plays(tf.Module):
    """A SavedModel from elsewhere, that takes uint8."""

    @tf.function(input_signature=[tf.TensorSpec([None, 84, 84, 4], tf.uint8)])
    def __call__(self, frames):
        return {"logits": tf.cast(frames[:, 0, 0, :], tf.float32)}


FRAMES = np.random.default_rng(0).integers(0, 256, [3, 84, 84, 4], np.uint8)


def test_policies_from_keras_saved_model_and_weights(tmp_path):
    net = small(4, value=True)
    net.save(tmp_path / "net.keras")
    net.export(tmp_path / "saved")
    for name in ("net.keras", "saved"):
        logits, values = policies.load(tmp_path / name, "breakout")(FRAMES)
        expected = net(FRAMES.astype(np.float32))
        np.testing.assert_allclose(logits, expected[0], rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(values, expected[1][:, 0], rtol=1e-5, atol=1e-3)
    tf.saved_model.save(module := Plays(), tmp_path / "foreign", module.__call__)
    logits, values = policies.load(tmp_path / "foreign", "breakout")(FRAMES)
    np.testing.assert_array_equal(logits, FRAMES[:, 0, 0, :])
    assert np.isnan(values).all()

    teacher = st.nets.atari_teacher(4)
    half = {v.path: v.numpy().astype(np.float16) for v in teacher.variables}
    np.savez(tmp_path / "teacher.npz", **half)
    logits, values = policies.load(tmp_path / "teacher.npz", "breakout")(FRAMES)
    expected = teacher(FRAMES.astype(np.float32))
    np.testing.assert_allclose(logits, expected[0], atol=1e-3)
    np.testing.assert_allclose(values, expected[1][:, 0], atol=2e-2)
    assert logits.dtype == values.dtype == np.float32


def test_policies_that_do_not_fit_are_refused(tmp_path):
    small(3).save(tmp_path / "three.keras")
    small(4, inputs=(4, 84, 84)).save(tmp_path / "first.keras")
    small(4, inputs=(4, 84, 84)).export(tmp_path / "first")
    np.savez(tmp_path / "pong.npz", **{v.path: v for v in st.nets.atari_teacher(3).variables})
    (tmp_path / "half.npz").write_bytes((tmp_path / "pong.npz").read_bytes()[:1000])
    (tmp_path / "half.keras").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "three.keras": r"answers \[2, 3\].* breakout has 4 actions",
        "first.keras": r"takes \[None, 4, 84, 84\]: expected one input of frames \[B,84,84,4\]",
        "first": r"takes \[None, 4, 84, 84\]: expected one input",
        "pong.npz": r"no teacher of breakout, which has 4 actions: logits/bias is \[3\], expected",
        "half.npz": "cannot be read as a policy",
        "half.keras": "cannot be read as a policy",
        "empty": "is no run folder and no SavedModel",
        "nowhere": "does not exist: expected a run folder",
    }.items():
        with pytest.raises(UsageError, match=message):
            policies.load(tmp_path / name, "breakout")
