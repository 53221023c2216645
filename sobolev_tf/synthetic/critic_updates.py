"""The critics' updates in a step of the network: how many, and from which examples (SM 4)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import require
from sobolev_tf.keras_support.loss_scaling import skipped_together
from sobolev_tf.keras_support.strategies import apply_replicas_sequentially, replicas

CRITIC_UPDATES = ("sync", "sequential_async")


@dataclasses.dataclass(frozen=True)
class CriticUpdates:
    """The updates that critics take in one step of the network.

    Numbers are totals over all replicas. With "sync", every replica takes part in every update,
    with its share of the examples. With "sequential_async", an update is that of one replica: in
    each round, every replica computes its gradient at the same weights, and all are applied one
    after another. There are as many rounds as `steps` updates need, so that there are a few more
    updates if the number of replicas does not divide `steps`.

    Args:
      mode: one of `CRITIC_UPDATES`.
      steps: the number of updates n.
      batch: the number of examples b in each, or None for the whole batch. Update k has the k-th
        slice of b examples; after the batch's last example comes its first.

    Raises:
      ValueError: for anything else.
    """

    mode: str = "sequential_async"
    steps: int = 1
    batch: int | None = None

    def __post_init__(self) -> None:
        require.one_of("compile", "critic_updates", self.mode, CRITIC_UPDATES)
        require.whole_number("compile", "critic_steps", self.steps, at_least=1)
        if self.batch is not None:
            require.whole_number("compile", "critic_batch", self.batch, at_least=1)

    def arguments(self) -> dict[str, Any]:
        """Return them as `DecoupledModel.compile` takes them."""
        return {
            "critic_updates": self.mode,
            "critic_steps": self.steps,
            "critic_batch": self.batch,
        }

    @property
    def in_turn(self) -> bool:
        """Whether replicas are applied one after another."""
        return self.mode == "sequential_async" and replicas() > 1

    @property
    def rounds(self) -> int:
        """How many gradients a replica computes."""
        return -(-self.steps // replicas()) if self.in_turn else self.steps

    @property
    def total(self) -> int:
        """How many updates critics take in a step: those of all replicas."""
        return self.rounds * (replicas() if self.in_turn else 1)

    def take(self, k: int, tensors: Any) -> Any:
        """Take the examples of round k.

        Args:
          k: from 0.
          tensors: any structure of tensors [B, ...] and Nones, this replica's share of the batch.

        Returns:
          The same, [b, ...], or [B, ...] where B is smaller than b.
        """
        if self.batch is None:
            return tensors
        share = self.batch if self.in_turn else -(-self.batch // replicas())
        size = tf.shape(tf.nest.flatten(tensors)[0])[0]
        rows = k * share + tf.range(tf.minimum(share, size))
        rows %= tf.maximum(size, 1)
        return tf.nest.map_structure(lambda t: None if t is None else tf.gather(t, rows), tensors)

    def apply(
        self, optimizer: keras.optimizers.Optimizer, gradients: Sequence, variables: Sequence
    ) -> None:
        """Update the critics with every replica's gradients, averaged or one after another."""
        if self.in_turn:
            apply_replicas_sequentially(optimizer, gradients, variables)
        else:
            # None if all are frozen.
            optimizer.apply(skipped_together(optimizer, gradients), variables)
