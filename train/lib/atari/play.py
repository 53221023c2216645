"""True scores of a policy at play."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from train.lib.atari import environment
from train.lib.atari.driver import DynamicStepDriver, Observer, Policy
from train.lib.atari.trajectory import Trajectory


class Scores:
    """Observer: the true score of every game's first episode.

    Attributes:
      totals: [N], points so far.
      playing: bool [N], games whose first episode has not ended.
    """

    def __init__(self, num_envs: int):
        self.totals, self.playing = np.zeros(num_envs), np.ones(num_envs, bool)

    def __call__(self, trajectory: Trajectory) -> None:
        self.totals += trajectory.reward * self.playing
        self.playing &= ~trajectory.is_last()


def scores(
    policy: Policy,
    game: str,
    episodes: int,
    seed: int | Sequence[int],
    *,
    max_frames: int = environment.LONGEST,
    stop: Callable[[], Any] = lambda: False,
    observers: Sequence[Observer] = (),
) -> np.ndarray:
    """Return the true scores [episodes] of sampled play; NaN where `stop()` cut an episode short.

    Every episode has a game of its own: the first to end among fewer games would be short ones.
    """
    rng = np.random.default_rng(seed)
    env = environment.Atari(game, episodes, seed=int(rng.integers(2**30)), max_frames=max_frames)
    played = Scores(episodes)
    driver = DynamicStepDriver(env, policy, [played, *observers], rng)
    driver.run(until=lambda: stop() or not played.playing.any())
    return np.where(played.playing, np.nan, played.totals)
