"""Playing a policy: a driver that plays, and observers that are told."""

from typing import NamedTuple

import numpy as np

from train.lib.atari import environment


class Moment(NamedTuple):
    """What N games saw, what the policy answered, and what came of it."""

    frames: np.ndarray  # uint8 [N,84,84,4]
    logits: np.ndarray  # [N,A]
    values: np.ndarray  # [N], NaN from a policy without a value
    actions: np.ndarray  # int32 [N]
    step: environment.Step


def drive(policy, games, random, observers, stop):
    """Sample actions and play them until `stop()`; every observer is called with each Moment."""
    while not stop():
        frames = games.frames
        logits, values = policy(frames)
        actions = sample(logits, random)
        moment = Moment(frames, logits, values, actions, games.step(actions))
        for observe in observers:
            observe(moment)


def sample(logits, random):
    """Draw an action from each row of `logits` [N,A]: int32 [N]."""
    return np.argmax(logits + random.gumbel(size=logits.shape), -1).astype(np.int32)


class Scores:
    """Observer: the true score of every game's first episode."""

    def __init__(self, games):
        self.totals, self.playing = np.zeros(games), np.ones(games, bool)

    def __call__(self, moment):
        self.totals += moment.step.reward * self.playing
        self.playing &= ~moment.step.ended


def scores(
    policy, game, episodes, seed, longest=environment.LONGEST, stop=lambda: False, observers=()
):
    """True scores [episodes] of sampled play, or None if `stop()` said so.

    Every episode has a game of its own: the first to end among fewer games would be short ones.
    """
    random = np.random.default_rng(seed)
    games = environment.Atari(game, episodes, seed=int(random.integers(2**30)), longest=longest)
    found = Scores(episodes)
    observers = [found, *observers]
    drive(policy, games, random, observers, stop=lambda: stop() or not found.playing.any())
    return None if found.playing.any() else found.totals
