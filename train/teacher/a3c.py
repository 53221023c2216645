"""Asynchronous advantage actor-critic (Mnih et al. 2016): threads that act, learn and do not wait.

Every `Actor` has games and compiled functions of its own. They share the net's weights and the
optimizer's state, which they read and update without a lock (Hogwild).
"""

import collections
import concurrent.futures
import os
import threading

import keras
import numpy as np
import tensorflow as tf

from train.lib.atari import environment, play
from train.lib.atari.policies import FRAMES, Policy
from train.teacher import returns

VALUE_WEIGHT = 0.5
TERMS = ("policy_loss", "value_loss", "entropy")


def threads(actors):
    """TF_NUM_INTRAOP_THREADS of so many actors: they share the cores, and more would only wait."""
    return str(max(1, os.cpu_count() // actors))


def compile_net(net, optimizer, rate, updates):
    """Compile `net` with Adam, or with A3C's RMSprop; the rate falls to zero after `updates`."""
    falling = keras.optimizers.schedules.PolynomialDecay(rate, updates, 0.0)
    if optimizer == "adam":
        made = keras.optimizers.Adam(falling, epsilon=1e-5, global_clipnorm=0.5)
    else:
        made = keras.optimizers.RMSprop(falling, rho=0.99, epsilon=1e-5, global_clipnorm=0.5)
    made.build(net.trainable_variables)
    for variable in made.variables:
        # RMSprop's mean square: Keras starts at zero, which makes the first steps ten times as
        # long; A3C's starts at one.
        if optimizer == "rmsprop" and "velocity" in variable.path:
            variable.assign(tf.ones_like(variable))
    net.compile(optimizer=made)


class Actor:
    """Plays a vector of games, and updates the shared net after every `rollout` steps of them.

    Args:
      trace, discount: lambda and gamma of the generalised advantages.
      standardize: advantages to mean 0 and deviation 1 within a batch. Where points are rare, as
        in Pong, the value's gradient is otherwise twenty times the policy's, and features of
        the policy drift with its noise.
      seed: of its games and actions; an int, or a list of them.
    """

    def __init__(
        self,
        net,
        game,
        envs,
        rollout,
        entropy,
        trace,
        seed,
        discount=0.99,
        standardize=True,
        jit=False,
    ):
        self.rollout, self.trace, self.discount = rollout, trace, discount
        self.standardize = standardize
        self.random = np.random.default_rng(seed)
        self.games = environment.Atari(game, envs, seed=int(self.random.integers(2**30)))
        self.totals = np.zeros(envs, np.float32)
        self.scores = collections.deque(maxlen=100)  # true, of its last episodes
        self.logs = dict.fromkeys(TERMS, np.nan)  # of its last update
        self._policy = Policy(net, jit)
        numbers = tf.TensorSpec([None], tf.float32)
        self._update = tf.function(
            lambda *batch: update(net, entropy, *batch), jit_compile=jit, autograph=False
        ).get_concrete_function(
            tf.TensorSpec([None, *FRAMES], tf.uint8),
            *(tf.TensorSpec([None], tf.int32), numbers, numbers),
        )

    def run(self, stop):
        """Play and learn until `stop()`, which is asked after every update."""
        while not stop():
            batch = [tf.constant(part.reshape(-1, *part.shape[2:])) for part in self.play()]
            terms = self._update(*batch)
            self.logs = {name: float(term) for name, term in zip(TERMS, terms, strict=True)}

    def play(self):
        """One rollout: frames, actions, advantages and value targets, [T,N,...] each."""
        shape = self.rollout, len(self.totals)
        frames = np.empty([*shape, *FRAMES], np.uint8)
        actions = np.empty(shape, np.int32)
        rewards, discounts, values = (np.empty(shape, np.float32) for _ in range(3))
        for t in range(self.rollout):
            frames[t] = self.games.frames
            logits, values[t] = self._policy(frames[t])
            actions[t] = play.sample(logits, self.random)
            step = self.games.step(actions[t])
            rewards[t] = np.sign(step.reward)
            # A life lost ends the return, as is usual where staying alive is what scores; so does
            # the end of an episode, the rare one at half an hour of play included.
            discounts[t] = self.discount * ~step.life_lost
            self.totals += step.reward
            self.scores.extend(self.totals[step.ended])
            self.totals[step.ended] = 0
        _, last_values = self._policy(self.games.frames)
        found = returns.advantages(rewards, discounts, values, last_values, self.trace)
        targets = found + values
        if self.standardize:
            found = (found - found.mean()) / (found.std() + 1e-8)
        return frames, actions, found, targets


def update(net, entropy_weight, frames, actions, advantages, targets):
    """One step of the optimizer on policy gradient, value error and entropy; returns TERMS."""
    with tf.GradientTape() as tape:
        logits, values = net(tf.cast(frames, tf.float32))
        log_policy = tf.nn.log_softmax(logits)
        chosen = tf.gather(log_policy, actions, batch_dims=1)
        policy_loss = -tf.reduce_mean(advantages * chosen)
        value_loss = tf.reduce_mean(tf.square(targets - values[:, 0]))
        entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log_policy) * log_policy, -1))
        loss = policy_loss + VALUE_WEIGHT * value_loss - entropy_weight * entropy
    net.optimizer.apply(tape.gradient(loss, net.trainable_variables))
    return policy_loss, value_loss, entropy


def run(actors, stop, look, seconds=0.5):
    """Run every actor in a thread until `stop()`, and call `look()` every now and then."""
    failed = threading.Event()

    def work(actor):
        try:
            actor.run(lambda: failed.is_set() or stop())
        except BaseException:
            failed.set()  # The others would go on for hours.
            raise

    with concurrent.futures.ThreadPoolExecutor(len(actors)) as threads:
        working = [threads.submit(work, actor) for actor in actors]
        while concurrent.futures.wait(working, seconds).not_done:
            look()
    for future in working:
        future.result()  # Raises what the actor died of.
