"""What stands where a run will write its results: looked at before anything is trained."""

import os

import pytest

from train.lib.run import run_folder
from train.lib.run.errors import UsageError

RESULTS = ["figure.png", "saved_model"]


def opened(folder):
    return run_folder.Run(folder, {"seed": 0}, "train.x", results=RESULTS)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("figure.png", os.mkdir, "figure.png is a folder, where a file is to be written"),
        ("summary.json", os.mkdir, "summary.json is a folder"),
        ("metrics.csv", os.mkdir, "metrics.csv is a folder"),
        ("saved_model", lambda path: path.write_text("mine"), "saved_model is no SavedModel"),
        ("saved_model", lambda path: (path / "mine").mkdir(parents=True), "is no SavedModel"),
        ("saved_model", lambda path: path.symlink_to("nowhere"), "saved_model is no SavedModel"),
    ],
)
def test_what_is_not_the_run_s_own_is_refused_and_stays(name, make, message, tmp_path):
    with opened(tmp_path) as run:
        run.add_facts()
    make(tmp_path / name)
    with pytest.raises(UsageError, match=message):
        opened(tmp_path)
    assert os.path.lexists(tmp_path / name)


def test_results_of_before_and_links_to_them_are_no_obstacle(tmp_path):
    with opened(tmp_path) as run:
        run.add_facts()
    (tmp_path / "figure.png").write_text("a figure")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_text("a net")
    (tmp_path / "saved_model").symlink_to("saved")
    opened(tmp_path).close()


@pytest.mark.parametrize("kind", ["link", "broken link", "pipe", "folder"])
def test_a_lock_that_is_no_file_of_ours_is_refused_and_left_as_it_is(kind, tmp_path):
    """A link would let the lock's content replace that of another file."""
    mine, lock = tmp_path / "mine", tmp_path / "run" / ".lock"
    lock.parent.mkdir()
    mine.write_text("precious")
    make = {
        "link": lambda: lock.symlink_to(mine),
        "broken link": lambda: lock.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(lock),
        "folder": lock.mkdir,
    }
    make[kind]()
    with pytest.raises(UsageError, match="lock is no ordinary file: remove it"):
        opened(lock.parent)
    assert mine.read_text() == "precious"
    assert os.path.lexists(lock)
