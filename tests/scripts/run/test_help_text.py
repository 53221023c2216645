"""What --help shows: flags by group, defaults as they are typed, no additions of absl's."""

import pytest
from absl import flags

from train import (
    attention_transfer,
    cifar10,
    cluster,
    imagenet,
    label_supervision,
    plot,
    quickstart,
)
from train.bench import __main__ as bench
from train.distill import __main__ as distill
from train.forces import __main__ as forces
from train.lib.run import cli, help_text
from train.pricing import __main__ as pricing
from train.record import __main__ as record
from train.regression import __main__ as regression
from train.regression import uncertainty
from train.teacher import __main__ as teacher
from train.theory import __main__ as theory

SCRIPTS = [bench, cifar10, cluster, distill, forces, imagenet, plot, pricing, record, regression]
SCRIPTS += [attention_transfer, label_supervision, quickstart, teacher, theory, uncertainty]
PRESETS = {"small": {"epochs": 2, "l2": 0.5}, "paper": {"epochs": 90, "deterministic": True}}


@pytest.fixture
def text():
    values = cli.common_flags(PRESETS)
    own = {"flag_values": values}
    flags.DEFINE_float("l2", None, "Weight.", **own)
    flags.DEFINE_float("learning_rate", 1.0, "The rate.", **own)
    flags.DEFINE_list("hidden", ["20", "100"], "Widths.", **own)
    flags.DEFINE_multi_string("function", ["a", "b"], "Functions.", **own)
    flags.DEFINE_boolean("pixel_baseline", True, "Compare.", **own)
    flags.DEFINE_enum("method", "x", ["x", "y"], "The method.", **own)
    flags.DEFINE_enum(
        "schedule", None, ["cosine", "piecewise"], "cosine: down. piecewise: lower.", **own
    )
    return help_text.help_text(values, PRESETS)


def test_flags_stand_in_groups_the_most_important_first(text):
    headings = [line for line in text.splitlines() if line.endswith(":") and line[0].isalpha()]
    assert headings == ["What:", "Training:", "Running:"]
    names = ["function", "method", "preset", "workdir", "seed", "steps", "epochs", "tensorboard"]
    places = [text.index(f"--{name}") for name in names[:-1]]
    assert places == sorted(places) < [text.index("--[no]tensorboard")]


@pytest.mark.parametrize(
    "expected",
    [
        "  --hidden=20,100\n      Widths.\n",
        "  --learning_rate=1\n      The rate.\n",
        "  --l2=0.5\n      Weight.\n",  # of the default preset
        "  --epochs=2\n",
        "  --steps=N\n",
        "  --function=TEXT\n      Functions. May be repeated. Default: a,b.\n",
        "  --[no]pixel_baseline\n      Compare. Default: --pixel_baseline.\n",
        "  --method=x\n      The method. One of x, y.\n",
        "  --schedule=NAME\n      cosine: down. piecewise: lower.\n",
        "--preset=paper stands for:\n  --epochs=90 --deterministic",
    ],
)
def test_defaults_are_shown_as_they_are_typed(text, expected):
    assert expected in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_every_flag_of_a_script_has_a_group_and_a_sentence(script):
    assert "Other" not in help_text.grouped(script.FLAGS)
    for name in script.FLAGS:
        assert script.FLAGS[name].help
    text = help_text.help_text(script.FLAGS, getattr(script, "PRESETS", None))
    for addition in ("['", "repeat this option", "<", "True", "False"):
        assert addition not in text.partition("\nWhat:")[2]


@pytest.mark.parametrize(
    ("name", "explanation"),
    [
        ("save_minutes", "Save a checkpoint at least every N minutes; 0: after every step."),
        ("num_evals", "Number of evaluations, evenly spaced over the training"),
    ],
)
def test_a_flag_of_several_scripts_has_one_explanation(name, explanation):
    for script in (cifar10, imagenet, distill, teacher):
        assert script.FLAGS[name].help.startswith(explanation)
