"""Sources of true jets: arrays, a differentiable function, a teacher, a black box.

A target is a callable x [B,*in] -> [B,*out]. `Function` and `Teacher` are differentiated inside the
training step; `FiniteDifferences` computes derivatives itself, by its method `jet`. A `Table` holds
labels that were computed beforehand.
"""

from sobolev_tf.differences import FiniteDifferences
from sobolev_tf.targets.function import Function
from sobolev_tf.targets.saving import serialize
from sobolev_tf.targets.table import Table
from sobolev_tf.targets.tabulation import tabulate
from sobolev_tf.targets.teacher import Teacher

__all__ = ["FiniteDifferences", "Function", "Table", "Teacher", "serialize", "tabulate"]
