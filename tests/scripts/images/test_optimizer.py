"""Learning rates of section 4.3, update by update."""

import pytest

from train import cifar10
from train.lib.images.optimizer import learning_rate
from train.lib.run.settings import Settings


def test_rates_drop_after_the_paper_s_numbers_of_updates():
    settings = Settings({"schedule": "piecewise", "learning_rate": 0.1})
    schedule = learning_rate(settings, 100_000, cifar10.LEARNING_RATE_DROPS)
    for drops, updates in enumerate((40_000, 60_000, 80_000)):
        last, next_one = float(schedule(updates - 1)), float(schedule(updates))
        assert last == pytest.approx(0.1 / 10**drops)
        assert next_one == pytest.approx(last / 10)
