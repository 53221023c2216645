"""The presets `paper` of section 4.2's scripts, as the command line reads them."""

import pytest

from train.distill import __main__ as distill
from train.lib.run import cli, old_flags
from train.record import __main__ as record
from train.teacher import __main__ as teacher

RECORDING = "--recording=somewhere"


def settings(script, *arguments):
    return cli.parse(script.FLAGS, ["script", "--game=pong", *arguments], script.PRESETS)


def test_record_plays_one_game_after_another():
    paper = settings(record, "--preset=paper")
    assert (paper.num_steps, paper.num_envs) == (100_000, 1)
    assert settings(record).num_envs == 16
    assert settings(record, "--preset=paper", "--num_envs=4").num_envs == 4


def test_teacher_is_a3c_for_80_million_steps():
    paper = settings(teacher, "--preset=paper")
    assert (paper.steps, paper.num_actors, paper.num_envs) == (80_000_000, 16, 1)
    assert (paper.optimizer, paper.learning_rate, paper.unroll_length) == ("rmsprop", 7e-4, 5)
    assert (paper.gae_lambda, paper.normalize_advantages) == (1.0, False)
    own = teacher.LearnerSettings.of(settings(teacher))
    assert own == teacher.DEFAULTS  # without a preset nothing is changed
    assert settings(teacher).steps == 10_000_000


def test_distill_searches_the_paper_s_range_of_rates():
    paper = settings(distill, RECORDING, "--preset=paper")
    rates = sorted(map(float, paper.learning_rates))
    assert (rates[0], rates[-1]) == (1e-5, 1e-3)
    assert (paper.batch_size, paper.num_test_stacks) == (200, 0)
    assert list(map(float, paper.train_percent)) == [1, 5, 10, 25, 50]
    default = settings(distill, RECORDING)
    assert (default.steps, default.num_test_stacks) == (2000, 10_000)
    assert list(default.learning_rates) == ["3e-4", "1e-3", "3e-3"]


@pytest.mark.parametrize("script", [record, teacher, distill])
def test_an_older_run_without_presets_goes_on(script):
    name = script.__name__.split(".")[1]
    assert old_flags.complete(name, {"seed": 0})["preset"] == next(iter(script.PRESETS))
