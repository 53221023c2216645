"""Are the numbers right? Derivatives, gradients of losses and projections, in float64."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.projections import FullDerivatives, Projection
from train.bench import benchmark


def rows(draws: int = 20_000) -> benchmark.Rows:
    keras.utils.set_random_seed(0)
    for name, net, shape in (("dense", dense_net(), (5, 3)), ("conv", conv_net(), (3, 6, 6, 2))):
        error = derivative_error(net, np.random.default_rng(0).normal(size=shape), 1)
        yield f"input gradient of a {name} net: relative error (bar 1e-6)", error
    for activation in ("tanh", "silu", "softplus"):
        net = float64(st.nets.mlp(3, 2, hidden=[16, 16], activation=activation))
        x = np.random.default_rng(0).normal(size=(4, 3))
        for order in (1, 2, 3):
            error = derivative_error(net, x, order)
            yield f"derivative of order {order}, {activation} mlp: relative error (bar 1e-5)", error
    for name, derivatives in derivatives_by_name().items():
        yield f"gradient of the loss in the weights, {name} (bar 1e-4)", weight_error(derivatives)
    for name, ratio in projected_over_full(draws):
        yield f"{name} (bar 1 ± 0.02)", ratio


def dense_net() -> keras.Model:
    layers = [keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(4)]
    return float64(keras.Sequential([keras.Input([3]), *layers]))


def conv_net() -> keras.Model:
    layers = [
        keras.layers.Conv2D(4, 3, activation="softplus"),
        keras.layers.Conv2D(3, 3, strides=2, activation="tanh"),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    return float64(keras.Sequential([keras.Input([6, 6, 2]), *layers]))


def float64(net: keras.Model) -> keras.Model:
    """Return the same net in float64, with Keras's initial weights."""
    config = net.get_config()
    for layer in config["layers"]:
        layer["config"]["dtype"] = "float64"
    copy = net.from_config(config)
    copy.set_weights(net.get_weights())
    return copy


def derivative_error(net: keras.Model, x: np.ndarray, order: int, step: float = 1e-5) -> float:
    """Return |D^j - differences of D^(j-1)| / |differences|, central ones, at x."""
    ours = _term(net, x, order)
    flat = ours.reshape(*ours.shape[: ours.ndim - x.ndim + 1], -1)
    differences = np.empty_like(flat)
    for i in range(flat.shape[-1]):
        e = step * np.eye(flat.shape[-1])[i].reshape(x.shape[1:])
        ends = _term(net, x + e, order - 1) - _term(net, x - e, order - 1)
        differences[..., i] = ends / (2 * step)
    return float(np.linalg.norm(flat - differences) / np.linalg.norm(differences))


def _term(net, x, order):
    jet = st.jet(net, tf.constant(x), order)
    return (jet.value, *jet.derivatives)[order].numpy()


def derivatives_by_name() -> dict[str, Any]:
    """Return equations 1 and 2 in every form, by name."""
    made: dict[str, Any] = {"full, orders 1 and 2": FullDerivatives()}
    made["output projections"] = Projection("output", 2, seed=1).sample(3)
    for contraction in ("distinct", "same", "first"):
        name = f"input projections, {contraction}"
        made[name] = Projection("input", 2, contraction, seed=1).sample(3)
    return made


def weight_error(derivatives: Any, step: float = 1e-6) -> float:
    """Compare a loss's gradient in the weights with central differences; B, K, P > 1."""
    rng = np.random.default_rng(0)
    net = float64(st.nets.mlp(3, 2, hidden=[5], activation="tanh"))
    x = tf.constant(rng.normal(size=(4, 3)))
    labels = [tf.constant(rng.normal(size=[4, 2, *[3] * j])) for j in range(3)]

    def loss():
        jet = derivatives.jet(net, x, 2)
        total = 0.0
        for j, (weight, term) in enumerate(
            zip((0.5, 3, 2), (jet.value, *jet.derivatives), strict=True)
        ):
            error = term - derivatives.label(labels[j], j, x, jet.value)
            total += weight * tf.reduce_mean(
                tf.reduce_sum(error**2, list(range(1, len(error.shape))))
            )
        return total

    with tf.GradientTape() as tape:
        value = loss()
    ours, differences = [], []
    for variable, gradient in zip(
        net.trainable_variables, tape.gradient(value, net.trainable_variables), strict=True
    ):
        start = variable.numpy()
        for index in np.ndindex(start.shape):
            ends = []
            for sign in (step, -step):
                moved = start.copy()
                moved[index] += sign
                variable.assign(moved)
                ends.append(float(loss()))
            differences.append((ends[0] - ends[1]) / (2 * step))
        variable.assign(start)
        ours.append(np.ravel(gradient))
    error = np.linalg.norm(np.concatenate(ours) - differences)
    return float(error / np.linalg.norm(differences))


def projected_over_full(draws: int) -> benchmark.Rows:
    """Divide the mean projected squared error, times n where it is biased, by the full one."""
    rng = np.random.default_rng(0)
    n, k = 4, 3
    errors = {1: rng.normal(size=(1, k, n)), 2: rng.normal(size=(1, 1, n, n))}
    errors[2] += errors[2].swapaxes(2, 3)  # Hessians are symmetric
    cases = [
        ("order 1 on inputs", "input", "distinct", 1, n),
        ("order 1 on outputs", "output", "distinct", 1, k),
        ("order 2 as H v", "input", "first", 2, n),
        ("order 2 as v1 H v2", "input", "distinct", 2, n * n),
    ]
    for name, side, contraction, order, factor in cases:
        error = tf.constant(errors[order])
        for unbiased in (False, True):
            derivatives = Projection(side, draws, contraction, unbiased, seed=1).sample(0)
            like = tf.zeros([1, n], tf.float64), tf.zeros(error.shape[:2], tf.float64)
            seen = derivatives.label(error, order, *like)
            square = tf.reduce_sum(seen**2) / draws / tf.reduce_sum(error**2)
            kind = "unbiased" if unbiased else f"plain times {factor}"
            yield (
                f"projected over full loss, {name}, {kind}",
                float(square) * (1 if unbiased else factor),
            )
