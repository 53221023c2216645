"""The driver that plays a policy, and calls observers with what happens (TF-Agents' terms)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from train.lib.atari import environment
from train.lib.atari.trajectory import PolicyInfo, StepType, Trajectory

Policy = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Observer = Callable[[Trajectory], Any]


class DynamicStepDriver:
    """A player of a policy's actions; every observer is called with each Trajectory.

    Args:
      env: the games; a run goes on where they stand.
      policy: frames uint8 [N,84,84,4] -> logits [N,A] and values [N].
      observers: called in their order after every step.
      rng: draws the actions.
    """

    def __init__(
        self,
        env: environment.Atari,
        policy: Policy,
        observers: Sequence[Observer],
        rng: np.random.Generator,
    ):
        self.env, self.policy, self.observers, self.rng = env, policy, observers, rng

    def run(self, until: Callable[[], Any]) -> None:
        """Play step by step as long as `until()`, called before each, is false."""
        while not until():
            trajectory = self._step()
            for observer in self.observers:
                observer(trajectory)

    def _step(self):
        observation = self.env.frames
        step_type = np.where(self.env.is_first, StepType.FIRST, StepType.MID).astype(np.int32)
        info = PolicyInfo(*self.policy(observation))
        action = sample_actions(info.logits, self.rng)
        step = self.env.step(action)
        return Trajectory(
            step_type=step_type,
            observation=observation,
            action=action,
            policy_info=info,
            next_step_type=np.where(step.ended, StepType.LAST, StepType.MID).astype(np.int32),
            reward=step.reward,
            discount=1 - step.terminated.astype(np.float32),
            final_observation=step.final_frames,
        )


def sample_actions(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an action from each row of `logits` [N,A], by the Gumbel maximum: int32 [N]."""
    return np.argmax(logits + rng.gumbel(size=logits.shape), -1).astype(np.int32)
