"""What a policy sees of an episode, in NumPy: four frames, black before the first one."""

import numpy as np


def stacked(frames):
    """Frames of an episode, uint8 [T,84,84] or [T,84,84,1] -> stacks [T,84,84,4], oldest first."""
    frames = np.reshape(frames, [len(frames), 84, 84])
    padded = np.concatenate([np.zeros([3, 84, 84], np.uint8), frames])
    return np.stack([padded[k : k + len(frames)] for k in range(4)], -1)
