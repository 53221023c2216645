"""Which examples of every batch a worker reads: those of its replicas."""

import dataclasses

import tensorflow as tf

from train.lib.run import workers
from train.lib.run.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Share:
    """The replicas of one worker, `first` to `first + count`, among `of` in all.

    A replica takes one of `of` equal, contiguous parts of every batch, as under MirroredStrategy.

    Example:
      >>> share = Share(first=1, count=1, of=2)
      >>> [position for position in range(6) if share.has(position * share.of // 6)]
      [3, 4, 5]
    """

    first: int = 0
    count: int = 1
    of: int = 1

    def has(self, replica: int | tf.Tensor) -> bool | tf.Tensor:
        """Return whether a replica is one of this worker's."""
        return (self.first <= replica) & (replica < self.first + self.count)

    def check(self, batch_size: int, eval_size: int) -> None:
        """Raise UsageError where a batch, or the held-out images, cannot be shared out."""
        if batch_size % self.of:
            raise UsageError(
                f"--batch_size={batch_size} is no multiple of the workers' {self.of} replicas"
            )
        if eval_size < self.of:
            raise UsageError(f"{eval_size} held-out images are too few for {self.of} replicas")


WHOLE = Share()


def of_worker(strategy: tf.distribute.Strategy) -> Share:
    """Return this worker's share; the whole of every batch if it is the only one."""
    if not workers.are_several(strategy):
        return WHOLE
    number, num_workers = workers.place(strategy)
    replicas = strategy.num_replicas_in_sync
    count = replicas // num_workers
    return Share(number * count, count, replicas)
