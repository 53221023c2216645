"""The games of section 4.2, on ale-py's C++ vector environment.

The usual preprocessing: grey 84x84, action repeat 4 with the last two frames' maximum, stacks of
4, up to 30 no-ops at the start, FIRE where a game waits for it. The class is constructed directly:
`gymnasium.make_vec` would repeat actions at random. A life lost does not end an episode, and
rewards are the game's own, unclipped.
"""

import importlib.metadata
from typing import NamedTuple

import numpy as np

ACTIONS = {  # indices into ale-py's minimal action sets
    "pong": (0, 2, 3),  # no-op, right, left; FIRE does nothing here, hence the paper's three
    "breakout": (0, 1, 2, 3),
    "space_invaders": (0, 1, 2, 3, 4, 5),
}
BACKGROUND = {"pong": 87, "breakout": 0, "space_invaders": 0}  # the commonest grey level
FRAMES_PER_STEP = 4
LONGEST = 108_000  # frames of an episode: half an hour of play, as usual


def versions():
    """Versions of what the games depend on."""
    return {name: importlib.metadata.version(name) for name in ("ale-py", "gymnasium")}


class Step(NamedTuple):
    """What one step of N games says; `last_frames` is None as long as no episode ended."""

    reward: np.ndarray  # float32 [N], true score
    terminated: np.ndarray  # bool [N], game over
    truncated: np.ndarray  # bool [N], cut off at the longest length
    life_lost: np.ndarray  # bool [N], every end of an episode included
    last_frames: np.ndarray | None  # uint8 [N,84,84,4], the end of those episodes that ended

    @property
    def ended(self):
        return self.terminated | self.truncated


class Atari:
    """N copies of a game, side by side. An episode that ends begins anew in the same step.

    `frames` is what is to be seen now: uint8 [N,84,84,4], oldest first, black before the start.

    >>> games = Atari("pong", envs=8, seed=0)
    >>> games.step(np.zeros(8, np.int32)).reward.shape
    (8,)
    """

    def __init__(self, game, envs, seed, longest=LONGEST, threads=1):
        # Here, because a plain import of this module should not ask for ale-py.
        from ale_py.vector_env import AtariVectorEnv
        from gymnasium.vector import AutoresetMode

        self.actions = np.array(ACTIONS[game], np.int32)
        self._env = AtariVectorEnv(
            game,
            envs,
            num_threads=threads,
            max_num_frames_per_episode=longest,
            repeat_action_probability=0.0,
            autoreset_mode=AutoresetMode.SAME_STEP,
            reward_clipping=False,
        )
        frames, info = self._env.reset(seed=seed)
        self.frames = channels_last(frames)
        self._lives = info["lives"]

    def step(self, actions):
        """Play `actions` [N], each below the game's number of actions."""
        frames, reward, terminated, truncated, info = self._env.step(self.actions[actions])
        self.frames = channels_last(frames)
        ended = terminated | truncated
        life_lost = ended | (info["lives"] < self._lives)
        self._lives = info["lives"]
        last = info.get("final_obs")
        return Step(
            reward.astype(np.float32),
            terminated,
            truncated,
            life_lost,
            last if last is None else channels_last(last),
        )


def channels_last(frames):
    """[N,4,84,84] -> [N,84,84,4], frame by frame, which is faster than moving the axis."""
    moved = np.empty([len(frames), *frames.shape[2:], frames.shape[1]], frames.dtype)
    for k in range(frames.shape[1]):
        moved[..., k] = frames[:, k]
    return moved
