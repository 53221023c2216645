"""A teacher's run goes on only with the evaluations that it has made."""

import functools
import os
import signal

import keras
import numpy as np
import pytest

import sobolev_tf as st
from train.lib.atari import play
from train.teacher import __main__ as teacher

TINY = ["--game=breakout", "--num_envs=2", "--unroll_length=4", "--steps=64", "--num_evals=2"]
TINY += ["--eval_episodes=1", "--seed=3"]


def small_net(actions, background=0):
    frames = keras.Input([84, 84, 4])
    h = keras.layers.Flatten()(keras.layers.AveragePooling2D(12)(frames))
    return keras.Model(frames, [keras.layers.Dense(n)(h) for n in (actions, 1)])


@pytest.fixture
def run(run_script, monkeypatch):
    monkeypatch.setattr(st.nets, "atari_teacher", small_net)
    return functools.partial(run_script, teacher)


def without_rows(folder):
    (folder / "metrics.csv").unlink()


def with_one_row(folder):
    lines = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join(lines[:2]))


def with_another_first_score(folder):
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    rows[1][rows[0].index("score")] = "999.0"
    (folder / "metrics.csv").write_text("".join(",".join(row) + "\n" for row in rows))


@pytest.mark.parametrize("change", [without_rows, with_one_row, with_another_first_score])
def test_a_run_does_not_go_on_from_other_rows_than_its_own(run, tmp_path, change, monkeypatch):
    monkeypatch.setattr(play, "scores", lambda *_, **options: np.array([2.0]))
    folder = tmp_path / "run"
    assert run(*TINY, f"--workdir={folder}")[0] == 0
    summary = (folder / "summary.json").read_bytes()
    change(folder)
    metrics = folder / "metrics.csv"
    before = metrics.exists() and metrics.read_text()
    code, _, err = run(*TINY, f"--workdir={folder}")
    assert code == 2
    assert f"{folder}/metrics.csv" in err
    assert f"remove {folder}, and the same command trains it again" in err
    assert err.count("\n") == 1
    assert (folder / "summary.json").read_bytes() == summary
    assert (metrics.exists() and metrics.read_text()) == before


def test_a_run_stopped_between_evaluations_does_not_go_on_without_their_rows(
    run, tmp_path, monkeypatch
):
    def stopped(*_, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return np.array([2.0])

    answers = iter([lambda *_, **options: np.array([2.0]), stopped])
    monkeypatch.setattr(play, "scores", lambda *a, **options: next(answers)(*a, **options))
    folder = tmp_path / "run"
    assert run(*TINY, f"--workdir={folder}")[0] == 143
    without_rows(folder)
    code, _, err = run(*TINY, f"--workdir={folder}")
    assert code == 2
    assert "its evaluations are not those before step" in err


def test_a_run_stopped_while_it_saves_an_evaluation_goes_on(run, tmp_path, monkeypatch):
    monkeypatch.setattr(play, "scores", lambda *_, **options: np.array([2.0]))
    save = teacher.Checkpoints.save

    def stopped(self, *arguments, **facts):
        if facts["evaluated"]:
            monkeypatch.setattr(teacher.Checkpoints, "save", save)
            os.kill(os.getpid(), signal.SIGTERM)
        return save(self, *arguments, **facts)

    monkeypatch.setattr(teacher.Checkpoints, "save", stopped)
    folder = tmp_path / "run"
    assert run(*TINY, f"--workdir={folder}")[0] == 143
    assert run(*TINY, f"--workdir={folder}")[0] == 0
    steps = [line.split(",")[0] for line in (folder / "metrics.csv").read_text().splitlines()[1:]]
    assert len(set(steps)) == 2
