"""A gradient step on values and Jacobians by hand in JAX, in a process of its own.

`python jacobians_by_hand.py SHAPE WAY` answers each number n on stdin with the processor time of
n steps in nanoseconds; 0 with that of the first step, which compiles.
"""

import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 32
HIDDEN = (64, 64)
CHANNELS = 8
SHAPES: dict[str, tuple[Any, Any]] = {  # inputs and outputs
    "1 -> 1": (1, 1),
    "3 -> 400": (3, 400),
    "400 -> 3": (400, 3),
    "100 -> 100": (100, 100),
    "8x8 image -> 8x8 image": ((8, 8, 1), (8, 8, 1)),
}
WAYS = ("jacfwd", "jacrev")


def labels(shape: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw x [B,*in], y [B,*out] and dy [B,*out,*in] in float32."""
    rng = np.random.default_rng(0)
    inputs, outputs = (np.atleast_1d(size) for size in SHAPES[shape])
    shapes = [BATCH, *inputs], [BATCH, *outputs], [BATCH, *outputs, *inputs]
    x, y, dy = (rng.normal(size=s).astype("float32") for s in shapes)
    return x, y, dy


def jax_steps(shape: str, way: str) -> Callable[[int], int]:
    """Return n -> nanoseconds of n steps; the squared errors are summed, the rate is 0.01.

    Args:
      shape: a key of `SHAPES`.
      way: of `WAYS`.
    """
    import jax
    import jax.numpy as jnp

    x, y, dy = (jnp.asarray(a) for a in labels(shape))

    def mlp(weights, x):
        for w in weights[:-1]:
            x = jnp.tanh(x @ w)
        return x @ weights[-1]

    def convolutions(weights, x):
        def convolve(x, w):
            return jax.lax.conv_general_dilated(
                x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        first, second = weights
        return convolve(jnp.tanh(convolve(x[None], first)), second)[0]

    inputs, outputs = SHAPES[shape]
    net: Callable
    sizes: list[tuple[int, ...]]
    if isinstance(inputs, int):
        net, sizes = mlp, list(itertools.pairwise([inputs, *HIDDEN, outputs]))
    else:
        net = convolutions
        sizes = [(3, 3, inputs[-1], CHANNELS), (3, 3, CHANNELS, outputs[-1])]
    rng = np.random.default_rng(0)
    weights = [
        jnp.asarray(rng.normal(size=size) * np.prod(size[:-1]) ** -0.5, jnp.float32)
        for size in sizes
    ]
    jacobian = getattr(jax, way)(net, 1)

    def loss(weights):
        def of_row(x, y, dy):
            errors = net(weights, x) - y, jacobian(weights, x) - dy
            return sum(jnp.sum(error**2) for error in errors)

        return jnp.mean(jax.vmap(of_row)(x, y, dy))

    @jax.jit
    def step(weights):
        return jax.tree.map(lambda w, g: w - 0.01 * g, weights, jax.grad(loss)(weights))

    def nanoseconds(n):
        nonlocal weights
        start = time.process_time_ns()
        for _ in range(n):
            weights = step(weights)
        jax.block_until_ready(weights)
        return time.process_time_ns() - start

    first = nanoseconds(1)
    return lambda n: nanoseconds(n) if n else first


if __name__ == "__main__":
    run = jax_steps(*sys.argv[1:])
    for line in sys.stdin:
        print(run(int(line)), flush=True)
