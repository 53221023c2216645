"""How often a policy acts as another one would, at the states that the first one visits."""

import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.atari.driver import Policy
from train.lib.atari.trajectory import Trajectory


class Agreement:
    """Observer: KL(player ‖ other) and action error, over every game's first episode.

    A student is tested at states of its teacher's games. Its own games lead to other states, and
    what it does there decides its score.

    Args:
      other: frames uint8 [N,84,84,4] -> logits [N,A] and values [N].
      num_envs: number of games, N.

    Attributes:
      kl, action_error: Keras metrics.
    """

    def __init__(self, other: Policy, num_envs: int):
        self.kl, self.action_error = st.distillation.KL(), st.distillation.ActionError()
        self._other = other
        self._playing = np.ones(num_envs, bool)

    def __call__(self, trajectory: Trajectory) -> None:
        if not self._playing.any():
            return
        logits, _ = self._other(trajectory.observation[self._playing])
        other, player = map(tf.constant, (logits, trajectory.policy_info.logits[self._playing]))
        self.kl.update_state(other, player)
        self.action_error.update_state(other, player)
        self._playing &= ~trajectory.is_last()

    def __str__(self) -> str:
        kl, wrong = float(self.kl.result()), float(self.action_error.result())
        return f"KL {kl:.3g} nats, other actions at {100 * wrong:.1f} % of the states"
