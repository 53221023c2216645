"""Keras's `fit` under every strategy: two gaps of Keras 3.15 closed in one place.

Keras builds a model's state from the first batch by adding up the replicas' shares of it, which
fails where the shares differ in size and under MultiWorkerMirroredStrategy; and it averages logs
over the workers along an axis that scalars do not have.
"""

import keras
import tensorflow as tf


class DistributedModel(keras.Model):
    """A Keras model whose state is built from the first replica's share of a batch."""

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


def logs(results: dict) -> dict:
    """A step's metrics as Keras reduces them: with an axis for the workers where there are any."""
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return {name: tf.reshape(value, [1]) for name, value in results.items()}
    return results


def replicas() -> int:
    """How many replicas work on a batch together."""
    return tf.distribute.get_strategy().num_replicas_in_sync
