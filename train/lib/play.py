"""Playing a policy: sampled actions, true scores."""

import numpy as np

from train.lib import atari


def sample(logits, random):
    """Draw an action from each row of `logits` [N,A]: int32 [N]."""
    return np.argmax(logits + random.gumbel(size=logits.shape), -1).astype(np.int32)


def scores(policy, game, episodes, seed, longest=atari.LONGEST, stop=lambda: False, see=None):
    """True scores [episodes] of sampled play, or None if `stop()` says so.

    Every episode has a game of its own: the first to end among fewer games would be short ones.
    `see(frames)` is shown what the policy sees.
    """
    random = np.random.default_rng(seed)
    games = atari.Atari(game, episodes, seed=int(random.integers(2**30)), longest=longest)
    totals, playing = np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        if stop():
            return None
        if see:
            see(games.frames)
        actions = np.zeros(episodes, np.int32)
        actions[playing] = sample(policy(games.frames[playing])[0], random)
        step = games.step(actions)
        totals += step.reward * playing
        playing &= ~step.ended
    return totals
