"""Jets of a black box, by finite differences."""

from sobolev_tf.differences.finite_differences import FiniteDifferences

__all__ = ["FiniteDifferences"]
