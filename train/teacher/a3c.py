"""Asynchronous advantage actor-critic (Mnih et al. 2016): threads that never wait for each other.

Every `Actor` has games and compiled functions of its own. They share the net's weights and the
optimizer's state, which they read and update without a lock (Hogwild).
"""

import collections
import concurrent.futures
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from train.lib.atari import environment
from train.lib.atari.driver import sample_actions
from train.lib.atari.policies import FRAMES, Policy
from train.teacher import losses
from train.teacher.settings import LearnerSettings


def num_threads(num_actors: int) -> int:
    """Return the threads of an actor's net and games: actors share the cores; more would wait."""
    return max(1, (os.cpu_count() or 1) // num_actors)


def compile_net(net: keras.Model, settings: LearnerSettings, num_updates: int) -> None:
    """Compile `net` with Adam or A3C's RMSprop; the rate falls to zero within `num_updates`."""
    rate = keras.optimizers.schedules.PolynomialDecay(settings.learning_rate, num_updates, 0.0)
    if settings.optimizer == "adam":
        optimizer = keras.optimizers.Adam(rate, epsilon=1e-5, global_clipnorm=0.5)
    else:
        optimizer = keras.optimizers.RMSprop(rate, rho=0.99, epsilon=1e-5, global_clipnorm=0.5)
    optimizer.build(net.trainable_variables)
    for variable in optimizer.variables:
        # RMSprop's mean square: Keras starts at zero, which makes the first steps ten times as
        # long; A3C's starts at one.
        if settings.optimizer == "rmsprop" and "velocity" in variable.path:
            variable.assign(tf.ones_like(variable))
    net.compile(optimizer=optimizer)


class Actor:
    """A player of N games that updates the shared net after every `unroll_length` steps of them.

    Attributes:
      scores: true scores of its last 100 episodes.
      logs: the terms of the loss at its last update, {name: float}.

    Args:
      net: the shared net, compiled by `compile_net`.
      game: the game's name.
      settings: settings of the learner.
      seed: seed of its games and actions; an int, or a list of them.
    """

    def __init__(
        self, net: keras.Model, game: str, settings: LearnerSettings, seed: int | Sequence[int]
    ):
        self.settings = settings
        self.rng = np.random.default_rng(seed)
        self.env = environment.Atari(
            game,
            settings.num_envs,
            seed=int(self.rng.integers(2**30)),
            num_threads=num_threads(settings.num_actors),
        )
        self.scores: collections.deque[float] = collections.deque(maxlen=100)
        self.logs = dict.fromkeys(losses.TERMS, np.nan)
        self._totals = np.zeros(settings.num_envs, np.float32)
        self._policy = Policy(net, settings.jit_compile)

        def update(frames, actions, advantages, targets):
            return update_net(net, frames, actions, advantages, targets, settings)

        self._update = tf.function(
            update, jit_compile=settings.jit_compile, autograph=False
        ).get_concrete_function(
            frames=tf.TensorSpec([None, *FRAMES], tf.uint8),
            actions=tf.TensorSpec([None], tf.int32),
            advantages=tf.TensorSpec([None], tf.float32),
            targets=tf.TensorSpec([None], tf.float32),
        )

    def run(self, stop: Callable[[], Any]) -> None:
        """Play and learn until `stop()`, which is called after every update, is true."""
        while not stop():
            batch = {
                name: tf.constant(array.reshape(-1, *array.shape[2:]))
                for name, array in self.play().items()
            }
            terms = self._update(**batch)
            self.logs = {name: float(v) for name, v in zip(losses.TERMS, terms, strict=True)}

    def play(self) -> dict[str, np.ndarray]:
        """Return one rollout: frames, actions, advantages and targets of the value, [T,N,...]."""
        shape = self.settings.unroll_length, self.settings.num_envs
        frames = np.empty([*shape, *FRAMES], np.uint8)
        actions = np.empty(shape, np.int32)
        rewards, discounts, values = (np.empty(shape, np.float32) for _ in range(3))
        for t in range(self.settings.unroll_length):
            frames[t] = self.env.frames
            logits, values[t] = self._policy(frames[t])
            actions[t] = sample_actions(logits, self.rng)
            step = self.env.step(actions[t])
            rewards[t] = np.sign(step.reward)
            # A lost life ends the return, as is usual where staying alive is what scores; so does
            # the end of an episode, the rare one at half an hour of play included.
            discounts[t] = self.settings.discount * ~step.life_lost
            self._totals += step.reward
            self.scores.extend(self._totals[step.ended])
            self._totals[step.ended] = 0
        _, last_values = self._policy(self.env.frames)
        advantages = losses.generalized_advantages(
            rewards, discounts, values, last_values, self.settings.gae_lambda
        )
        targets = advantages + values
        if self.settings.normalize_advantages:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        return {
            "frames": frames,
            "actions": actions,
            "advantages": advantages,
            "targets": targets,
        }


def update_net(
    net: keras.Model,
    frames: tf.Tensor,
    actions: tf.Tensor,
    advantages: tf.Tensor,
    targets: tf.Tensor,
    settings: LearnerSettings,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Take one step of the optimizer on a batch; return the loss's terms.

    Args:
      net: frames [B,84,84,4] -> logits [B,A] and value [B,1].
      frames: uint8 [B,84,84,4].
      actions: int32 [B].
      advantages: [B].
      targets: [B].
      settings: settings of the learner, among them the weights of the loss's terms.
    """
    with tf.GradientTape() as tape:
        logits, values = net(tf.cast(frames, tf.float32))
        loss, terms = losses.actor_critic_loss(
            logits,
            values[:, 0],
            actions,
            advantages,
            targets,
            settings.value_cost,
            settings.entropy_cost,
        )
    net.optimizer.apply(tape.gradient(loss, net.trainable_variables))
    return terms


def run(
    actors: Sequence[Actor],
    stop: Callable[[], Any],
    report: Callable[[], Any],
    seconds: float = 0.5,
) -> None:
    """Run every actor in a thread until `stop()`, and call `report()` every `seconds` meanwhile.

    Raises what the first actor died of, or what `report` raises; all actors stop then.
    """
    failed = threading.Event()

    def work(actor):
        try:
            actor.run(lambda: failed.is_set() or stop())
        except BaseException:
            failed.set()  # The others would go on for hours.
            raise

    with concurrent.futures.ThreadPoolExecutor(len(actors)) as threads:
        working = [threads.submit(work, actor) for actor in actors]
        try:
            while concurrent.futures.wait(working, seconds).not_done:
                report()
        except BaseException:
            failed.set()  # The pool waits for all of them.
            raise
    for future in working:
        future.result()
