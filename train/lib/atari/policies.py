"""Policies: nets, of this project or from elsewhere, that predict logits and values of frames."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.atari import environment
from train.lib.run import checkpoints, files, identity, run_folder, schema
from train.lib.run.errors import UsageError, reading

RELEASED = Path(__file__).parents[2] / "teachers"
FRAMES = (84, 84, 4)
ANY_POLICY = "a run folder, .npz, .keras or SavedModel"
ANY_TEACHER = "a run folder of train.teacher, an .npz or `released`"


class Policy:
    """A compiled net: frames, uint8 [N,84,84,4] -> logits [N,A] and values [N], all NumPy.

    Args:
      net: a Keras model or the signature of a SavedModel, whose outputs are logits, or logits and
        value; if there is no value, it is NaN.
      jit_compile: compile it with XLA.
      dtype: dtype of the net's input.
    """

    def __init__(self, net: Any, jit_compile: bool = False, dtype: tf.DType = tf.float32):
        def predict(frames):
            return logits_and_value(net(tf.cast(frames, dtype)))

        # Traced now: threads that trace at once would trace many times.
        self._predict = tf.function(
            predict, jit_compile=jit_compile, autograph=False
        ).get_concrete_function(tf.TensorSpec([None, *FRAMES], tf.uint8))
        self.net = net

    def __call__(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, values = self._predict(tf.constant(frames))
        return logits.numpy(), values.numpy()


def logits_and_value(outputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Return logits [N,A] and value [N] of a net's outputs: a tensor, a list, or a dict of them."""
    if isinstance(outputs, dict) and "logits" in outputs:
        outputs = [outputs["logits"], outputs.get("value")]
    elif isinstance(outputs, dict):
        outputs = [outputs[name] for name in sorted(outputs)]
    logits, *rest = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    value = rest[0] if rest and rest[0] is not None else tf.fill([tf.shape(logits)[0], 1], np.nan)
    return tf.cast(logits, tf.float32), tf.cast(tf.reshape(value, [-1]), tf.float32)


def load(path: str | Path, game: str) -> Policy:
    """Load the policy at `path`, or the released teacher of `game` for "released".

    Args:
      path: the run folder of a teacher (its best checkpoint), an .npz of a teacher's weights,
        a .keras file, or a SavedModel.
      game: the game's name.

    Raises:
      UsageError: for a net that does not take frames [B,84,84,4] or does not predict a logit for
        each of the game's actions.
    """
    path = existing(path, game)
    with _reading(path):
        if (path / "saved_model.pb").exists():
            return _checked(_saved_model_policy(path), path, game)
        if path.suffix == ".keras":
            net = keras.saving.load_model(path, compile=False)
            return _checked(_keras_policy(net, path), path, game)
    return Policy(load_teacher(path, game)[0])


def load_teacher(path: str | Path, game: str) -> tuple[keras.Model, int | None]:
    """Load a teacher's net, and return it with its agent steps, if they are known.

    Args:
      path: the run folder of a teacher, an .npz, whose steps are on the card beside it, or
        "released".
      game: the game's name.

    Raises:
      UsageError: as `load` does.
    """
    path = existing(path, game, ANY_TEACHER)
    if path.suffix == ".keras" or (path / "saved_model.pb").exists():
        raise UsageError(f"{path} is no weights of the paper's teacher: expected {ANY_TEACHER}")
    with _reading(path):
        if path.is_dir():
            weights, steps = _run_weights(path, game)
        else:
            weights = files.read_npz(path)
            steps = _card_steps(path.with_suffix(".json"), game, path.read_bytes())
        return teacher_net(weights, path, game), steps


def existing(path: str | Path, game: str, expected: str = ANY_POLICY) -> Path:
    """Return the path of a policy, also of "released". Raises UsageError if nothing is there."""
    path = RELEASED / f"{game}.npz" if path == "released" else Path(path)
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in RELEASED.glob("*.npz"))) or "no game"
        raise UsageError(
            f"{path} does not exist: expected {expected}; released are teachers of {there}"
        )
    if not (path.is_dir() or path.is_file()):
        raise UsageError(f"{path} is not an ordinary file: expected {expected}")
    return path


def new_teacher(game: str) -> keras.Model:
    """Return the paper's teacher net for `game`, untrained."""
    return st.nets.atari_teacher(len(environment.ACTIONS[game]), environment.BACKGROUND[game])


def teacher_net(weights: dict[str, np.ndarray], path: Path, game: str) -> keras.Model:
    """Return the paper's teacher net with `weights`, {"conv1/kernel": array}, of any precision.

    Raises UsageError, naming `path`, if they are of another net or not finite.
    """
    net = new_teacher(game)
    expected = {variable.path: list(variable.shape) for variable in net.variables}
    shapes = {name: list(array.shape) for name, array in weights.items()}
    for name in sorted(expected.keys() | shapes.keys()):
        if expected.get(name) != shapes.get(name):
            raise UsageError(
                f"{path} is no teacher of {game}, which has "
                f"{len(environment.ACTIONS[game])} actions: {name} is "
                f"{shapes.get(name, 'missing')}, expected {expected.get(name, 'nothing')}"
            )
        if weights[name].dtype.kind != "f" or not np.isfinite(weights[name]).all():
            raise UsageError(f"{path}: {name} holds other than finite real numbers")
    for variable in net.variables:
        variable.assign(weights[variable.path].astype(np.float32))
    return net


def digest(net: keras.Model) -> str:
    """Return the SHA-256 of the net's weights."""
    return hashlib.sha256(b"".join(array.tobytes() for array in net.get_weights())).hexdigest()


def _reading(path):
    return reading(path, "choose another policy", "cannot be read as a policy")


def _card_steps(path, game, weights):
    if not path.exists():
        return None
    card = files.read_json(path)
    schema.check(card, {"steps": int})
    identity.check(card, {"game": game, "sha256": hashlib.sha256(weights).hexdigest()})
    return card["steps"]


def _keras_policy(net, path):
    _check_inputs([tensor.shape for tensor in net.inputs], path)
    return Policy(net)


def _saved_model_policy(path):
    saved = tf.saved_model.load(str(path))
    if "serving_default" not in saved.signatures:
        raise UsageError(f"{path} has no signature serving_default, only {[*saved.signatures]}")
    inputs = saved.signatures["serving_default"].structured_input_signature[1]
    _check_inputs([spec.shape for spec in inputs.values()], path)
    [(name, spec)] = inputs.items()
    # By way of `saved`: a signature does not keep its variables alive.
    return Policy(
        lambda frames: saved.signatures["serving_default"](**{name: frames}), dtype=spec.dtype
    )


def _check_inputs(shapes: Iterable, path: Path) -> None:
    """Raise UsageError unless the one input is [B,84,84,4]."""
    if [tuple(shape)[1:] for shape in shapes] != [FRAMES]:
        inputs = ", ".join(str(list(shape)) for shape in shapes)
        raise UsageError(f"{path} takes {inputs}: expected one input of frames [B,84,84,4]")


def _checked(policy, path, game):
    """Return `policy`, or raise UsageError unless it predicts a logit for every action."""
    expected = len(environment.ACTIONS[game])
    frames = np.random.default_rng(0).integers(0, 256, [2, *FRAMES]).astype(np.uint8)
    logits, _ = policy(frames)
    if logits.shape != (2, expected):
        raise UsageError(
            f"{path} predicts {list(logits.shape)} for two stacks of frames: {game} has {expected} "
            f"actions, expected logits [2, {expected}]"
        )
    if not np.isfinite(logits).all():
        raise UsageError(f"{path} predicts logits that are not finite: {logits[0]}")
    return policy


def _teacher_config(folder, game):
    """Return the config of a teacher's run folder. Raises UsageError for another folder."""
    if not (folder / "config.json").exists():
        raise UsageError(f"{folder} is no run folder and no SavedModel: choose another policy")
    config = run_folder.read_config(folder / "config.json")
    if config.get("script") != "teacher":
        saved = folder / "saved_model"
        hint = f": {saved} is its net" if saved.exists() else ""
        raise UsageError(
            f"{folder} is a run of {config.get('script')}, expected one of teacher{hint}"
        )
    if config["flags"].get("game") != game:
        raise UsageError(
            f"{folder} is a run of game {config['flags'].get('game')}, expected {game}"
        )
    return config


def _run_weights(folder, game):
    """Return the weights {path: array} of a run's best checkpoint, and its agent steps.

    Steps before --init_from count as well, as far as they are known.
    """
    config = _teacher_config(folder, game)
    best = checkpoints.best(sorted((folder / "checkpoints").glob("step-*.npz")), "score")
    if best is None:
        raise UsageError(f"{folder} has no evaluated checkpoint yet: let it train on")
    state, facts = checkpoints.read(best, remedy="remove it, and the best of the others is taken")
    identity.check(facts, run_folder.of_run(config))
    weights = {
        name.split("/", 2)[2]: array for name, array in state.items() if name.startswith("model/")
    }
    before = config.get("facts", {}).get("initial", {}).get("steps") or 0
    return weights, before + facts["step"]
