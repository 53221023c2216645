"""The Jacobian of a net's terms in its weights, row by row."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf.jets.jacobians import UNROLLED, no_loops


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

    def gradient(tape, of, unit=None):
        parts = tape.gradient(of, values, unit, unconnected_gradients="zero")
        return tf.concat([tf.reshape(part, [-1]) for part in parts], 0)

    def of_row(row):
        with tf.GradientTape(persistent=True) as tape, no_loops():
            terms = terms_of(keras.tree.map_structure(lambda t: t[None], row))
            flat = {name: tf.reshape(t, [-1]) for name, t in terms.items()}
            few = sum(t.shape[0] for t in flat.values()) <= UNROLLED
            entries = {name: tf.unstack(t) for name, t in flat.items()} if few else {}
        if few:
            return {
                name: tf.stack([gradient(tape, entry) for entry in of_term])
                for name, of_term in entries.items()
            }
        # One gradient for all entries of a term: the graph does not grow with their number.
        return {
            name: tf.vectorized_map(
                functools.partial(gradient, tape, t), tf.eye(t.shape[0], dtype=t.dtype)
            )
            for name, t in flat.items()
        }

    try:
        return tf.vectorized_map(of_row, rows)
    except (TypeError, NotImplementedError) as error:
        raise ValueError(
            f"{caller}: the net has an operation that cannot take all rows at once, "
            "such as the loop of LSTM and GRU: set unroll=True there, or take fit_lbfgs."
        ) from error
