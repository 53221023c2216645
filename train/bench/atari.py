"""Section 4.2's speed: agent steps a second of learning by A3C, and of recording, on Breakout.

Each beside what bounds it: the environment alone, one synchronous loop on the same environment,
and Stable-Baselines3's A2C with its own wrappers, where it is installed.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from train.bench import benchmark, peers, served
from train.lib.atari import environment, policies
from train.lib.atari.driver import DynamicStepDriver
from train.record.recorder import Recorder
from train.record.writer import Writer
from train.teacher import a3c
from train.teacher.settings import LearnerSettings

GAME, CORES = "breakout", os.cpu_count() or 1
DEFAULTS = LearnerSettings()
GAMES, ACTORS = DEFAULTS.num_envs, DEFAULTS.num_actors


def rows(turns: int = 5, steps: int = 4000) -> benchmark.Rows:
    runs = {name: served.Served("-m", __name__, name, **env) for name, (_, env) in RUNS.items()}
    a2c = peers.loops(["Stable-Baselines3, A2C"], inner=1)
    runs |= {name: _counted(make(), peers.A2C_STEPS) for name, make in a2c.items()}
    turns_of_runs = [[_rate(run, steps) for run in runs.values()] for _ in range(turns + 1)]
    rates = dict(zip(runs, np.transpose(turns_of_runs[1:]), strict=True))  # the first one warms up
    for name, rate in rates.items():
        yield f"{GAME}, agent steps a second: {name}", np.median(rate)
    for other in ("one synchronous loop", *a2c):
        bar = "" if other in a2c else " (bar 1.2)"
        yield f"{GAME}: A3C over {other}{bar}", np.median(rates["A3C"] / rates[other])


def _rate(run, steps):
    start = time.perf_counter()
    return run(steps) / (time.perf_counter() - start)


def _counted(run, steps_a_call):
    return lambda steps: run(-(-steps // steps_a_call)) * steps_a_call


# Each of these makes a run: steps -> how many were played, at least so many.


def _alone():
    env, rng = environment.Atari(GAME, GAMES, seed=0, num_threads=CORES), np.random.default_rng(0)

    def run(steps):
        for _ in range(0, steps, GAMES):
            env.step(rng.integers(len(environment.ACTIONS[GAME]), size=GAMES))
        return -(-steps // GAMES) * GAMES

    return run


def _recording():
    folder = tempfile.TemporaryDirectory()
    policy = policies.load("released", GAME)
    env, rng = environment.Atari(GAME, GAMES, seed=0, num_threads=CORES), np.random.default_rng(0)
    recorder = Recorder(GAMES, policy, np.inf, Writer(Path(folder.name, "data"), GAME).add)
    driver = DynamicStepDriver(env, policy, [recorder], rng)

    def run(steps, folder=folder):  # which is removed when nobody holds it any more
        start = recorder.num_seen
        driver.run(until=lambda: recorder.num_seen - start >= steps)
        return recorder.num_seen - start

    return run


def _learning(actors, unroll_length):
    net = policies.new_teacher(GAME)
    settings = LearnerSettings(num_actors=actors, unroll_length=unroll_length)
    a3c.compile_net(net, settings, num_updates=10**6)
    made = [a3c.Actor(net, GAME, settings, seed=[0, k]) for k in range(actors)]

    def played():
        return int(net.optimizer.iterations) * GAMES * unroll_length

    def run(steps):
        start = played()
        a3c.run(made, stop=lambda: played() - start >= steps, report=lambda: None)
        return played() - start

    return run


RUNS = {  # with what they need in their environment
    "the environment alone": (_alone, {}),
    "recording (bar 1500)": (_recording, {}),
    # As Stable-Baselines3 does it: 16 games, 5 steps between two updates.
    "one synchronous loop": (lambda: _learning(1, 5), {}),
    # As train.teacher does it.
    "A3C": (
        lambda: _learning(ACTORS, DEFAULTS.unroll_length),
        {"TF_NUM_INTRAOP_THREADS": str(a3c.num_threads(ACTORS))},
    ),
}

if __name__ == "__main__":
    served.serve(RUNS[sys.argv[1]][0]())
