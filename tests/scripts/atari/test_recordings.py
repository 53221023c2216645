"""Recordings read back into memory, and their batches."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.noise_recording import LENGTHS, record_noise
from tests.support.stacked import stacked
from train.lib.atari import recordings
from train.lib.run.errors import UsageError


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(a run folder as train.record leaves it, its episodes)."""
    folder = tmp_path_factory.mktemp("recording")
    keras.utils.set_random_seed(0)
    frames = keras.Input([84, 84, 4])
    h = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(frames))
    teacher = keras.Model(frames, [keras.layers.Dense(n)(h) for n in (4, 1)])
    return folder, record_noise(folder, teacher)


def test_what_is_read_is_what_was_recorded(recorded):
    folder, written = recorded
    recording = recordings.read(folder / "data", "breakout")
    assert recording.lengths.tolist() == LENGTHS
    shards = json.loads((folder / "data" / "shards.json").read_text())
    assert len(shards) > 1
    np.testing.assert_array_equal(recording.scores, [e["reward"].sum() for e in written])
    stacks, logits = recording.batch(np.arange(sum(LENGTHS), dtype=np.int32))
    expected = [stacked(e["observation"])[:-1] for e in written]
    np.testing.assert_array_equal(stacks, np.concatenate(expected))
    np.testing.assert_array_equal(logits, np.concatenate([e["logits"][:-1] for e in written]))
    assert recording.frames.dtype == stacks.dtype == tf.uint8


def test_batches_are_a_function_of_seed_and_number(recorded):
    recording = recordings.read(recorded[0] / "data", "breakout")
    steps = np.arange(40, 90, dtype=np.int32)

    def some(start, seed=3):
        data = recordings.random_batches(recording, steps, 16, seed, start)
        return [batch.numpy() for batch, _ in data.take(4 - start)]

    np.testing.assert_array_equal(some(0)[2:], some(2))
    assert (some(0)[0] != some(0, seed=4)[0]).any()
    allowed = {frame.tobytes() for frame in recording.batch(steps)[0].numpy()}
    assert {frame.tobytes() for batch in some(0) for frame in batch} <= allowed
    tests = recordings.in_order(recording, steps, 20)
    assert [len(batch) for batch, _ in tests] == [20, 20, 10]


def test_a_damaged_shard_is_named(recorded, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(recorded[0] / "data", folder)
    shard = sorted(folder.glob("*tfrecord*"))[1]
    whole = shard.read_bytes()
    cut, flipped = whole[: len(whole) // 2], bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    first = 16 + int.from_bytes(whole[:8], "little")  # the first record, and no other
    for damaged in (cut, bytes(flipped), whole[:first], b""):
        shard.write_bytes(damaged)
        with pytest.raises(UsageError, match=f"{shard.name} is damaged or not whole"):
            recordings.read(folder, "breakout")
    shard.unlink()
    with pytest.raises(UsageError, match=shard.name):
        recordings.read(folder, "breakout")
    (folder / "features.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read as a data set"):
        recordings.read(folder, "breakout")


def test_an_unfinished_recording_is_refused(tmp_path):
    (tmp_path / "data.partial").mkdir()
    with pytest.raises(UsageError, match="not finished, run its command again"):
        recordings.find(tmp_path)


def test_a_shard_that_is_gone_or_exchanged_is_one_line(recorded, tmp_path):
    folder, *_ = recorded
    data = tmp_path / "data"
    shutil.copytree(folder / "data", data)
    first, second, *_ = sorted(data.glob("*.tfrecord-*"))
    for change, message in (
        (lambda: first.rename(tmp_path / "x"), r"00000 .*: No such file or directory; record"),
        (lambda: second.rename(first), r"00000 .*: it has \d episodes, expected \d"),
    ):
        change()
        with pytest.raises(UsageError, match=message):
            recordings.read(data, "breakout")
