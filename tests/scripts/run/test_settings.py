"""Settings: read once, never changed; and what is made of them."""

import copy
import dataclasses
import pickle

import pytest
import tensorflow as tf
from absl import flags

from train.lib.run import cli, run_folder, strategies, summary
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings

SETTINGS = Settings(
    {"workdir": "/x", "seed": 0, "hidden": ("4", "5"), "tensorboard": True}, frozenset({"seed"})
)


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SETTINGS.seed = 1
    assert SETTINGS.replace(seed=1).seed == 1
    assert SETTINGS.seed == 0
    assert SETTINGS.replace(seed=1).typed == {"seed"}


@pytest.mark.parametrize("read", [lambda: SETTINGS.sed, lambda: SETTINGS.replace(sed=1)])
def test_a_name_that_is_no_flag_is_an_error(read):
    with pytest.raises(AttributeError, match="there is no flag --sed"):
        read()


def test_settings_are_copied_and_sent_to_processes():
    for other in (copy.deepcopy(SETTINGS), pickle.loads(pickle.dumps(SETTINGS))):
        assert other == SETTINGS
        assert other.hidden == ("4", "5")


def test_a_run_stores_neither_its_folder_nor_what_changes_no_number():
    assert SETTINGS.stored() == {"hidden": ("4", "5"), "seed": 0}


def test_a_script_can_be_parsed_again_and_keeps_no_trace():
    values = cli.common_flags({"small": {"epochs": 2}, "large": {"epochs": 9}})
    flags.DEFINE_list("hidden", ["4"], "Widths.", flag_values=values)
    presets = {"small": {"epochs": 2}, "large": {"epochs": 9}}
    first = cli.parse(values, ["x", "--preset=large", "--seed=3", "--hidden=1,2"], presets)
    second = cli.parse(values, ["x"], presets)
    assert (first.epochs, first.seed, first.hidden) == (9, 3, ("1", "2"))
    assert (second.epochs, second.seed, second.hidden) == (2, 0, ("4",))
    assert (first.typed, second.typed) == ({"preset", "seed", "hidden"}, set())
    with pytest.raises(flags.UnparsedFlagAccessError):
        _ = values.seed


def with_devices(devices, strategy="auto"):
    return Settings({"devices": devices, "strategy": strategy})


def test_two_devices_have_a_replica_each():
    strategies.make_logical_devices(3)  # too late, and without effect: the tests have made two
    assert len(tf.config.list_logical_devices("CPU")) == 2
    assert strategies.strategy(with_devices(2)).num_replicas_in_sync == 2
    assert strategies.strategy(with_devices(1)).num_replicas_in_sync == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (with_devices(3), "--devices=3: there are only 2"),
        (with_devices(2, "none"), "--devices=2 is for --strategy=mirrored, not none"),
        (with_devices(2, "parameter_server"), "not parameter_server"),
    ],
)
def test_devices_that_have_no_replica_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        strategies.strategy(settings)


def test_every_summary_starts_with_the_same_head(tmp_path):
    with run_folder.Run(tmp_path, {}, "regression") as run:
        head = summary.head(run, what="a net on booth", name="mse", value=0.5, unit="", seconds=2.0)
    assert list(head) == ["script", "what", "headline", "seconds", "commit", "versions"]
    assert head["headline"] == {"name": "mse", "value": 0.5, "unit": ""}
    assert head["script"] == "regression"
    assert head["versions"]["keras"].startswith("3.")
