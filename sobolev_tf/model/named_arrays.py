"""What errors call the arrays that users pass."""

from typing import Any

import keras

from sobolev_tf.keras_support import arrays
from sobolev_tf.model import labels


def named_arrays(x: Any, y: Any, sample_weight: Any, order: int) -> dict[str, Any]:
    """Return all arrays by what errors call them.

    Args:
      x, y, sample_weight: in any form, or None.
      order: J.

    Raises:
      ValueError: for an unknown name, or weights of directions, which are no label.

    Example:

    >>> list(named_arrays(0, (1, 2), 3, order=1))
    ['x', 'label value', 'label d1', 'sample_weight']
    """
    named = arrays.entries("x", x)
    for name, label in labels.normalize(y, order).items():
        if name == "directions":
            for term, directions in label.items():
                named[f"directions of {term}"] = directions
        else:
            named |= arrays.entries(f"label {name}", label)
    if not keras.tree.is_nested(sample_weight):
        return named | arrays.entries("sample_weight", sample_weight)
    if isinstance(sample_weight, dict) and sample_weight.get("directions") is not None:
        raise ValueError(
            "sample_weight has 'directions', which are no label: name the label along them, such "
            "as jvp."
        )
    weights = labels.weights_by_name(sample_weight, order)
    return named | {f"sample_weight of {name}": w for name, w in weights.items()}
