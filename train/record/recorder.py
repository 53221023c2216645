"""The observer that cuts what it sees into whole episodes."""

import numpy as np


class Recorder:
    """Collects the steps of N games; a whole episode, {name: array}, goes to `emit`.

    Once `frames` steps have been seen, no further episode is begun, and those that were begun are
    recorded to their end (else, short ones would be more frequent than they are). A recording
    that is stopped loses the open ones, so one that is stopped often holds more short ones.

    Args:
      policy: asked for logits and value of the frame an episode ends with.
      frames: actions to record, at least.
    """

    def __init__(self, games, policy, frames, emit):
        self.policy, self.frames, self.emit = policy, frames, emit
        self.open = [[] for _ in range(games)]
        self.recording = np.ones(games, bool)
        self.seen = 0

    def __call__(self, moment):
        self.seen += int(self.recording.sum())
        ended = moment.step.ended
        for k in np.flatnonzero(self.recording):
            self.open[k].append(
                {
                    "observation": moment.frames[k, ..., -1].copy(),
                    "action": moment.actions[k],
                    "reward": moment.step.reward[k],
                    "discount": 1.0 - moment.step.terminated[k],
                    "logits": moment.logits[k],
                    "value": moment.values[k],
                }
            )
            if ended[k]:
                self.close(k, moment.step)

    def close(self, k, step):
        last = step.last_frames[k : k + 1]
        logits, values = self.policy(last)
        end = {"observation": last[0, ..., -1], "logits": logits[0], "value": values[0]}
        nothing = {"action": 0, "reward": 0.0, "discount": 0.0}
        steps = [*self.open[k], nothing | end]
        self.open[k] = []
        self.recording[k] = self.seen < self.frames
        episode = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
        places = np.arange(len(steps))
        episode["is_first"], episode["is_last"] = places == 0, places == places[-1]
        episode["is_terminal"] = episode["is_last"] & step.terminated[k]
        self.emit(episode)
