"""Whether a batch of tensors is surely right, in TensorFlow operations."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.keras_support import guarded_data, logits
from sobolev_tf.model import labels
from sobolev_tf.model.named_arrays import named_arrays


@dataclasses.dataclass(frozen=True)
class SurelyRight:
    """Tells whether a gate surely lets a batch pass; equal ones share a trace.

    Args:
      order: J.
      missing: "nan" lets NaN in labels pass, or None.
      masked: whether values may be minus infinity.
      complete: terms whose labels may not be partly missing: the host looks at NaN in them.
    """

    order: int
    missing: str | None
    masked: bool
    complete: frozenset[str] = frozenset()

    def __call__(self, batch: Any) -> tf.Tensor:
        """Return [], for a batch that is x, (x, y) or (x, y, sample_weight)."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        named = named_arrays(x, y, sample_weight, self.order)
        named = {name: t for name, t in named.items() if isinstance(t, tf.Tensor)}
        finite, checks = [], [guarded_data.same_rows(named.values())]
        for name, tensor in named.items():
            label = name.startswith("label") and tensor.dtype.is_floating
            if label and self.masked:  # the host warns of these
                checks.append(~logits.are_probabilities(tensor))
            if name.startswith("sample_weight"):
                # NaN below zero.
                wide = tensor.dtype if tensor.dtype.is_floating else tf.float32
                finite.append(tf.sqrt(tf.cast(tensor, wide)))
            elif not label or labels.term_of(name) in self.complete:
                finite.append(tensor)
            elif self.missing == "nan":
                finite.append(tf.where(tf.math.is_nan(tensor), tf.zeros_like(tensor), tensor))
            elif self.masked:
                off = tensor == tensor.dtype.as_numpy_dtype("-inf")
                finite.append(tf.where(off, tf.zeros_like(tensor), tensor))
                checks.append(~tf.reduce_any(tf.reduce_all(off, range(1, len(off.shape)))))
            else:
                finite.append(tensor)
        return guarded_data.all_true([guarded_data.all_finite(finite), *checks])
