"""Policies: nets, from here or from elsewhere, that answer frames with logits and values."""

import hashlib
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.atari import environment
from train.lib.run import checkpoints, run_folder
from train.lib.run.errors import UsageError, one_line

RELEASED = Path(__file__).parents[2] / "teachers"
FRAMES = (84, 84, 4)
# What Keras and TensorFlow raise for files that are damaged, or hold something else.
UNREADABLE = (*checkpoints.DAMAGED, TypeError, AttributeError, LookupError, tf.errors.OpError)


class Policy:
    """A compiled net: frames, uint8 [N,84,84,4] -> logits [N,A] and values [N], all NumPy.

    `net` is a Keras model or the signature of a SavedModel, whose outputs are logits, or logits
    and value; where there is no value, it is NaN.
    """

    def __init__(self, net, jit=False, dtype=tf.float32):
        def answer(frames):
            return logits_and_value(net(tf.cast(frames, dtype)))

        # Traced now: threads that trace at once would trace many times.
        self._answer = tf.function(answer, jit_compile=jit, autograph=False).get_concrete_function(
            tf.TensorSpec([None, *FRAMES], tf.uint8)
        )
        self.net = net

    def __call__(self, frames):
        logits, values = self._answer(tf.constant(frames))
        return logits.numpy(), values.numpy()


def logits_and_value(outputs):
    """(logits [N,A], value [N]) of a net's outputs: a tensor, a list, or a dict of them."""
    if isinstance(outputs, dict):
        parts = [outputs.get("logits"), outputs.get("value")]
        outputs = parts if parts[0] is not None else [outputs[name] for name in sorted(outputs)]
    logits, *rest = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    value = rest[0] if rest and rest[0] is not None else tf.fill([tf.shape(logits)[0], 1], np.nan)
    return tf.cast(logits, tf.float32), tf.cast(tf.reshape(value, [-1]), tf.float32)


def load(path, game):
    """The policy at `path`, or the released teacher of `game` for "released".

    `path` is the run folder of a teacher (its best checkpoint), an .npz of a teacher's weights,
    a .keras file, or a SavedModel. Raises UsageError, naming both sides, for a net that does not
    take frames [B,84,84,4] or does not answer a logit for each of the game's actions.
    """
    path = existing(path, game)
    try:
        if (path / "saved_model.pb").exists():
            return check(of_saved_model(path), path, game)
        if path.suffix == ".keras":
            return check(of_keras(keras.saving.load_model(path, compile=False), path), path, game)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    return Policy(load_teacher(path, game)[0])


def load_teacher(path, game):
    """(teacher net, its agent steps or None) of a run folder, an .npz, or "released".

    An .npz tells its steps by the card beside it. Raises UsageError as `load` does.
    """
    kinds = "a run folder of train.teacher, an .npz or `released`"
    path = existing(path, game, kinds)
    if path.suffix == ".keras" or (path / "saved_model.pb").exists():
        raise UsageError(f"{path} is no weights of the paper's teacher: expected {kinds}")
    try:
        if path.is_dir():
            weights, steps = run_weights(path, game)
        else:
            weights, steps = read_weights(path), card_steps(path.with_suffix(".json"))
        return teacher(weights, path, game), steps
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def card_steps(path):
    return int(json.loads(path.read_text())["steps"]) if path.exists() else None


def existing(path, game, kinds="a run folder, .npz, .keras or SavedModel"):
    """The path of a policy, also of "released". Raises UsageError where there is nothing."""
    path = RELEASED / f"{game}.npz" if path == "released" else Path(path)
    if not path.exists():
        there = ", ".join(sorted(each.stem for each in RELEASED.glob("*.npz"))) or "no game"
        raise UsageError(
            f"{path} does not exist: expected {kinds}; released are teachers of {there}"
        )
    return path


def unreadable(path, error):
    return UsageError(f"{path} cannot be read as a policy: {one_line(error)}")


def of_keras(net, path):
    check_inputs([tensor.shape for tensor in net.inputs], path)
    return Policy(net)


def of_saved_model(path):
    saved = tf.saved_model.load(str(path))
    if "serving_default" not in saved.signatures:
        raise UsageError(f"{path} has no signature serving_default, only {[*saved.signatures]}")
    inputs = saved.signatures["serving_default"].structured_input_signature[1]
    check_inputs([spec.shape for spec in inputs.values()], path)
    [(name, spec)] = inputs.items()
    # By way of `saved`: the signature alone does not keep its variables alive.
    return Policy(
        lambda frames: saved.signatures["serving_default"](**{name: frames}), dtype=spec.dtype
    )


def check_inputs(shapes, path):
    """Raise UsageError unless the one input is [B,84,84,4]."""
    if [tuple(shape)[1:] for shape in shapes] != [FRAMES]:
        given = ", ".join(str(list(shape)) for shape in shapes)
        raise UsageError(f"{path} takes {given}: expected one input of frames [B,84,84,4]")


def check(policy, path, game):
    """Return `policy`, or raise UsageError unless it answers a logit for every action."""
    expected = len(environment.ACTIONS[game])
    frames = np.random.default_rng(0).integers(0, 256, [2, *FRAMES]).astype(np.uint8)
    logits, _ = policy(frames)
    if logits.shape != (2, expected):
        raise UsageError(
            f"{path} answers {list(logits.shape)} to two stacks of frames: {game} has {expected} "
            f"actions, expected logits [2, {expected}]"
        )
    if not np.isfinite(logits).all():
        raise UsageError(f"{path} answers logits that are not finite: {logits[0]}")
    return policy


def run_weights(folder, game):
    """The weights {path: array} of the best checkpoint in a teacher's run folder, and its steps.

    Steps before --initial count as well, as far as they are known.
    """
    config = folder / "config.json"
    if not config.exists():
        raise UsageError(f"{folder} is no run folder and no SavedModel: choose another policy")
    config = run_folder.read_config(config)
    if config.get("script") != "teacher":
        hint = f": {folder / 'saved_model'} is its net" if config.get("script") == "distill" else ""
        raise UsageError(
            f"{folder} is a run of {config.get('script')}, expected one of teacher{hint}"
        )
    played = config["flags"].get("game")
    if played != game:
        raise UsageError(f"{folder} is a run of game {played}, expected {game}")
    best = checkpoints.best(sorted((folder / "checkpoints").glob("step-*.npz")), "score")
    if best is None:
        raise UsageError(f"{folder} has no evaluated checkpoint yet: let it train on")
    state, facts = checkpoints.read(best)
    kept = {name: array for name, array in state.items() if name.startswith("model/")}
    before = config["facts"].get("initial", {}).get("steps") or 0
    return {name.split("/", 2)[2]: array for name, array in kept.items()}, before + facts["step"]


def read_weights(path):
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz")
    # Opened here: of a damaged file, np.load would leave it open.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def new_teacher(game):
    """The paper's teacher net for `game`, untrained."""
    return st.nets.atari_teacher(len(environment.ACTIONS[game]), environment.BACKGROUND[game])


def teacher(weights, path, game):
    """The paper's teacher net with `weights`, {"conv1/kernel": array}, of any precision."""
    net = new_teacher(game)
    here = {variable.path: list(variable.shape) for variable in net.variables}
    there = {name: list(array.shape) for name, array in weights.items()}
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise UsageError(
                f"{path} is no teacher of {game}, which has "
                f"{len(environment.ACTIONS[game])} actions: "
                f"{name} is {there.get(name, 'missing')}, expected {here.get(name, 'nothing')}"
            )
        elif weights[name].dtype.kind != "f" or not np.isfinite(weights[name]).all():
            raise UsageError(f"{path}: {name} holds other than finite real numbers")
    for variable in net.variables:
        variable.assign(weights[variable.path].astype(np.float32))
    return net


def digest(net):
    """SHA-256 of the net's weights."""
    return hashlib.sha256(b"".join(array.tobytes() for array in net.get_weights())).hexdigest()
