"""Policies that play: functions from frames, uint8 [N,4,84,84], to logits [N,A] and values [N]."""

import numpy as np
import tensorflow as tf

from train.lib import atari


def channels_last(frames):
    """Frames as the vector environment gives them -> what the nets take: floats [N,84,84,4]."""
    return tf.cast(tf.transpose(frames, [0, 2, 3, 1]), tf.float32)


def of_net(net, jit=False):
    """The policy of a Keras net with the outputs [logits, value], compiled."""
    spec = tf.TensorSpec([None, 4, 84, 84], tf.uint8)
    act = tf.function(lambda frames: net(channels_last(frames)), jit_compile=jit)
    act = act.get_concrete_function(spec)  # Now: threads that trace at once trace many times.

    def policy(frames):
        logits, values = act(tf.constant(frames))
        return logits.numpy(), values.numpy()[:, 0]

    return policy


def sample(logits, random):
    """Draw an action from each row of `logits` [N,A]: int32 [N]."""
    return np.argmax(logits + random.gumbel(size=logits.shape), -1).astype(np.int32)


def scores(policy, game, episodes, seed, longest=atari.LONGEST, stop=lambda: False):
    """True scores [episodes] of sampled play, or None if `stop()` says so.

    Every episode has a game of its own: the first to end among fewer games would be short ones.
    """
    random = np.random.default_rng(seed)
    games = atari.Atari(game, episodes, seed=int(random.integers(2**30)), longest=longest)
    totals, playing = np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        if stop():
            return None
        actions = np.zeros(episodes, np.int32)
        actions[playing] = sample(policy(games.frames[playing])[0], random)
        step = games.step(actions)
        totals += step.reward * playing
        playing &= ~step.ended
    return totals
