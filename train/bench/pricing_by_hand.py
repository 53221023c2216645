"""Huge & Savine's recipe by hand, in JAX: the loop that a user would write without this library.

The same as `train.pricing.nets`: softplus layers, z-scores, slopes over their root mean square,
Adam at a one-cycle rate, batches from a new order on every pass, all in one jitted scan. A program
of its own, without TensorFlow:

    python pricing_by_hand.py LABELS.npz PREDICTED.npz
"""

import itertools
import os
import sys
import time

import numpy as np

# Shares of the steps, and shares of the peak rate.
TIMES, RATES = (0.0, 0.2, 0.6, 0.9, 1.0), (1e-7, 1.0, 0.1, 1e-5, 1e-7)


def train(x, y, dy, hidden, steps, batch_size, learning_rate, seed):
    """Train on states [B,D], payoffs [B,1] and slopes [B,D] (or none, [B,0]).

    Returns:
      points [B,D] -> prices [B] and deltas [B,D].
    """
    import jax
    import jax.numpy as jnp

    x_mean, x_std, y_mean, y_std = x.mean(0), x.std(0), y.mean(), y.std()
    slopes = dy * x_std / y_std if dy.size else dy
    inverse = 1 / np.sqrt(np.mean(slopes**2, 0))  # lambda_j
    data = [jnp.asarray(rows) for rows in ((x - x_mean) / x_std, (y - y_mean) / y_std, slopes)]

    def net(weights, x):
        for w, b in weights[:-1]:
            x = jax.nn.softplus(x @ w + b)
        w, b = weights[-1]
        return (x @ w + b)[0]

    values = jax.vmap(net, (None, 0))
    jets = jax.vmap(jax.value_and_grad(net, argnums=1), (None, 0))

    def loss(weights, x, y, dy):
        if not dy.size:
            return jnp.mean((values(weights, x) - y[:, 0]) ** 2)
        value, slope = jets(weights, x)
        errors = jnp.sum((inverse * (slope - dy)) ** 2, 1)
        return jnp.mean((value - y[:, 0]) ** 2 + errors)

    def step(state, t):
        weights, m, v, order, key = state
        begin = t * batch_size % (len(x) // batch_size * batch_size)
        key, other = jax.random.split(key)
        order = jax.lax.cond(
            begin == 0, lambda: jax.random.permutation(other, len(x)), lambda: order
        )
        rows = jax.lax.dynamic_slice(order, [begin], [batch_size])
        gradients = jax.grad(loss)(weights, *(part[rows] for part in data))
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, gradients)
        rate = learning_rate * jnp.interp(t / steps, jnp.array(TIMES), jnp.array(RATES))
        rate *= jnp.sqrt(1 - 0.999 ** (t + 1.0)) / (1 - 0.9 ** (t + 1.0))
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
        return (weights, m, v, order, key), None

    rng = np.random.default_rng(seed)
    weights = [  # Glorot's, as Keras's
        (jnp.asarray(rng.uniform(-1, 1, [a, b]) * (6 / (a + b)) ** 0.5, jnp.float32), jnp.zeros(b))
        for a, b in itertools.pairwise([x.shape[1], *hidden, 1])
    ]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = weights, zeros, zeros, jnp.arange(len(x)), jax.random.key(seed)
    weights = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(steps))[0][0])(state)
    weights = jax.block_until_ready(weights)

    def predict(points):
        value, slope = jets(weights, jnp.asarray((points - x_mean) / x_std, jnp.float32))
        return np.array(value) * y_std + y_mean, np.array(slope) * y_std / x_std

    return predict


def main(labels: str, predicted: str) -> None:
    """Train on the arrays of a file, and write predictions and processor seconds to another."""
    import jax  # noqa: F401, not part of the training's time

    with np.load(labels) as file:
        x, y, dy, test, hidden = (file[name] for name in ("x", "y", "dy", "test", "hidden"))
        steps, batch_size, seed = (int(file[name]) for name in ("steps", "batch_size", "seed"))
        learning_rate = float(file["learning_rate"])
    began = time.process_time()
    predict = train(x, y, dy, hidden.tolist(), steps, batch_size, learning_rate, seed)
    seconds = time.process_time() - began
    price, delta = predict(test)
    np.savez(predicted, price=price, delta=delta, seconds=seconds, process=time.process_time())


if __name__ == "__main__":
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    main(*sys.argv[1:])
