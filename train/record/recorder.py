"""The observer that collects trajectories into whole episodes, in the terms of RLDS."""

from collections.abc import Callable
from typing import Any

import numpy as np

from train.lib.atari.driver import Policy
from train.lib.atari.trajectory import Trajectory


class Recorder:
    """Observer: collects the steps of N games, and emits every whole episode.

    Once `num_steps` steps have been seen, no further episode is begun, and those that were begun
    are recorded to their end (else, short ones would be more frequent than they are). A recording
    that is stopped loses the open ones, so one that is stopped often holds more short ones.

    Attributes:
      recording: bool [N], games whose episode is being recorded.
      num_seen: steps recorded so far, also of open episodes.
      lengths: steps of every whole episode.

    Args:
      num_envs: the number of games, N.
      policy: predicts logits and value of the frames that an episode ends with.
      num_steps: steps (actions) to record, at least; may be infinite.
      emit: called with each whole episode, {name: array [T]}, and its number in the order in which
        episodes began. They are emitted as they end, so short ones come early.
    """

    def __init__(
        self,
        num_envs: int,
        policy: Policy,
        num_steps: float,
        emit: Callable[[dict[str, np.ndarray], int], Any],
    ):
        self.policy, self.num_steps, self.emit = policy, num_steps, emit
        self._open: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]
        self._numbers = np.arange(num_envs)  # of the open episodes
        self._begun = num_envs
        self.recording = np.ones(num_envs, bool)
        self.num_seen = 0
        self.lengths: list[int] = []

    def __call__(self, trajectory: Trajectory) -> None:
        self.num_seen += int(self.recording.sum())
        is_last = trajectory.is_last()
        for k in np.flatnonzero(self.recording):
            self._open[k].append(
                {
                    "observation": trajectory.observation[k, ..., -1].copy(),
                    "action": trajectory.action[k],
                    "reward": trajectory.reward[k],
                    "discount": float(trajectory.discount[k]),
                    "logits": trajectory.policy_info.logits[k],
                    "value": trajectory.policy_info.value[k],
                }
            )
            if is_last[k]:
                self._close(k, trajectory)

    def turns_left(self, usual: int | None = None) -> float | None:
        """Return about how many turns are left; None if no episode has ended and `usual` is None.

        In a turn every game plays one step. The last episode is expected to be as long as the
        longest whole one (before one has ended: as `usual`), and to begin when `num_steps` steps
        are recorded, unless all open ones last longer than that: then none begins after them.
        """
        longest = max(self.lengths, default=usual)
        if longest is None:
            return None
        ages = [len(self._open[k]) for k in np.flatnonzero(self.recording)]
        if not ages:
            return 0
        missing = max(self.num_steps - self.num_seen, 0) / len(ages)
        if not missing or missing <= longest - max(ages):
            return max(longest - min(ages), 0)
        return missing + longest

    def _close(self, k, trajectory):
        """Add RLDS's last step, which only shows where the episode ended, and emit the episode."""
        final = trajectory.final_observation[k : k + 1]
        logits, values = self.policy(final)
        last = {
            "observation": final[0, ..., -1],
            "action": 0,
            "reward": 0.0,
            "discount": 0.0,
            "logits": logits[0],
            "value": values[0],
        }
        steps = [*self._open[k], last]
        self._open[k] = []
        self.lengths.append(len(steps) - 1)
        number = int(self._numbers[k])
        self.recording[k] = self.num_seen < self.num_steps
        if self.recording[k]:
            self._numbers[k] = self._begun
            self._begun += 1
        episode = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
        places = np.arange(len(steps))
        episode["is_first"], episode["is_last"] = places == 0, places == places[-1]
        episode["is_terminal"] = episode["is_last"] & (trajectory.discount[k] == 0)
        self.emit(episode, number)
