"""What a driver passes to its observers, in the terms of TF-Agents.

The names are those of `tf_agents.trajectories`; episodes are stored in those of RLDS (see
`episode_format`). Neither package is needed. One difference: an episode that ends begins anew
within the same step, so there are no boundary trajectories (LAST to FIRST), and the observation
that an episode ends with comes with its last trajectory, as `final_observation`.
"""

import enum
from typing import NamedTuple

import numpy as np


class StepType(enum.IntEnum):
    """Where in its episode an observation stands."""

    FIRST = 0
    MID = 1
    LAST = 2


class PolicyInfo(NamedTuple):
    """What the policy answered besides the action."""

    logits: np.ndarray  # float32 [N,A]
    value: np.ndarray  # float32 [N], NaN from a policy without a value


class Trajectory(NamedTuple):
    """One step of N games: what was seen and done, and what that brought."""

    step_type: np.ndarray  # int32 [N], of `observation`: FIRST or MID
    observation: np.ndarray  # uint8 [N,84,84,4], oldest frame first
    action: np.ndarray  # int32 [N]
    policy_info: PolicyInfo
    next_step_type: np.ndarray  # int32 [N], of what came next: MID, or LAST where an episode ended
    reward: np.ndarray  # float32 [N], true score that the action brought
    discount: np.ndarray  # float32 [N], 0 where the action ended the game, else 1
    final_observation: np.ndarray | None  # uint8 [N,84,84,4] where an episode ended

    def is_first(self) -> np.ndarray:
        """Whether `observation` begins an episode, bool [N]."""
        return self.step_type == StepType.FIRST

    def is_last(self) -> np.ndarray:
        """Whether the action ended the episode, bool [N]: game over or cut off."""
        return self.next_step_type == StepType.LAST
