"""The bench runs and reports; what it measures is judged by people, on a quiet machine."""

import json

import pytest

from train import bench
from train.lib import cli


def test_speed_and_quick_start_in_miniature():
    rows = dict(bench.speed(rounds=1, steps=50) + bench.quickstart(seeds=[0], steps=100))
    assert len(rows) == 15
    assert all(number > 0 for number in rows.values())


def test_the_gradient_suite_and_its_file(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["bench", "--suite=gradients", f"--workdir={tmp_path}"])
    with pytest.raises(SystemExit) as ended:
        cli.run(bench.main, bench.FLAGS)
    assert not ended.value.code
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert len(rows) == len(capsys.readouterr().out.splitlines()) == 2
    assert all(row["number"] < 1e-6 for row in rows)


def test_a_file_in_place_of_the_folder_is_said_before_measuring(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["bench", f"--workdir={tmp_path / 'file'}"])
    with pytest.raises(SystemExit) as ended:
        cli.run(bench.main, bench.FLAGS)
    assert ended.value.code == 2
    assert "cannot make the folder" in capsys.readouterr().err


def test_an_unknown_suite_is_one_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench", "--suite=all_of_it"])
    with pytest.raises(SystemExit) as ended:
        cli.run(bench.main, bench.FLAGS)
    assert ended.value.code == 2
    assert "expected all or speed" in capsys.readouterr().err
