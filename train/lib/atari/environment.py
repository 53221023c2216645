"""The games of section 4.2, on ale-py's C++ vector environment, made by `gymnasium.make_vec`.

The usual preprocessing: gray 84x84, action repeat 4 with the maximum of the last two frames,
stacks of 4, up to 30 no-ops at the start, FIRE where a game waits for it. A lost life does not end
an episode, and rewards are the game's own, unclipped.
"""

import importlib.metadata
from typing import NamedTuple

import gymnasium
import numpy as np

ACTIONS = {  # indices into ale-py's minimal action sets
    "pong": (0, 2, 3),  # no-op, right, left; FIRE does nothing here, hence the paper's three
    "breakout": (0, 1, 2, 3),
    "space_invaders": (0, 1, 2, 3, 4, 5),
}
IDS = {
    "pong": "ALE/Pong-v5",
    "breakout": "ALE/Breakout-v5",
    "space_invaders": "ALE/SpaceInvaders-v5",
}
BACKGROUND = {"pong": 87, "breakout": 0, "space_invaders": 0}  # the commonest gray level
FRAMES_PER_STEP = 4
LONGEST = 108_000  # frames of an episode: half an hour of play, as usual
GAME_BYTES = 1_500_000  # of each game that is played: its emulator and its frames
STACK_BYTES = 84 * 84 * 4  # of what a net sees of a step


def versions() -> dict[str, str]:
    """Return the versions of the packages that the games depend on."""
    return {name: importlib.metadata.version(name) for name in ("ale-py", "gymnasium")}


def make_vec(
    game: str, num_envs: int, num_threads: int = 1, max_frames: int = LONGEST
) -> gymnasium.vector.VectorEnv:
    """Return ale-py's vector environment, which steps all copies of the game in C++.

    What the numbers depend on is passed explicitly: the registered environments would repeat
    actions at random (with probability 0.25), clip rewards, and reset one step later.

    Args:
      game: a key of `ACTIONS`.
      num_envs: copies of the game, N.
      num_threads: threads that play them; the numbers do not depend on it.
      max_frames: an episode is truncated after so many frames.
    """
    import ale_py  # Optional: a plain import of this module does not need the games.

    gymnasium.register_envs(ale_py)
    return gymnasium.make_vec(
        IDS[game],
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        num_threads=num_threads,
        frameskip=FRAMES_PER_STEP,
        max_num_frames_per_episode=max_frames,
        repeat_action_probability=0.0,
        full_action_space=False,
        reward_clipping=False,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )


class Step(NamedTuple):
    """What one step of N games returns, in gymnasium's terms."""

    reward: np.ndarray  # float32 [N], true score
    terminated: np.ndarray  # bool [N], game over
    truncated: np.ndarray  # bool [N], cut off at the longest length
    life_lost: np.ndarray  # bool [N], also at every end of an episode
    final_frames: np.ndarray | None  # uint8 [N,84,84,4] where an episode ended; None if none did

    @property
    def ended(self) -> np.ndarray:
        """Whether the episode ended, in either way, bool [N]."""
        return self.terminated | self.truncated


class Atari:
    """N copies of a game, played side by side.

    An episode that ends begins anew within the same step (gymnasium's SAME_STEP autoreset).

    Attributes:
      frames: uint8 [N,84,84,4], what is to be seen now: oldest first, black before the start.
      is_first: bool [N], whether `frames` begin an episode.

    Args:
      game: a key of `ACTIONS`.
      num_envs: copies of the game, N.
      seed: copy n is seeded with `seed` + n.
      max_frames: an episode is truncated after so many frames.
      num_threads: threads that play; the numbers do not depend on it.

    Example:

    >>> env = Atari("pong", num_envs=8, seed=0)
    >>> env.step(np.zeros(8, np.int32)).reward.shape
    (8,)
    """

    def __init__(
        self,
        game: str,
        num_envs: int,
        *,
        seed: int,
        max_frames: int = LONGEST,
        num_threads: int = 1,
    ):
        self.actions = np.array(ACTIONS[game], np.int32)
        self._env = make_vec(game, num_envs, num_threads, max_frames)
        frames, info = self._env.reset(seed=seed)
        self.frames = channels_last(frames)
        self.is_first = np.ones(num_envs, bool)
        self._lives = info["lives"]

    def step(self, actions: np.ndarray) -> Step:
        """Play `actions` [N], each below the game's number of actions."""
        frames, reward, terminated, truncated, info = self._env.step(self.actions[actions])
        self.frames = channels_last(frames)
        self.is_first = terminated | truncated
        life_lost = self.is_first | (info["lives"] < self._lives)
        self._lives = info["lives"]
        final = info.get("final_obs")
        return Step(
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            life_lost=life_lost,
            final_frames=None if final is None else channels_last(final),
        )


def channels_last(frames: np.ndarray) -> np.ndarray:
    """Return [N,4,84,84] as [N,84,84,4], frame by frame: faster than moving the axis."""
    moved = np.empty([len(frames), *frames.shape[2:], frames.shape[1]], frames.dtype)
    for k in range(frames.shape[1]):
        moved[..., k] = frames[:, k]
    return moved
