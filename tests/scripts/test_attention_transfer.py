"""train.attention_transfer: each method trains a student; table, files and flags."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support.cases import slow
from train import attention_transfer as script
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings

RESULTS = Path(script.__file__).parent / "results" / "attention_transfer"
DEFAULTS = {name: script.FLAGS[name].default for name in script.FLAGS}


def settings(**changes):
    return Settings({**DEFAULTS, "num_workers": 0, **changes})


def fake(task):
    gain = {"labels": 0.0, "distill": 0.1, "transfer": 0.2, "sobolev": 0.3}[task.method]
    return {"accuracy": 0.5 + gain + 0.02 * task.seed, "teacher": 0.96}


@pytest.fixture
def untrained(monkeypatch):
    keras.utils.set_random_seed(1)
    net = script.make_net(8)
    monkeypatch.setattr(script, "teacher", lambda: net)
    return net


@pytest.mark.parametrize("method", [*slow("labels", "distill"), "transfer", "sobolev"])
def test_a_student_learns_and_the_teacher_does_not(method, untrained, monkeypatch):
    before, made, make_net = untrained.get_weights(), [], script.make_net

    def kept(width):
        made.append(net := make_net(width))
        made.append(net.get_weights())
        return net

    monkeypatch.setattr(script, "make_net", kept)
    alpha = 0.1 if method in ("transfer", "sobolev") else 0.0
    row = script.train(script.Task(50, method, alpha, 0, 20, 0.01))
    student, first = made
    for old, new in zip(first, student.get_weights(), strict=True):
        assert (old != new).any()
    if method in ("labels", "transfer"):
        assert row["accuracy"] > 0.3  # chance, and an untrained teacher: 0.1
    for old, new in zip(before, untrained.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_run_prints_gains_and_writes_accuracies_and_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "train", fake)
    script.main(settings(workdir=str(tmp_path), num_seeds=2, alphas=["0.5"], num_points=["50"]))
    rows = json.loads((tmp_path / "accuracies.json").read_text())["rows"]
    assert [row["method"] for row in rows[::2]] == ["labels", "distill", "transfer", "sobolev"]
    assert (tmp_path / "accuracies.png").read_bytes()[:4] == b"\x89PNG"
    lines = capsys.readouterr().out.splitlines()
    [transfer] = [line.split() for line in lines if "50 digits, transfer" in line]
    assert transfer == ["50", "digits,", "transfer", "0.5", "71.0", "±1.4", "20.0", "±0.0"]


def test_a_stopped_run_goes_on_and_keeps_to_its_flags(run_script, tmp_path, monkeypatch):
    trained = []

    def stopped(task):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(task)
        return fake(task)

    monkeypatch.setattr(script, "train", stopped)
    folder = f"--workdir={tmp_path / 'run'}"
    typed = ["--num_points=50", "--alphas=1", "--num_seeds=2", "--num_workers=0", folder]
    assert run_script(script, *typed)[0] == 130
    first, *_ = (tmp_path / "run" / "nets").glob("*.json")
    first.write_text("{")  # is trained again
    monkeypatch.setattr(script, "train", lambda task: trained.append(task) or fake(task))
    code, out, err = run_script(script, *typed)
    assert code == 0, err
    assert "2 of 8 nets are done" in out
    assert f"{first} cannot be read" in err
    assert len(trained) == 3 + 6
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["headline"] == {"name": "accuracy", "value": pytest.approx(81), "unit": "%"}
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 8
    code, _, err = run_script(script, *typed, "--steps=9")
    assert code == 2
    assert "was started with other flags (--steps was 300, now 9)" in err


def test_results_of_another_run_are_not_replaced(run_script, tmp_path):
    (tmp_path / "accuracies.json").write_text("{}")
    code, _, err = run_script(script, f"--workdir={tmp_path}")
    assert code == 2
    assert f"{tmp_path} has files but no config.json" in err


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"alphas": ["0"]}, "expected numbers above 0"),
        ({"alphas": ["a"]}, "expected numbers above 0"),
        ({"num_points": ["2000"]}, "there are 1297 training digits"),
        ({"num_seeds": 2**31 - 1}, "--num_seeds=2147483647 needs"),
    ],
)
def test_flags_that_make_no_sense_are_refused(changes, match):
    with pytest.raises(UsageError, match=match):
        script.all_tasks(settings(**changes))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_page_has_the_table_of_its_run(path):
    page = (RESULTS / "README.md").read_text()
    assert script.table(json.loads(path.read_text())["rows"]) in page
