"""The distillation script in a tiny configuration, on a recording of noise."""

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import sobolev_tf as st
from tests.support.noise_recording import LENGTHS, record_noise
from tests.support.old_names import rewrite_config, with_old_names
from train import plot
from train.distill import __main__ as distill
from train.distill import beside, figures, students
from train.lib.atari import policies
from train.lib.run import run_folder
from train.lib.run.errors import UsageError

COMMITTED = Path(plot.__file__).parent / "results"
RESULTS = sorted(COMMITTED.glob("distill_*"))
TINY = ["--game=breakout", "--steps=6", "--num_evals=2", "--batch_size=8", "--eval_episodes=1"]
SEARCH = ["--search_steps=2", "--learning_rates=1e-4,1e-3", "--alphas=0.1,1"]
SEARCH += ["--search_percent=60"]
CHOSEN = ["--learning_rate=1e-3", "--alpha=0.1"]


def small_net(actions, outputs=1, side=84, scale=1 / 255):
    frames = keras.Input([side, side, 4])
    h = keras.layers.AveragePooling2D(12)(keras.layers.Rescaling(scale)(frames))
    h = keras.layers.Dense(8, "tanh")(keras.layers.Flatten()(h))
    logits = [keras.layers.Dense(n)(h) for n in (actions, 1)]
    return keras.Model(frames, logits if outputs == 2 else logits[0])


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(st.nets, "atari_student", lambda actions, background: small_net(actions))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(a run folder as train.record leaves it, its episodes)."""
    folder = tmp_path_factory.mktemp("recording")
    keras.utils.set_random_seed(0)
    return folder, record_noise(folder, small_net(4, outputs=2))


@pytest.fixture
def run(run_script, recorded):
    def call(*arguments):
        return run_script(distill, *TINY, f"--recording={recorded[0]}", *arguments)

    return call


def test_a_run_ends_with_figure_and_student_and_goes_on(run, tmp_path):
    folder = tmp_path / "run"
    arguments = ["--train_percent=20", *CHOSEN, f"--workdir={folder}"]
    code, out, err = run(*arguments)
    assert code == 0, err
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(r["train_percent"], r["method"], r["step"]) for r in rows] == [
        ("20.0", method, step) for method in students.METHODS for step in ("3", "6")
    ]
    assert all(float(row["test_kl"]) > 0 for row in rows)
    summary = json.loads((folder / "summary.json").read_text())
    assert [net["training_steps"] for net in summary["nets"]] == [52, 52]
    assert [(n["learning_rate"], n["alpha"]) for n in summary["nets"]] == [(1e-3, 0), (1e-3, 0.1)]
    assert [each["train_percent"] for each in summary["baselines"]] == [20]
    assert 0 < summary["teacher_entropy"] < np.log(4)
    assert "20 %, constant policy" in out
    assert f" -m train.teacher --game=breakout --eval_policy={tmp_path}" in out
    played = summary["true_scores"]
    assert [len(each) for each in played.values()] == [len(LENGTHS), 1, 1]
    with open(folder / "episodes.csv") as file:
        tested = list(csv.DictReader(file))
    for net in summary["nets"]:
        of_net = [row for row in tested if row["method"] == net["method"]]
        assert [row["length"] for row in of_net] == list(map(str, LENGTHS[-len(of_net) :]))
        for name in ("test_kl", "test_action_error"):  # means over steps are those of fit
            steps = [float(row["test_steps"]) for row in of_net]
            mean = np.average([float(row[name]) for row in of_net], weights=steps)
            np.testing.assert_allclose(mean, net[name], rtol=1e-4, atol=1e-6)
    assert "by test episode" in out
    assert (folder / "figure4.png").stat().st_size > 10_000
    with pytest.raises(UsageError, match=r"expected one of teacher: .*saved_model is its net"):
        policies.load(folder, "breakout")
    frames, best = np.zeros([2, 84, 84, 4], np.uint8), summary["saved_model"]
    answers = [
        policies.load(path, "breakout")(frames)[0]
        for path in (folder / "saved_model", folder / "nets" / best / "saved_model")
    ]
    np.testing.assert_array_equal(*answers)

    before = (folder / "metrics.csv").read_text()
    (folder / "nets" / "20-sobolev" / "summary.json").unlink()  # as if killed before it
    (folder / "figure4.png").unlink()
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "all 6 steps are done" in out
    assert (folder / "metrics.csv").read_text() == before
    plot.main([str(folder)])
    assert (folder / "figure4.png").exists()

    by_episode = (folder / "episodes.csv").read_bytes()
    path = folder / "nets" / "20-values" / "episodes.json"
    kept = json.loads(path.read_text())
    first, *rest = kept["episodes"]
    older = {name: float(number) for name, number in first.items()}  # counts were so, too
    path.write_text(json.dumps(kept | {"episodes": [older, *rest]}))
    code, _, err = run(*arguments)
    assert code == 0, err
    assert (folder / "episodes.csv").read_bytes() == by_episode
    for damaged, message in (
        ({}, "it lacks 'saved_model'"),
        (kept | {"episodes": rest}, "its episodes are not those of the test steps"),
        (kept | {"episodes": [first | {"test_kl": -99}, *rest]}, "are impossible"),
        (kept | {"episodes": [first | {"test_action_error": 1.5}, *rest]}, "are impossible"),
    ):
        path.write_text(json.dumps(damaged))
        code, _, err = run(*arguments)
        assert code == 2
        assert f"{path} is missing or damaged: " in err
        assert message in err
        assert "remove it, and run the command again" in err


@pytest.mark.slow
def test_a_run_of_before_the_renaming_is_drawn_and_resumed(run, tmp_path):
    """Its method of values is called regular, also by its folders and in its tables."""
    folder = tmp_path / "run"
    arguments = ["--train_percent=20", *CHOSEN, f"--workdir={folder}"]
    assert run(*arguments, "--method=values")[0] == 0
    now = (folder / "metrics.csv").read_text()
    old = now.replace("train_percent", "percent").replace("values", "regular")
    (folder / "metrics.csv").write_text(old)
    net = folder / "nets" / "20-values"
    net = net.rename(net.with_name("20-regular"))
    for each in (folder, net):
        rewrite_config(each)
    summary = json.loads((net / "summary.json").read_text())
    old_summary = with_old_names("distill net", summary)
    assert old_summary["method"] == "regular"
    assert old_summary["percent"] == 20
    (net / "summary.json").write_text(json.dumps(old_summary))
    assert beside.read_rows(folder)[0]["method"] == "values"
    plot.main([str(folder)])

    code, out, err = run(*arguments, "--method=values,sobolev")
    assert code == 0, err
    assert "net 1 of 1, 20 %, Sobolev" in out  # the other one is done
    assert sorted(path.name for path in (folder / "nets").iterdir()) == ["20-regular", "20-sobolev"]
    assert (folder / "metrics.csv").read_text().startswith(now)
    nets = json.loads((folder / "summary.json").read_text())["nets"]
    assert [each["method"] for each in nets] == ["values", "sobolev"]
    assert nets[0] == summary

    (net / "summary.json").unlink()  # as if it had been killed before it
    code, out, err = run(*arguments, "--method=values,sobolev")
    assert code == 0, err
    assert f"{net}: all 6 steps are done" in out


def test_trials_of_before_the_renaming_count(tmp_path):
    trial = students.Trial("values", 1e-3, 0.0, 2, np.arange(2), np.arange(2))
    with run_folder.Run(tmp_path / "run", {}, "distill") as run:
        new = students.trial_path(run, trial)
        assert new.name == "values-rate=0.001-alpha=0.json"
        new.parent.mkdir()
        old = new.with_name("regular-rate=0.001-alpha=0.json")
        old.write_text("{}")
        assert students.trial_path(run, trial) == old


@pytest.mark.parametrize("folder", RESULTS, ids=lambda path: path.name)
def test_committed_runs_are_readable(folder):
    rows = beside.read_rows(folder)
    assert {row["method"] for row in rows} <= {"values", "sobolev"}
    assert all(0 < row["train_percent"] < 100 for row in rows)
    run_folder.read_config(folder / "config.json", ["train_percent", "method", "recording"])
    assert figures.later_half(rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", "{}"),
        pytest.param("summary.json", "{", marks=pytest.mark.slow),
        pytest.param("metrics.csv", None, marks=pytest.mark.slow),
        pytest.param("play-1.json", "x", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_net_is_named(name, content, run, tmp_path):
    arguments = [
        "--train_percent=20",
        "--learning_rate=1e-3",
        "--method=values",
        f"--workdir={tmp_path / 'run'}",
    ]
    assert run(*arguments)[0] == 0
    path = tmp_path / "run" / "nets" / "20-values" / name
    path.unlink() if content is None else path.write_text(content)
    code, _, err = run(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{path} {'ends at step 0' if content is None else 'is missing or damaged'}" in err
    if name == "metrics.csv":
        assert f"remove {path.parent}, and the same command trains it again" in err
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    assert run(*arguments)[0] == 0  # as the line says


def test_a_student_that_diverges_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(st.nets, "atari_student", lambda *_: small_net(4, scale=np.nan))
    folder = tmp_path / "run"
    code, _, err = run(
        "--train_percent=20", "--learning_rate=1e-3", "--method=values", f"--workdir={folder}"
    )
    assert (code, err.count("\n")) == (1, 1)
    assert f"{folder}/nets/20-values: " in err
    assert "value_loss became NaN" in err
    searched = [*SEARCH, f"--workdir={tmp_path / 'search'}"]
    code, _, err = run("--train_percent=20", "--method=values", *searched)
    assert (code, err.count("\n")) == (1, 1)
    assert "values only: every trial diverged" in err


@pytest.mark.slow
def test_more_shares_in_the_same_folder_and_a_search_of_both(run, tmp_path):
    for percent in ("20", "20,40"):
        folder = f"--workdir={tmp_path / 'run'}"
        code, out, err = run(f"--train_percent={percent}", *SEARCH, folder)
        assert code == 0, err
        assert ("trained 20 %" in out) == (percent == "20")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    tried = [json.loads(path.read_text()) for path in (tmp_path / "run" / "search").glob("*")]
    assert len(tried) == 2 + 3
    for net in summary["nets"]:
        each = [trial for trial in tried if trial["method"] == net["method"]]
        best = min(each, key=lambda trial: trial["kl"])
        assert (net["learning_rate"], net["alpha"]) == (best["learning_rate"], best["alpha"])
    assert [net["training_steps"] for net in summary["nets"]] == [52, 52, 104, 104]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--game=chess"], "--game=chess: expected pong or breakout or space_invaders"),
        (["--game=pong"], "is a recording of breakout, expected --game=pong"),
        (["--train_percent=10,x"], "--train_percent=10,x: expected numbers above 0 and below 100"),
        (
            ["--train_percent=95"],
            "--train_percent=95 of 260 steps in 7 episodes leaves no whole test",
        ),
        (["--train_percent=5", "--train_boundary=episode"], "leaves no whole training episode"),
        (
            ["--train_percent=10", "--search_percent=5"],
            "no second episode begins early enough",
        ),
        (
            ["--train_percent=0.01"],
            "--train_percent=0.01 of 260 steps in 7 episodes leaves no training step",
        ),
        (["--search_percent=0.01"], "--search_percent=0.01 of 260 steps in 7 episodes leaves no"),
        (["--test_percent=0"], "--train_percent=20 and --test_percent=0 of 260 steps"),
        (["--method=sobolov"], "--method=sobolov: expected some of values, sobolev"),
        (["--recording=nowhere"], "nowhere is no recording: expected a run folder"),
        (["--learning_rate=-1"], "--learning_rate=-1"),
        (
            ["--learning_rate=1e-3"],
            "--learning_rate is given, so there is nothing to search in --learning_rates",
        ),
        (["--alpha=0.1"], "--alpha is given, so there is nothing to search in --alphas: drop one"),
        (["--learning_rates=1e-3", "--alphas=1"], "--search_percent is not for one learning rate"),
        (["--learning_rate=0"], "--learning_rate=0.0: expected numbers above 0 and below 10"),
        (["--recording=nowhere", "--alphas=x"], "--alphas=x: expected numbers above 0"),
        (["--percent=9"], "--percent has a new name: --train_percent"),
        (["--teacher=nowhere"], "nowhere does not exist: expected a run folder, .npz"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, recorded, refused):
    flags = [*TINY, *SEARCH, f"--recording={recorded[0]}", "--train_percent=20"]
    assert message in refused(distill, *flags, *arguments)


def test_a_teacher_that_is_not_the_recorded_one_is_refused(run, tmp_path):
    broken = small_net(4)
    broken.set_weights([weight * np.nan for weight in broken.get_weights()])
    cases = {
        "three actions": (small_net(3), "breakout has 4 actions, expected logits [2, 4]"),
        "layout": (small_net(4, side=96), "takes [None, 96, 96, 4]: expected one input of frames"),
        "another": (small_net(4), "predicts other logits than those recorded"),
        "nan": (broken, "predicts logits that are not finite"),
    }
    for name, (net, message) in cases.items():
        net.save(tmp_path / f"{name}.keras")
        code, _, err = run(
            "--train_percent=20",
            *SEARCH,
            f"--teacher={tmp_path / name}.keras",
            f"--workdir={tmp_path / 'run'}",
        )
        assert code == 2
        assert message in err
        assert f"{name}.keras" in err


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_numbers(recorded, killed_and_whole):
    command = ["train.distill", *TINY, *SEARCH, "--train_percent=20", "--deterministic"]
    command += [f"--recording={recorded[0]}", "--save_minutes=0.005", "--steps=20"]
    runs = []
    for folder in killed_and_whole(command, kills=4, moments=(0.2, 0.9)):
        with open(folder / "metrics.csv") as file:
            rows = [r | {"seconds": 0} for r in csv.DictReader(file)]
        runs.append(rows)
    assert runs[0] == runs[1]
