"""The Jacobian of a net's terms in its weights, row by row."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.jets.jacobians import no_loops


def weight_jacobians(
    terms_of: Callable, rows: Any, variables: Sequence, caller: str
) -> dict[str, tf.Tensor]:
    """Compute d term / d weights of every row.

    Args:
      terms_of: from rows to terms [B,...] by name; no layer couples its rows.
      rows: tensors [B,...] in any structure.
      variables: the weights, N numbers in all.
      caller: the function that errors name.

    Returns:
      Jacobians by name of term, [B,E,N] for terms of E entries a row.

    Raises:
      ValueError: the net has an operation that cannot take all rows at once.
    """
    values = [variable.value for variable in variables]

    def of_row(row):
        with tf.GradientTape(persistent=True) as tape, no_loops():
            terms = terms_of(keras.tree.map_structure(lambda t: t[None], row))
            entries = {name: tf.unstack(tf.reshape(t, [-1])) for name, t in terms.items()}
        return {
            name: tf.stack([_gradient(tape, entry, values) for entry in of_term])
            for name, of_term in entries.items()
        }

    try:
        return tf.vectorized_map(of_row, rows)
    except (TypeError, NotImplementedError) as error:
        raise ValueError(
            f"{caller}: the net has an operation that cannot take all rows at once, "
            "such as the loop of LSTM and GRU: set unroll=True there, or take fit_lbfgs."
        ) from error


def _gradient(tape: tf.GradientTape, entry: tf.Tensor, values: Sequence) -> tf.Tensor:
    parts = tape.gradient(entry, values, unconnected_gradients="zero")
    return tf.concat([tf.reshape(part, [-1]) for part in parts], 0)
