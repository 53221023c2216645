"""Loops of other frameworks, where they are installed: a step by hand in JAX and PyTorch, and A2C.

Each loop has a process of its own: TensorFlow and PyTorch bring the same compiler, and it may be
loaded once in a process. `python peers.py NAME STEPS` is that process.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable

import numpy as np

THREADS = os.cpu_count() or 1
BY_HAND = ("JAX, jitted scan", "PyTorch, eager")
A2C_STEPS = 16 * 5  # games and their steps between two updates


def loops(names: Iterable[str], inner: int) -> dict[str, Callable]:
    """Find the peers that are installed; one line on stderr names each that is missing.

    Args:
      names: keys of `MAKERS`.
      inner: steps of one call.

    Returns:
      {name: starts the peer's process, and returns n -> n calls of `inner` steps}.
    """
    from train.bench.served import Served  # here: as a program, this file needs no TensorFlow

    runners = {}
    for name in names:
        module, _ = MAKERS[name]
        if importlib.util.find_spec(module):
            runners[name] = lambda name=name: Served(__file__, name, str(inner))
        else:
            print(
                f'{name}: skipped, {module} is not installed (pip install -e ".[bench]")',
                file=sys.stderr,
            )
    return runners


def _points():
    """Return the points of `benchmark.styblinski_tang` by NumPy, without TensorFlow."""
    x = np.random.default_rng(0).uniform(-5, 5, [100, 2]).astype("float32")
    return x, 0.5 * (x**4 - 16 * x**2 + 5 * x).sum(1, keepdims=True), 2 * x**3 - 16 * x + 2.5


def _jax(inner):
    import jax
    from by_hand import jax_training

    state, advance, _ = jax_training(*_points(), steps=inner, seed=0)

    def run(n):
        nonlocal state
        for _ in range(n):
            state = advance(state)
        jax.block_until_ready(state)

    return run


def _torch(inner):
    from by_hand import torch_training

    advance, _ = torch_training(*_points(), seed=0, threads=THREADS)
    return lambda n: advance(n * inner)


def _a2c(inner):
    """Stable-Baselines3's A2C on Breakout, `inner` updates of `A2C_STEPS` agent steps a call."""
    import ale_py
    import gymnasium
    import torch
    from stable_baselines3 import A2C
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    torch.set_num_threads(THREADS)
    gymnasium.register_envs(ale_py)
    games = VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=16), 4)
    model = A2C("CnnPolicy", games)

    def run(n):
        model.learn(n * inner * A2C_STEPS, reset_num_timesteps=False)

    return run


MAKERS: dict[str, tuple[str, Callable]] = {  # name: (module it needs, inner -> the loop)
    "JAX, jitted scan": ("jax", _jax),
    "PyTorch, eager": ("torch", _torch),
    "Stable-Baselines3, A2C": ("stable_baselines3", _a2c),
}


def main(name: str, inner: str) -> None:
    """Answer `Served`: run the number of calls on each line of stdin, and print it when done."""
    run = MAKERS[name][1](int(inner))
    for line in sys.stdin:
        run(int(line))
        print(int(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
