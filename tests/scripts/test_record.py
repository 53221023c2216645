"""Recordings are lossless, of whole episodes, and never half a data set that reads as whole."""

import json
import os
import re
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tests.support.stacked import stacked
from train.lib.atari import environment, episode_format, policies
from train.lib.atari.driver import DynamicStepDriver
from train.lib.atari.trajectory import PolicyInfo, StepType, Trajectory
from train.lib.run import cli, errors, files
from train.record import __main__ as record
from train.record.recorder import Recorder
from train.record.status import Status
from train.record.writer import Writer

ARGUMENTS = ["--game=breakout", "--num_envs=2"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A small .keras file that plays Breakout badly, and predicts a value as well."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    keras.utils.set_random_seed(0)
    frames = keras.Input([84, 84, 4])
    h = keras.layers.AveragePooling2D(12)(keras.layers.Rescaling(1 / 255)(frames))
    h = keras.layers.Flatten()(h)
    outputs = [keras.layers.Dense(n, kernel_initializer="orthogonal")(h) for n in (4, 1)]
    keras.Model(frames, outputs).save(path)
    return path


@pytest.fixture
def run(run_script, teacher):
    return lambda *arguments: run_script(record, *ARGUMENTS, f"--teacher={teacher}", *arguments)


class Killed(BaseException):
    """The end of the process, which nothing in it handles."""


def killed(*_):
    raise Killed


def read(folder):
    """The episodes of a data set, each as {name: array}, and their scores."""
    data = tfds.builder_from_directory(folder).as_dataset(split=episode_format.SPLIT)
    return [
        (next(iter(episode["steps"].batch(10_000).as_numpy_iterator())), float(episode["score"]))
        for episode in data
    ]


def test_what_is_read_is_what_the_policy_saw(tmp_path, teacher):
    """Bit for bit, with short episodes that are cut off among those that end."""
    policy, live = policies.load(teacher, "breakout"), []
    env = environment.Atari("breakout", 2, seed=0, max_frames=700)
    writer = Writer(tmp_path / "data", "breakout", shard_steps=300)
    recorder = Recorder(2, policy, num_steps=700, emit=writer.add)
    driver = DynamicStepDriver(env, policy, [recorder, live.append], np.random.default_rng(0))
    driver.run(until=lambda: not recorder.recording.any())
    writer.flush()
    assert len(writer.shards) > 1
    writer.finish()

    expected = {}  # (its first step, game) -> what was seen there
    begun = np.zeros(2, int)
    for t, last in enumerate(live):
        for k in np.flatnonzero(last.is_last()):
            seen = live[begun[k] : t + 1]
            assert [each.is_first()[k] for each in seen] == [True] + [False] * (len(seen) - 1)
            frames = [each.observation[k] for each in seen] + [last.final_observation[k]]
            expected[begun[k], k] = seen, np.stack(frames), last.discount[k] == 0
            begun[k] = t + 1
    episodes = read(tmp_path / "data")
    assert writer.num_steps >= 700
    assert writer.num_steps == sum(len(steps["action"]) - 1 for steps, _ in episodes)
    kinds = set()
    for (steps, score), ((_, k), (seen, frames, terminated)) in zip(
        episodes, sorted(expected.items(), key=lambda item: item[0]), strict=False
    ):
        np.testing.assert_array_equal(stacked(steps["observation"]), frames)
        np.testing.assert_array_equal(steps["action"][:-1], [each.action[k] for each in seen])
        for name in ("logits", "value"):
            predicted = np.stack([getattr(each.policy_info, name)[k] for each in seen])
            np.testing.assert_array_equal(steps[name][:-1], predicted)
        rewards = [each.reward[k] for each in seen]
        np.testing.assert_array_equal(steps["reward"], [*rewards, 0.0])
        assert score == sum(rewards)
        discounts = np.ones(len(frames))
        discounts[-1] = 0
        discounts[-2] -= terminated
        np.testing.assert_array_equal(steps["discount"], discounts)
        places = np.arange(len(frames))
        np.testing.assert_array_equal(steps["is_first"], places == 0)
        np.testing.assert_array_equal(steps["is_last"], places == places[-1])
        np.testing.assert_array_equal(steps["is_terminal"], steps["is_last"] & terminated)
        logits, values = policy(stacked(steps["observation"]))
        np.testing.assert_allclose(steps["logits"], logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(steps["value"], values, rtol=1e-5, atol=1e-5)
        kinds.add(bool(terminated))
    assert kinds == {True, False}


@pytest.mark.parametrize("shape", [(84, 84), (3, 5)])
def test_png_is_lossless(tmp_path, shape):
    frame = np.random.default_rng(0).integers(0, 256, shape)
    (tmp_path / "frame.png").write_bytes(episode_format.png(frame.astype(np.uint8)))
    with Image.open(tmp_path / "frame.png") as image:
        np.testing.assert_array_equal(image, frame)
    np.testing.assert_array_equal(
        tf.io.decode_png((tmp_path / "frame.png").read_bytes())[..., 0], frame
    )


@pytest.mark.parametrize("usual", [None, 200])
def test_a_stopped_recording_is_no_data_set_and_goes_on(run, tmp_path, monkeypatch, usual):
    monkeypatch.setattr(record, "usual_length", lambda settings: usual)
    arguments = ["--num_steps=500", f"--workdir={tmp_path}"]
    monkeypatch.setattr(Writer.__init__, "__defaults__", (100,))
    flush = Writer.flush

    def stopped(self):
        flush(self)
        monkeypatch.setattr(Writer, "flush", flush)  # A second signal kills.
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Writer, "flush", stopped)
    code, _, err = run(*arguments)
    assert code == 143
    assert "SIGTERM: saved at step" in err
    assert not (tmp_path / "data").exists()
    with pytest.raises(tfds.core.dataset_info.DatasetInfoFileError):
        tfds.builder_from_directory(tmp_path / "data.partial")
    shards = json.loads((tmp_path / "data.partial" / "shards.json").read_text())
    kept = {path: path.read_bytes() for path in (tmp_path / "data.partial").glob("*tfrecord*")}
    # A shard that was written, but not listed any more; and half a file.
    orphan = tmp_path / "data.partial" / f"breakout-train.tfrecord-{len(shards):05d}"
    orphan.write_bytes(b"other")
    (tmp_path / "data.partial" / f".{orphan.name}{files.TEMPORARY}").write_bytes(b"half")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        with pytest.raises(Killed):
            run(*arguments)
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "records at least 500 steps" in out
    assert "at least 2 more episodes" in out
    assert f" -m train.distill --game=breakout --recording={tmp_path} --train_percent=10\n" in out
    assert run(*arguments)[1].splitlines()[-2] == out.splitlines()[-2]  # before "Took ..."
    episodes = read(tmp_path / "data")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["num_steps"] == sum(len(steps["action"]) - 1 for steps, _ in episodes) >= 500
    assert summary["episodes"] == len(episodes)
    assert summary["headline"]["name"] == "score"
    # Older recordings call the steps of a shard its frames, and do not know their time.
    listed = tmp_path / "data" / "shards.json"
    old = [
        {"frames": shard["steps"], "bytes": shard["bytes"], "scores": shard["scores"]}
        for shard in json.loads(listed.read_text())
    ]
    listed.write_text(json.dumps(old))
    assert Writer(tmp_path / "data", "breakout").num_steps == summary["num_steps"]
    for path, content in kept.items():
        assert (tmp_path / "data" / path.name).read_bytes() == content
    firsts = {steps["action"].tobytes() for steps, _ in episodes}
    assert len(firsts) == len(episodes)  # New games, not the same ones again.
    policies.load(tmp_path / "teacher.keras", "breakout")


def test_a_recording_stopped_with_more_steps_than_asked_for_is_finished(run, tmp_path, monkeypatch):
    flush = Writer.flush

    def stopped(self):
        flush(self)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "flush", stopped)
        code, _, err = run("--num_steps=3", f"--workdir={tmp_path}")
    assert code == 130
    [steps] = re.findall(
        r"saved at step (\d+), of at least 3; the same command finishes the run\n", err
    )
    code, _, err = run("--num_steps=3", f"--workdir={tmp_path}")
    assert code == 0, err
    assert json.loads((tmp_path / "summary.json").read_text())["num_steps"] == int(steps) > 3


class Plays(tf.Module):
    """A SavedModel from elsewhere, that takes uint8 and has no value."""

    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(0.01)

    @tf.function(input_signature=[tf.TensorSpec([None, 84, 84, 4], tf.uint8)])
    def __call__(self, frames):
        return self.weight * tf.cast(frames[:, 40, 40, :], tf.float32)


def test_a_saved_model_from_elsewhere_is_recorded_and_kept(run, tmp_path):
    tf.saved_model.save(module := Plays(), tmp_path / "foreign", module.__call__)
    workdir = tmp_path / "run"
    code, _, err = run(
        f"--teacher={tmp_path / 'foreign'}", "--num_steps=1", "--num_envs=1", f"--workdir={workdir}"
    )
    assert code == 0, err
    [(steps, _)] = read(workdir / "data")
    logits, values = policies.load(workdir / "teacher", "breakout")(stacked(steps["observation"]))
    np.testing.assert_allclose(steps["logits"], logits, rtol=1e-6)
    assert np.isnan(steps["value"]).all()
    assert np.isnan(values).all()


def test_what_is_no_whole_recording_any_more_is_not_called_done(tmp_path, monkeypatch):
    monkeypatch.setattr(Writer.__init__, "__defaults__", (1,))
    steps = {name: np.zeros(3) for name in ("reward", "discount", "value")}
    steps |= {name: np.zeros(3, bool) for name in ("is_first", "is_last", "is_terminal")}
    steps |= {"action": np.zeros(3, int), "logits": np.zeros([3, 4])}
    writer = Writer(tmp_path / "data", "breakout")
    writer.add(steps | {"observation": np.zeros([3, 84, 84], np.uint8)})
    assert Writer(tmp_path / "data", "breakout").num_steps == 2
    (shard,) = (tmp_path / "data.partial").glob("*tfrecord*")
    whole = shard.read_bytes()
    for damage in (lambda: shard.write_bytes(whole[:-1]), shard.unlink):
        damage()
        with pytest.raises(errors.UsageError, match=r"no whole recording: .*remove it, and record"):
            Writer(tmp_path / "data", "breakout")
    (tmp_path / "data.partial" / "shards.json").write_text("[")
    with pytest.raises(errors.UsageError, match="no whole recording"):
        Writer(tmp_path / "data", "breakout")
    (tmp_path / "data").mkdir()
    with pytest.raises(errors.UsageError, match="no whole recording"):
        Writer(tmp_path / "data", "breakout")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--game=chess"], "expected pong or breakout or space_invaders"),
        (["--game=pong"], "pong has 3 actions, expected logits [2, 3]"),
        (["--teacher=nowhere"], "nowhere does not exist"),
        (["--frames=9"], "--frames has a new name: --num_steps"),
        (["--num_steps=0"], "--num_steps=0: expected a positive integer"),
        (
            ["--max_episode_steps=0"],
            "--max_episode_steps=0: expected an integer in the range [1, 27000]",
        ),
        (["--max_episode_steps=27001"], "--max_episode_steps=27001: expected an integer"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, refused, teacher):
    assert message in refused(record, *ARGUMENTS, f"--teacher={teacher}", *arguments)


def test_episodes_are_written_in_the_order_in_which_they_began(tmp_path):
    """Two games: the first ends short episodes while the second plays a long one."""
    sizes, written = {0: 2, 1: 5, 2: 3, 3: 4, 4: 6}, []
    writer = Writer(tmp_path / "data", "breakout", shard_steps=1000)
    for number in (0, 2, 3, 1, 4):
        zeros = np.zeros(sizes[number] + 1, np.float32)
        episode = dict.fromkeys(("reward", "discount", "value"), zeros)
        episode |= {"action": zeros.astype(np.int32), "logits": np.zeros([len(zeros), 4], "f")}
        episode |= dict.fromkeys(("is_first", "is_last", "is_terminal"), zeros > 0)
        writer.add(episode | {"observation": np.zeros([len(zeros), 84, 84], np.uint8)}, number)
        written.append(len(writer._pending))
    assert written == [1, 1, 1, 4, 5]  # 2 and 3 wait for 1
    writer.flush()
    writer.finish()
    lengths = [len(steps["action"]) - 1 for steps, _ in read(tmp_path / "data")]
    assert lengths == list(sizes.values())


def policy(frames):
    return np.zeros([len(frames), 4]), np.zeros(len(frames))


def black_turn(ended):
    """A turn of two games, of black frames."""
    frames = np.zeros([2, 84, 84, 4], np.uint8)
    return Trajectory(
        step_type=np.full(2, StepType.MID),
        observation=frames,
        action=np.zeros(2, np.int32),
        policy_info=PolicyInfo(*policy(frames)),
        next_step_type=np.where(ended, StepType.LAST, StepType.MID),
        reward=np.zeros(2),
        discount=np.ones(2),
        final_observation=frames,
    )


def test_a_recorder_numbers_episodes_as_they_begin():
    numbers = []
    recorder = Recorder(2, policy, 100, emit=lambda episode, number: numbers.append(number))
    for ended in ([True, False], [True, False], [False, True], [True, True]):
        recorder(black_turn(ended))
    assert numbers == [0, 2, 1, 3, 4]


def test_longer_episodes_are_cut_off_and_are_not_terminal(run, tmp_path):
    run(f"--workdir={tmp_path / 'run'}", "--num_steps=30", "--max_episode_steps=12")
    for steps, _ in read(tmp_path / "run/data"):
        assert len(steps["action"]) - 1 == 12
        assert steps["is_last"][-1]
        assert not steps["is_terminal"][-1]
        assert steps["discount"][-2] == 1


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["--game=breakout", "--num_steps=2000"],
            "breakout: records at least 2,000 steps, 500 so far; a step is one action, which lasts "
            "4 frames of the game\n--num_envs=16 plays 16 games at a time, each to its end: at "
            "least 16 more episodes of about 2,000 steps, so about 32,000 steps; fewer games make "
            "a smaller recording",
        ),
        (
            ["--game=pong", "--num_envs=1", "--teacher=mine.keras"],
            "pong: records at least 100,000 steps, 500 so far; a step is one action, which lasts 4 "
            "frames of the game\n--num_envs=1 plays 1 game at a time, each to its end: at least "
            "1 more episode",
        ),
        (
            ["--game=pong", "--max_episode_steps=4500"],
            "pong: records at least 100,000 steps, 500 so far; a step is one action, which lasts 4 "
            "frames of the game\n--num_envs=16 plays 16 games at a time, each to its end: at least "
            "16 more episodes of about 4,500 steps",
        ),
    ],
)
def test_a_recording_says_at_the_start_how_much_it_will_be(arguments, lines):
    settings = cli.parse(record.FLAGS, ["script", *arguments], record.PRESETS)
    assert record.plan(settings, recorded=500) == lines


def test_the_time_left_of_a_recording_by_hand():
    """Two games; an episode of game 0 ends after 3 turns, and 6 steps are requested."""

    recorder = Recorder(2, policy, num_steps=6, emit=lambda episode, number: None)
    status = Status(recorder, recorded=10)

    def play(*ended):
        recorder(black_turn(ended))
        status(black_turn(ended))

    play(False, False)
    assert recorder.turns_left() is None
    assert recorder.turns_left(usual=10) == 10 - 1  # all outlast the two turns until 6 steps
    assert recorder.turns_left(usual=2) == 4 / 2 + 2
    assert status.line(1.0).endswith(
        "0 whole and 2 open episodes, 2 steps/s, time left unknown until an episode ends"
    )
    play(True, False)
    # 2 of 6 steps are missing, of two games; then an episode of the length of the longest.
    assert recorder.turns_left() == 2 / 2 + 2
    play(False, False)
    assert recorder.turns_left() == 2 - 1  # the youngest one is one step old
    assert status.line(seconds=3.0) == (
        "16 steps, 1 whole and 2 open episodes, 2 steps/s, about 0:00:01 left"
    )
    play(True, True)
    assert not recorder.recording.any()
    assert recorder.turns_left() == 0
