"""What the students of a distillation leave behind."""

import json

import pytest

from train.distill import students
from train.lib.run import files, run_folder
from train.lib.run.errors import UsageError

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


def test_text_of_another_encoding_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-16")
    with pytest.raises(ValueError, match="it is not UTF-8 text"):
        files.read_json(tmp_path / "config.json")


@pytest.mark.parametrize("damage", [{"test_kl": -3.0}, {"test_action_error": 1.5}])
def test_results_that_cannot_be_are_damage(damage, tmp_path):
    summary = dict.fromkeys(students.RESULTS, 0.5) | {"method": "values", "train_percent": 5.0}
    with run_folder.Run(tmp_path, {}) as run:
        path = run.path("nets") / "5-values" / "summary.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(summary | damage))
        with pytest.raises(UsageError, match=r"its test_kl is .*, its test_action_error"):
            students.summaries(run)
