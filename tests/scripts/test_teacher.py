"""The teacher's script in a tiny configuration, and the learner on a game that is easy to learn."""

import csv
import dataclasses
import functools
import json
import os
import re
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import sobolev_tf as st
from tests.support.old_names import rewrite_config
from train import plot
from train.lib.atari import environment, play, policies
from train.lib.run import cli, errors
from train.lib.run.settings import Settings
from train.teacher import __main__ as teacher
from train.teacher import a3c, checks, losses
from train.teacher.settings import LearnerSettings

TINY = ["--game=breakout", "--num_envs=2", "--unroll_length=4", "--steps=64", "--num_evals=2"]
TINY += ["--eval_episodes=1", "--seed=3"]


def small_net(actions, background=0):
    frames = keras.Input([84, 84, 4])
    h = keras.layers.AveragePooling2D(12)(keras.layers.Rescaling(1 / 255)(frames))
    h = keras.layers.Dense(16, activation="relu", name="hidden")(keras.layers.Flatten()(h))
    logits = keras.layers.Dense(actions, kernel_initializer="zeros", name="logits")(h)
    return keras.Model(frames, [logits, keras.layers.Dense(1, name="value")(h)])


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(st.nets, "atari_teacher", small_net)


@pytest.fixture
def run(run_script):
    return functools.partial(run_script, teacher)


def test_a_run_is_stopped_goes_on_plays_and_is_released(run, tmp_path, monkeypatch):
    folder, scores = tmp_path / "run", play.scores

    def stopped(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return scores(*arguments, **options)

    monkeypatch.setattr(play, "scores", stopped)
    code, _, err = run(*TINY, f"--workdir={folder}")
    assert code == 143
    assert "SIGTERM: saved at step" in err
    with pytest.raises(errors.UsageError, match="no evaluation yet"):
        plot.main([str(folder)])
    monkeypatch.setattr(play, "scores", scores)
    code, out, err = run(*TINY, "--save_minutes=0", f"--workdir={folder}")
    assert code == 0, err
    assert "best evaluation" in out
    assert f" -m train.record --game=breakout --teacher={folder}\n" in out
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) >= mark for row, mark in zip(rows, (32, 64), strict=True)]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["last"]["step"] <= 64 + 16
    assert summary["headline"] == {
        "name": "score",
        "value": max(float(row["score"]) for row in rows),
        "unit": "points",
    }
    assert (folder / "curve.png").stat().st_size > 10_000
    best = max((folder / "checkpoints").glob("*.npz"))
    before = best.read_bytes()
    (folder / "curve.png").unlink()
    plot.main([str(folder)])
    assert (folder / "curve.png").stat().st_size > 10_000
    assert run(*TINY, f"--workdir={folder}")[0] == 0
    assert best.read_bytes() == before
    rewrite_config(folder)  # as an older run, whose flags had other names
    assert "rollout" in json.loads((folder / "config.json").read_text())["flags"]
    assert run(*TINY, f"--workdir={folder}")[0] == 0
    assert best.read_bytes() == before

    clip = tmp_path / "clip.gif"
    play_it = ["--game=breakout", f"--eval_policy={folder}", "--eval_episodes=1"]
    code, out, err = run(*play_it, f"--gif={clip}")
    assert code == 0, err
    assert re.search(r": mean true score \d+\.0 over 1 episode: \d+\n", out)
    with Image.open(clip) as film:
        assert film.n_frames > 50
    assert "expected pong" in run(*play_it, "--game=pong")[2]
    code, out, err = run(*play_it, f"--compare_with={folder}")
    assert code == 0, err
    assert "KL 0 nats, other actions at 0.0 % of the states" in out
    code, _, err = run(*play_it, "--compare_with=nowhere")
    assert code == 2
    assert "nowhere does not exist" in err

    monkeypatch.setattr(policies, "RELEASED", tmp_path / "teachers")
    monkeypatch.setattr(teacher.evaluate, "RELEASE_EPISODES", 2)
    code, out, err = run("--game=breakout", f"--release={folder}")
    assert code == 0, err
    card = json.loads((tmp_path / "teachers" / "breakout.json").read_text())
    assert card["training"]["flags"]["seed"] == 3
    assert 32 <= card["steps"] <= 64 + 16
    played = scores(policies.load("released", "breakout"), "breakout", 2, seed=0)
    assert card["scores"] == played.tolist()


def test_a_teacher_is_trained_on(run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(*TINY, f"--workdir={first}")[0] == 0
    on = [*TINY, f"--init_from={first}", "--learning_rate=0", f"--workdir={second}"]
    assert run(*on)[0] == 0
    facts = json.loads((second / "config.json").read_text())["facts"]
    begun, steps = policies.load_teacher(first, "breakout")
    assert facts["initial"] == {"steps": steps, "sha256": policies.digest(begun)}
    ended, in_all = policies.load_teacher(second, "breakout")
    assert in_all >= steps + 32
    for before, after in zip(begun.get_weights(), ended.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    # What it began with is not needed again.
    shutil.rmtree(first)
    code, _, err = run(*on)
    assert code == 0, err
    # Where no checkpoint can be read it is: a run does not begin at random weights instead.
    for path in (second / "checkpoints").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:1000])
    assert run("--game=breakout", f"--release={second}")[0] == 2
    code, _, err = run(*on)
    assert code == 2
    assert "does not exist" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--game=pong", "--init_from=nowhere"], "nowhere does not exist"),
        (["--game=pong", "--init_from=tests"], "tests is no run folder"),
        (["--game=pong", "--num_envs=1", "--unroll_length=1"], "a single advantage"),
        (["--game=chess"], "--game=chess: expected pong or breakout or space_invaders"),
        ([], "game"),
        (["--game=pong", "--num_actors=0"], "--num_actors=0: expected a positive integer"),
        (["--game=pong", "--eval_policy=x", "--release=y"], "give one of them"),
        (["--game=pong", "--compare_with=x"], "is compared with --eval_policy=POLICY: give both"),
        (["--game=pong", "--gif=clip.gif"], "films the play of --eval_policy=POLICY"),
        (["--game=pong", "--eval_policy=x"], "--workdir is not for --eval_policy, which does not"),
        (["--game=pong", "--release=x"], "--workdir is not for --release, which does not train"),
        (["--game=pong", "--steps=1000", "--num_evals=2"], "500 of --steps=1000 between two eval"),
        (["--game=pong", "--rollout=8"], "--rollout has a new name: --unroll_length"),
        (["--game=pong", "--nostandardize"], "a new name: --nonormalize_advantages"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, refused):
    assert message in refused(teacher, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eval_policy="], "--eval_policy= is empty: give it a value"),
        (["--eval_policy=nowhere"], "nowhere does not exist"),
        (["--eval_policy=x", "--gif=clip.png"], "expected a path that ends in .gif"),
        (["--eval_policy=x", "--gif=nowhere/x.gif"], "in a folder that exists"),
        (["--eval_policy=x", "--jit_compile"], "--jit_compile is not for --eval_policy, which"),
        (["--release=nowhere"], "expected the run folder of a teacher"),
        (["--release=x", "--init_from=y"], "--init_from is not for --release, which does not"),
        (["--release=x", "--eval_episodes=9"], "--eval_episodes is not for --release, which"),
        (["--release=x", "--preset=paper"], "--preset is not for --release, which does not"),
    ],
)
def test_commands_that_do_not_train_refuse_what_they_do_not_use(arguments, message, run_script):
    code, _, err = run_script(teacher, "--game=pong", *arguments)
    assert code == 2
    assert message in err


def test_every_evaluation_follows_an_update(refused):
    game = ["--game=pong", "--num_actors=2", "--num_envs=1", "--unroll_length=5"]
    message = "5 of --steps=10 between two evaluations may be less than one update, of 5 steps by"
    assert message in refused(teacher, *game, "--steps=10", "--num_evals=2")
    typed = ["teacher", *game, "--steps=20", "--num_evals=2"]
    checks.check(cli.parse(teacher.FLAGS, typed))


def test_weights_that_are_none_of_a_teacher_are_refused(tmp_path):
    net = st.nets.atari_teacher(4)
    path, weights = tmp_path / "teacher.npz", {v.path: v.numpy() for v in net.variables}

    def refused(message):
        with pytest.raises(errors.UsageError, match=message):
            policies.load_teacher(path, "breakout")

    for value, message in ((np.nan, "finite real"), (1j, "finite real"), ("a", "finite real")):
        np.savez(path, **(weights | {"value/bias": np.array([value])}))
        refused(f"value/bias holds other than {message}")
    np.savez(path, **weights)
    policies.load_teacher(path, "breakout")
    path.with_suffix(".json").write_text('{"steps": "many"}')
    refused("cannot be read as a policy: .*many")
    path.write_text("text")
    refused("cannot be read as a policy: it is no .npz")
    path = tmp_path / "teacher.keras"
    net.save(path)
    refused("is no weights of the paper's teacher: expected a run folder")


class Bandit:
    """A game whose action 1 scores, and costs the life if the screen is black."""

    def __init__(self, game, num_envs, *, seed, num_threads):
        self.num_envs, self.frames = num_envs, np.full([num_envs, 84, 84, 4], 255, np.uint8)

    def step(self, actions):
        none = np.zeros(self.num_envs, bool)
        return environment.Step((actions == 1).astype(np.float32) * 7, none, none, none, None)


SETTINGS = LearnerSettings(num_envs=4, unroll_length=4, entropy_cost=0.0)


def rollout(net, **options):
    return a3c.Actor(net, "pong", dataclasses.replace(SETTINGS, **options), seed=0).play()


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("adam", 1e-2), pytest.param("rmsprop", 1.0, marks=pytest.mark.slow)]
)
def test_two_actors_learn_what_scores(monkeypatch, optimizer, rate):
    monkeypatch.setattr(environment, "Atari", Bandit)
    net = st.nets.atari_teacher(3)
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer, learning_rate=rate)
    a3c.compile_net(net, settings, num_updates=1000)
    actors = [a3c.Actor(net, "pong", settings, seed) for seed in range(2)]
    a3c.run(actors, lambda: net.optimizer.iterations >= 300, report=lambda: None)
    logits, _ = net(tf.fill([1, 84, 84, 4], 255.0))
    assert tf.nn.softmax(logits)[0, 1] > 0.8
    assert net.optimizer.learning_rate < rate


def test_returns_of_a_rollout(monkeypatch):
    """Rewards are clipped to 1; values are the net's; targets are returns."""
    monkeypatch.setattr(environment, "Atari", Bandit)
    net = st.nets.atari_teacher(3)
    a3c.compile_net(net, SETTINGS, num_updates=10)
    plain = rollout(net, discount=0.9, normalize_advantages=False)
    frames, actions, advantages, targets = plain.values()
    value = net(frames[0].astype(np.float32))[1][0, 0].numpy()
    np.testing.assert_allclose(targets - advantages, value, rtol=1e-4)
    last = (actions[-1] == 1) + 0.9 * value - value
    np.testing.assert_allclose(advantages[-1], last, rtol=1e-4, atol=1e-5)

    normalized = rollout(net, discount=0.9)
    for name in ("frames", "actions", "targets"):
        np.testing.assert_array_equal(plain[name], normalized[name])
    expected = (advantages - advantages.mean()) / advantages.std()
    np.testing.assert_allclose(normalized["advantages"], expected, rtol=1e-4, atol=1e-6)


def test_the_actor_critic_loss_by_hand():
    """Two states, two actions; -mean(A log π), mean((R - V)^2) and the entropy."""
    policy = np.array([[0.5, 0.5], [0.25, 0.75]])
    loss, terms = losses.actor_critic_loss(
        logits=tf.constant(np.log(policy) + 3),
        values=tf.constant([1.0, 2.0], tf.float64),
        actions=tf.constant([0, 1]),
        advantages=tf.constant([2.0, -1.0], tf.float64),
        targets=tf.constant([2.0, 5.0], tf.float64),
        value_cost=0.25,
        entropy_cost=0.1,
    )
    policy_loss = -(2 * np.log(0.5) - np.log(0.75)) / 2
    entropy = -(policy * np.log(policy)).sum() / 2
    np.testing.assert_allclose(terms, [policy_loss, (1 + 9) / 2, entropy])
    np.testing.assert_allclose(loss, policy_loss + 0.25 * 5 - 0.1 * entropy)


def test_rmsprop_begins_at_one_and_rates_fall_to_zero():
    net = st.nets.atari_teacher(3)
    a3c.compile_net(net, LearnerSettings(optimizer="rmsprop", learning_rate=0.5), num_updates=4)
    squares = [v for v in net.optimizer.variables if "velocity" in v.path]
    assert len(squares) == len(net.trainable_variables)
    assert all((v.numpy() == 1).all() for v in squares)
    net.optimizer.iterations.assign(3)
    np.testing.assert_allclose(net.optimizer.learning_rate, 0.125)


def test_an_actor_that_dies_ends_the_others():
    class Dies:
        def run(self, stop):
            raise ConnectionError("lost")

    class Works:
        def run(self, stop):
            while not stop():
                pass

    with pytest.raises(ConnectionError, match="lost"):
        a3c.run([Works(), Dies()], stop=lambda: False, report=lambda: None, seconds=0.01)


def test_an_error_in_a_report_ends_all_actors():
    class Works:
        def run(self, stop):
            while not stop():
                pass

    def breaks():
        raise BrokenPipeError("gone")

    with pytest.raises(BrokenPipeError, match="gone"):
        a3c.run([Works(), Works()], stop=lambda: False, report=breaks, seconds=0.01)


@pytest.mark.parametrize("card", sorted(policies.RELEASED.glob("*.json")), ids=lambda p: p.stem)
def test_released_teachers_are_those_of_their_cards(card, monkeypatch):
    weights = card.with_suffix(".npz")
    assert json.loads(card.read_text())["sha256"] == teacher.evaluate.checksum(weights)
    assert weights.stat().st_size < 4e6
    monkeypatch.undo()
    policies.load("released", card.stem)


@pytest.mark.parametrize(("typed", "expected"), [(frozenset(), 5), (frozenset(["num_evals"]), 50)])
def test_a_short_run_has_fewer_evaluations_unless_they_are_typed(typed, expected):
    flags = {"steps": 2600, "num_evals": 50} | dataclasses.asdict(
        LearnerSettings()
    )  # 512 an update
    assert checks.with_fewer_evaluations(Settings(flags, typed)).num_evals == expected
