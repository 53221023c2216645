"""How often a policy acts as another one would, at the states that the first one visits."""

import numpy as np
import tensorflow as tf

from sobolev_tf import distillation
from train.lib.atari import play
from train.lib.atari.driver import Policy
from train.lib.atari.trajectory import Trajectory
from train.lib.run import text_table


class Agreement(play.Scores):
    """Observer: true scores, KL(player ‖ other) and action error, of every game's first episode.

    A student is tested at states of its teacher's games. Its own games lead to other states, and
    what it does there decides its score. One long episode may outweigh all others in the mean over
    states, so both are also told by episode.

    Args:
      other: frames uint8 [N,84,84,4] -> logits [N,A] and values [N].
      num_envs: number of games, N.

    Attributes:
      steps: [N], states so far.
      kl: [N], the sum of KL over them, in nats.
      errors: [N], at how many of them the most probable actions differ.
    """

    def __init__(self, other: Policy, num_envs: int):
        super().__init__(num_envs)
        self.steps, self.errors = np.zeros(num_envs, int), np.zeros(num_envs, int)
        self.kl = np.zeros(num_envs)
        self._other = other
        self._divergence = distillation.PolicyDivergence()

    def __call__(self, trajectory: Trajectory) -> None:
        at = np.flatnonzero(self.playing)
        if not at.size:
            return
        other, _ = self._other(trajectory.observation[at])
        player = trajectory.policy_info.logits[at]
        self.steps[at] += 1
        self.kl[at] += self._divergence.call(tf.constant(other), tf.constant(player))
        self.errors[at] += np.argmax(player, -1) != np.argmax(other, -1)
        super().__call__(trajectory)

    def mean(self) -> str:
        """Return KL and action error over all states as one line."""
        kl, errors = self.kl.sum() / self.steps.sum(), self.errors.sum() / self.steps.sum()
        return f"KL {kl:.3g} nats, other actions at {text_table.percent(errors)} of the states"

    def by_episode(self) -> str:
        """Return a table with a row for each episode."""
        header = ["true score", "steps", "KL", "other actions"]
        per_step = self.kl / self.steps, self.errors / self.steps
        rows = [
            [f"{score:.0f}", steps, f"{kl:.3g}", text_table.percent(errors)]
            for score, steps, kl, errors in zip(self.totals, self.steps, *per_step, strict=True)
        ]
        return text_table.table(header, rows)
