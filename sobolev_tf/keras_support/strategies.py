"""Keras's `fit` under every strategy: two gaps of Keras 3.15 closed in one place.

Keras builds a model's state from the first batch by adding up the replicas' shares of it, which
fails where the shares differ in size and under MultiWorkerMirroredStrategy; and it averages logs
over the workers along an axis that scalars do not have.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support import multi_step


class DistributedModel(keras.Model):
    """A Keras model whose state is built from the first replica's share of a batch."""

    train_function: Any  # Keras's

    @property
    def metrics(self) -> list:
        """As in Keras, but without those of compiled models inside, such as a teacher's."""
        inside = [m for m in self._flatten_layers(include_self=False) if isinstance(m, keras.Model)]
        foreign = {id(metric) for model in inside for metric in model.metrics}
        return [metric for metric in super().metrics if id(metric) not in foreign]

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self._distribute_strategy is None:
            return
        strategy = self.distribute_strategy
        if iterator is not None:
            data_batch = next(next(iter(iterator))[2])
        data_batch = tf.nest.map_structure(
            lambda share: strategy.experimental_local_results(share)[0], data_batch
        )
        with strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def make_train_function(self, force: bool = False) -> None:
        """Make the train function as Keras does; under XLA, one call's steps are one program."""
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        compiled = self.jit_compile and not self.run_eagerly
        if compiled and self.steps_per_execution > 1 and self._distribute_strategy is None:
            self.train_function = multi_step.fuse_steps(
                self.train_step, self.steps_per_execution, self.train_function
            )


def reducible_logs(results: dict[str, Any]) -> dict[str, Any]:
    """Give a step's metrics the axis along which Keras averages them over workers.

    Args:
      results: scalars by name.

    Returns:
      The same, [1] each under MultiWorkerMirroredStrategy.
    """
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return {name: tf.reshape(value, [1]) for name, value in results.items()}
    return results


def apply_replicas_sequentially(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence, variables: Sequence
) -> None:
    """Apply every replica's own gradients, one replica after another and not averaged.

    All were computed at the weights before the first update: late, as in Hogwild, but without
    its races, and the same on every run.

    Args:
      optimizer: Keras's.
      gradients: this replica's, one for each variable.
      variables: what is updated.
    """
    here = tf.distribute.get_replica_context().replica_id_in_sync_group
    for replica in range(replicas()):
        # The optimizer adds up over replicas: all but one give zeros.
        mine = [tf.where(tf.equal(here, replica), g, tf.zeros_like(g)) for g in gradients]
        optimizer.apply_gradients(zip(mine, variables, strict=True))


def replicas() -> int:
    """Count the replicas that share a batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync
