"""Keras's progress bar, by default only on a terminal."""

import sys
from collections.abc import Sequence

import keras
import numpy as np

from sobolev_tf import require


def progress_bar(
    steps: int | None,
    verbose: str | int = "auto",
    unit_name: str = "step",
    stateful_metrics: Sequence[str] = (),
) -> keras.utils.Progbar:
    """Make a line of progress with the time left.

    Args:
      steps: how many there are; None if that is not known.
      verbose: 1 shows the line, 0 does not, "auto" shows it where the output is a terminal.
      unit_name: what a step is.
      stateful_metrics: names of numbers that are shown as they are, not as means.

    Returns:
      A bar: call `update(done, [(name, number), ...])` after each step.
    """
    shown = int(is_shown(verbose))
    return keras.utils.Progbar(
        steps, verbose=shown, unit_name=unit_name, stateful_metrics=stateful_metrics
    )


def is_shown(verbose: str | int) -> bool:
    """Tell whether `verbose` asks for progress: "auto" does so where the output is a terminal."""
    if isinstance(verbose, np.ndarray) or verbose not in ("auto", 0, 1):
        raise ValueError(f'verbose is "auto", 0 or 1, got {require.shown(verbose)}.')
    return sys.stdout.isatty() if verbose == "auto" else bool(verbose)
