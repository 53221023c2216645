"""What the students of a distillation leave behind."""

import json
import math

import numpy as np
import pytest

from train.distill import search, students
from train.distill.grids import Grid
from train.lib.run import files, identity, progress, run_folder
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings

NEEDED = ["summary.json", "metrics.csv", "saved_model/saved_model.pb"]


@pytest.mark.parametrize("missing", NEEDED)
def test_a_student_is_done_when_all_is_there_that_the_end_of_the_run_reads(missing, tmp_path):
    (tmp_path / "saved_model").mkdir()
    for name in NEEDED:
        (tmp_path / name).touch()
    assert students.is_done(tmp_path)
    (tmp_path / missing).unlink()
    assert not students.is_done(tmp_path)


def test_a_summary_in_the_folder_of_another_student_is_damaged(tmp_path):
    summary = dict.fromkeys(students.RESULTS, 1.0) | {"method": "values", "train_percent": 10.0}
    with run_folder.Run(tmp_path, {}) as run:
        for name in ("10-values", "5-values"):
            path = run.path("nets") / name / "summary.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(summary))
            if name == "10-values":
                assert list(students.summaries(run)) == [(10.0, "values")]
        with pytest.raises(UsageError, match=r"5-values/summary.json .* the summary of 10-values"):
            students.summaries(run)


@pytest.mark.parametrize("damage", [{"test_kl": -3.0}, {"test_action_error": 1.5}])
def test_results_that_cannot_be_are_damage(damage, tmp_path):
    summary = dict.fromkeys(students.RESULTS, 0.5) | {"method": "values", "train_percent": 5.0}
    with run_folder.Run(tmp_path, {}) as run:
        path = run.path("nets") / "5-values" / "summary.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(summary | damage))
        with pytest.raises(UsageError, match=r"its test_kl is .*, its test_action_error"):
            students.summaries(run)


def student(folder, study="a", test_kl=0.5, **more):
    """Write what a student leaves, as far as its summary and rows need it."""
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_text(folder.name)
    percent, method = folder.name.split("-")
    summary = dict.fromkeys(students.RESULTS, 0.5)
    summary |= {"method": method, "train_percent": float(percent), "test_kl": test_kl}
    summary |= {"study": study, "saved_model": identity.digest(folder / "saved_model")}
    (folder / "summary.json").write_text(json.dumps(summary | more))
    names = "step,seconds,kl,action_error,val_kl,val_action_error"
    (folder / "metrics.csv").write_text(f"{names}\n1,1,1,1,{test_kl},0.5\n")


def test_parts_of_other_students_and_runs_are_noticed(tmp_path):
    with run_folder.Run(tmp_path, {}) as run:
        first, second = (run.path("nets") / name for name in ("5-values", "10-values"))
        student(first, study=run.id, test_kl=0.25)
        student(second, study=run.id)
        assert len(students.summaries(run)) == 2
        assert students.rows(first, 5.0, "values", 0.25)[0]["test_kl"] == 0.25
        with pytest.raises(UsageError, match=r"ends with a test KL of 0.25, summary.json has 0.5"):
            students.rows(first, 5.0, "values", 0.5)

        (second / "saved_model").rename(tmp_path / "aside")
        (first / "saved_model").rename(second / "saved_model")
        with pytest.raises(
            UsageError, match=r"it is the file of saved_model \w+, expected that of"
        ):
            students.summaries(run)
        (second / "saved_model").rename(first / "saved_model")
        (tmp_path / "aside").rename(second / "saved_model")
        student(run.path("nets") / "20-values", study="another run")
        with pytest.raises(UsageError, match=r"it is the file of study another run, expected that"):
            students.summaries(run)


def test_scores_of_another_game_or_student_are_noticed(tmp_path):
    student(tmp_path / "5-values")
    stated = {"net": "5-values", "game": "pong", "episodes": 2, "seed": 0}
    for content, message in (
        ([1.0, 2.0], None),  # as older runs have them
        ({**stated, "scores": [1.0, 2.0]}, None),
        ({**stated, "game": "breakout", "scores": [1.0, 2.0]}, "game breakout, expected that of"),
        (
            {**stated, "net": "x", "scores": [1.0, 2.0]},
            "it is the file of net x, expected that of",
        ),
        (stated, "it lacks 'scores'"),
    ):
        files.write_json(tmp_path / "5-values" / "play-2.json", content)
        if message is None:
            assert students.true_scores(tmp_path / "5-values", "pong", 2, 0) == [1.0, 2.0]
        else:
            with pytest.raises(UsageError, match=message):
                students.true_scores(tmp_path / "5-values", "pong", 2, 0)


def test_a_student_that_was_exported_again_plays_again(tmp_path, monkeypatch):
    student(tmp_path / "5-values")
    games = iter([1.0, 2.0])
    monkeypatch.setattr(students.play, "scores", lambda *_: np.array([next(games)]))
    monkeypatch.setattr(students.policies, "load", lambda *_: None)

    def scores():
        return students.true_scores(tmp_path / "5-values", "pong", 1, 0)

    assert scores() == scores() == [1.0]
    (tmp_path / "5-values" / "saved_model" / "more").write_text("")
    assert scores() == scores() == [2.0]


def test_trials_that_were_exchanged_are_noticed(tmp_path):
    trial = students.Trial("values", 1e-3, 0.0, 2, np.arange(2), np.arange(2))
    stated = search.of_trial(trial) | {"study": "a"}
    old = {"kl": 0.5, "method": "regular", "learning_rate": 1e-3, "alpha": 0, "steps": 2}
    for content in (old, {"kl": 0.5}, {"kl": 0.5, **stated}):
        files.write_json(tmp_path / "trial.json", content)
        assert search.stored_kl(tmp_path / "trial.json", stated) == 0.5
    files.write_json(tmp_path / "trial.json", {"kl": math.inf, **stated})
    assert search.stored_kl(tmp_path / "trial.json", stated) == math.inf
    for change in ({"learning_rate": 3e-3}, {"method": "sobolev"}, {"study": "b"}, {"steps": 3}):
        files.write_json(tmp_path / "trial.json", {"kl": 0.5, **stated, **change})
        with pytest.raises(UsageError, match=f"it is the file of {next(iter(change))} "):
            search.stored_kl(tmp_path / "trial.json", stated)


def test_a_search_that_goes_on_counts_only_the_trials_that_are_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "try_out", lambda new_student, study, trial: trial.learning_rate)
    study = students.Study(Settings({"search_steps": 2}), None, None)
    grid, steps = Grid([1e-4, 1e-3], [0.1, 1.0]), np.arange(2)
    with run_folder.Run(tmp_path, {}) as run:
        run.path("search").mkdir()
        for left in (3, 1):  # two rates at the middle alpha, and the other alpha
            bar = progress.Bar(3 * 2 * students.STEP_COST["sobolev"])
            found = search.search_rate_and_alpha(
                None, study, "sobolev", grid, (steps, steps), run, bar
            )
            assert found == (1e-4, 0.1)
            out = capsys.readouterr().out
            assert out.count("trial: ") == left
            assert "100%, 0:00:00 left in all" in out
            (run.path("search") / "sobolev-rate=0.0001-alpha=0.1.json").unlink()
