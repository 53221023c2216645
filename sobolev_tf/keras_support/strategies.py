"""Keras's `fit` under every strategy: gaps of Keras 3.15 closed in one place.

Keras builds a model's state from the first batch by adding up the replicas' shares of it, which
fails where the shares differ in size and under MultiWorkerMirroredStrategy; it averages logs over
the workers along an axis that scalars do not have; and where a step reports only some metrics, it
takes the mean of the replicas' own results.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support.compiled_model import CompiledModel
from sobolev_tf.keras_support.loss_scaling import skipped_together


class DistributedModel(CompiledModel):
    """A Keras model whose state is built from the first replica's share of a batch."""

    @property
    def metrics(self) -> list:
        """As in Keras, but without those of compiled models inside, such as a teacher's."""
        layers = self._flatten_layers(include_self=False)
        compiled = [m for m in layers if isinstance(m, keras.Model) and m.compiled]
        foreign = {id(metric) for model in compiled for metric in model.metrics}
        return [metric for metric in super().metrics if id(metric) not in foreign]

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self._distribute_strategy is None:
            return
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=self._first_share(iterator, data_batch))

    def _first_share(self, iterator, data_batch):
        """The first replica's share of the first batch."""
        if iterator is not None:
            data_batch = next(next(iter(iterator))[2])
        return tf.nest.map_structure(
            lambda share: self.distribute_strategy.experimental_local_results(share)[0], data_batch
        )

    def _get_metrics_result_or_logs(self, logs):
        """The metrics that the last step reported, of the examples of all replicas."""
        results = self.get_metrics_result()
        known = isinstance(logs, dict) and logs.keys() <= results.keys()
        return {name: results[name] for name in logs} if known else logs


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
      gradients: this replica's, one for each variable; None where there is none.
      variables: what is updated.
    """
    here = tf.distribute.get_replica_context().replica_id_in_sync_group
    scale = optimizer.scale_loss(1.0)  # of the gradients; each update may change the optimizer's
    for replica in range(replicas()):
        rescale = tf.where(tf.equal(here, replica), optimizer.scale_loss(1.0) / scale, 0.0)
        # The optimizer adds up over replicas: all but one give zeros.
        mine = [
            None if g is None else tf.math.multiply_no_nan(g, tf.cast(rescale, g.dtype))
            for g in gradients
        ]
        optimizer.apply(skipped_together(optimizer, mine), variables)


def replicas() -> int:
    """Count the replicas that share a batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Return the sum of the replicas' values inside a step; the value itself elsewhere.

    >>> float(sum_over_replicas(tf.constant(2.0)))
    2.0
    """
    context = tf.distribute.get_replica_context()
    if context is None or replicas() == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
