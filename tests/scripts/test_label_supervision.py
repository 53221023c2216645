"""train.label_supervision: its data, one short run, the verdict by hand, and its page."""

import json
from pathlib import Path

import pytest

from tests.support.cases import slow
from train import label_supervision as script
from train.lib.images import digits
from train.lib.run import json_nets
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings

RESULTS = Path(script.__file__).parent / "results" / "label_supervision"
DEFAULTS = {name: script.FLAGS[name].default for name in script.FLAGS}


def settings(**changes):
    return Settings({**DEFAULTS, "num_workers": 0, **changes})


def fake(method, weight, seed, accuracy):
    row = {"method": method, "label_weight": weight, "seed": seed}
    return {**row, "accuracy": accuracy, "cosine": [0.25] * len(accuracy)}


def test_no_digit_is_in_training_and_test():
    (x, y), (x_test, y_test) = digits.load()
    assert (len(x), len(x_test)) == (1297, 500)
    assert not {each.tobytes() for each in x} & {each.tobytes() for each in x_test}
    assert (x.min(), x.max()) == (0, 1)
    assert set(y) == set(y_test) == set(range(10))


@pytest.mark.parametrize("method", ["critic", *slow("backprop")])
def test_a_net_is_trained_and_tested_at_every_few_steps(method):
    row = script.train(script.Task(method, 0.0, 0, 40, 0.05, 1e-3, "l1"))
    assert len(row["accuracy"]) == 4
    assert row["accuracy"][-1] > 0.3  # chance: 0.1
    assert len(row["cosine"]) == (4 if method == "critic" else 0)


def test_the_term_changes_the_critic():
    rows = [script.train(script.Task("critic", w, 0, 20, 0.05, 1e-3, "l1")) for w in (0.0, 1.0)]
    assert rows[0]["cosine"] != rows[1]["cosine"]


def test_the_verdict_by_hand():
    without = [fake("sobolev", 0.0, k, [0.5, 0.8, 0.95 - 0.02 * k]) for k in range(2)]
    rows = [fake("sobolev", 1.0, k, [0.5, 0.9 + 0.01 * k, 0.95]) for k in range(2)]
    change = script.verdict(rows, without)
    assert change["steps_saved"] == 10  # 30 and 30 without, 20 and 20 with
    assert change["standard_error"] == 0
    # variances over two seeds: 0.01² / 2 at one test of three, against 0.02² / 2 at one of three
    assert change["deviation_ratio"] == pytest.approx(0.5)
    lines = script.table([*without, *rows]).splitlines()
    assert lines[1].split()[:4] == ["sobolev", "0", "94.0", "±1.4"]
    assert lines[2].split()[-3:] == ["10", "±0", "0.50"]


def test_a_run_prints_its_table_and_writes_curves_and_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        script, "train", lambda t: fake(t.method, t.label_weight, t.seed, [0.5 + 0.01 * t.seed])
    )
    changes = {"num_seeds": 2, "label_weights": ["0", "0.5"], "steps": 10}
    script.main(settings(workdir=str(tmp_path), **changes))
    rows = json.loads((tmp_path / "curves.json").read_text())["rows"]
    found = [(row["method"], row["label_weight"], row["seed"]) for row in rows]
    expected = [(m, w, k) for m in ("sobolev", "critic") for w in (0.0, 0.5) for k in (0, 1)]
    assert found == [*expected, ("backprop", 0.0, 0), ("backprop", 0.0, 1)]
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    out = capsys.readouterr().out
    assert out.startswith(f"10 nets in {tmp_path}\n")
    assert "50.5 ±0.7" in out
    assert ">10 ±0" in out  # none reaches 90 %
    assert out.endswith(" -m train.cifar10 --label_weight=1\n")


def test_other_steps_than_those_between_tests_are_refused(refused):
    message = "--steps=109: expected a multiple of 10, the steps between two tests"
    assert message in refused(script, "--steps=109")


def test_without_critics_their_flags_are_refused(refused):
    message = "--label_weights is not for --method=backprop, which has no critic: drop it"
    assert message in refused(script, "--method=backprop", "--label_weights=1")


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"accuracy": ["a", 0.5, 0.9, 0.95], "cosine": [], "seconds": 1}',
        '{"accuracy": [0.95], "cosine": [], "seconds": 1}',
        '{"accuracy": [0.1, 0.5, 0.9, 95.0], "cosine": [], "seconds": 1}',
        '{"accuracy": [-0.1, 0.5, 0.9, 0.95], "cosine": [], "seconds": 1}',
        '{"accuracy": [0.1, 0.5, 0.9, 0.95], "cosine": [0.5], "seconds": 1}',
        '{"accuracy": [0.1, 0.5, 0.9, 0.95], "cosine": [0, 0, 0, "a"], "seconds": 1}',
    ],
)
def test_a_damaged_net_is_trained_again(tmp_path, capsys, content):
    nets = json_nets.JsonNets(script.train, script.KINDS, script.metrics)
    task = script.Task("critic", 0.0, 0, 40, 0.05, 1e-3, "l1")
    path = json_nets.net_path(tmp_path, task)
    path.parent.mkdir()
    path.write_text('{"accuracy": [0.1, 0.95, 0.9, 0.9], "cosine": [null, 0, 0, 0], "seconds": 1}')
    assert nets.is_done(tmp_path, task)
    assert nets.metrics_row(tmp_path, task)["steps_to_goal"] == 20
    path.write_text(content)
    assert not nets.is_done(tmp_path, task)
    assert f"{path} cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [["a"], ["-1"], [], ["nan"]])
def test_weights_that_are_no_weights_are_refused(typed):
    with pytest.raises(UsageError, match="expected numbers of at least 0"):
        script.all_tasks(settings(label_weights=typed))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_page_has_the_table_of_its_curves(path):
    page = (RESULTS / "README.md").read_text()
    assert script.table(json.loads(path.read_text())["rows"]) in page
