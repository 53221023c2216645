"""Cells of an experiment's table: which are trained."""

import csv
import types

import pytest

from train.lib.run import cells, run_folder
from train.lib.run.errors import UsageError


class Squares:
    """Tasks are numbers; a task's file holds its square."""

    def __init__(self):
        self.trained = []

    def is_done(self, folder, task):
        return (folder / str(task)).exists()

    def train_and_save(self, folder, task):
        self.trained.append(task)
        (folder / str(task)).write_text(str(task**2))
        return f"{task} squared"

    def metrics_row(self, folder, task):
        return {"task": task, "square": int((folder / str(task)).read_text())}


def settings(**values):
    return types.SimpleNamespace(values=values, **values)


def test_missing_cells_are_trained_and_all_are_reported(tmp_path, capsys):
    recipes = Squares()
    with run_folder.Run(tmp_path, flags={}) as run:
        run.add_facts()
        recipes.train_and_save(run.folder, 3)
        recipes.trained.clear()
        rows = cells.train_missing(run, [4, 3, 2], recipes, num_workers=0, effort=lambda n: n)
    assert recipes.trained == [4, 2]
    assert [row["square"] for row in rows] == [16, 9, 4]
    with open(tmp_path / "metrics.csv") as file:
        assert [row["square"] for row in csv.DictReader(file)] == ["16", "9", "4"]
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path}: 1 of 3 nets are done\n")
    assert "67%" in out  # 4 of 4 + 2
    assert "100%" in out


def test_metrics_hold_the_rows_so_far(tmp_path):
    class Fails(Squares):
        def train_and_save(self, folder, task):
            if task == 2:
                raise KeyboardInterrupt
            return super().train_and_save(folder, task)

    with run_folder.Run(tmp_path, flags={}) as run:
        run.add_facts()
        with pytest.raises(KeyboardInterrupt):
            cells.train_missing(run, [3, 2, 1], Fails(), num_workers=0)
    assert (tmp_path / "metrics.csv").read_text().split() == ["task,square", "3,9"]


def test_a_folder_in_the_place_of_a_net_is_refused_before_a_net_is_trained(tmp_path):
    recipes = Squares()
    with run_folder.Run(tmp_path, flags={}) as run:
        run.add_facts()
        (tmp_path / "nets" / "call-20.npz").mkdir(parents=True)
        with pytest.raises(UsageError, match=r"call-20\.npz is a folder, where a file is to be"):
            cells.train_missing(run, [3], recipes, num_workers=0)
    assert not recipes.trained


def test_seeds_start_at_the_first_one():
    assert list(cells.seeds(settings(seed=3, num_seeds=2))) == [3, 4]
    assert cells.seeds(settings(seed=2**32 - 1, num_seeds=1))[-1] == 2**32 - 1
    message = "--num_seeds=2: the last seed is 4294967296, expected at most 4294967295"
    with pytest.raises(UsageError, match=message):
        cells.seeds(settings(seed=2**32 - 1, num_seeds=2))
