"""Which steps of a recording train, which test, and which a search uses: by time."""

import numpy as np

from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


def by_time(
    settings: Settings, lengths: np.ndarray, percent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test steps of the first `percent` %, as the flags choose them."""
    train, test = split(lengths, percent, settings.train_boundary, settings.test_percent)
    return train, spread(test, settings.num_test_stacks)


def for_search(settings: Settings, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return training and held-out steps of the search, within the first --search_percent %."""
    share = training(
        lengths, settings.search_percent, settings.train_boundary, flag="search_percent"
    )
    train, test = held_out(lengths, len(share))
    return train, spread(test, settings.num_test_stacks)


def split(
    lengths: np.ndarray, percent: float, boundary: str = "step", test_percent: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test steps of episodes of `lengths` steps, laid end to end.

    Training takes the first `percent` % of the steps; testing, the whole episodes after them.
    What is left of an episode that the border cuts is dropped.

    Args:
      lengths: steps of every episode [E].
      percent: share of the steps to train on.
      boundary: "step" trains up to the border; "episode" only on the whole episodes before it.
      test_percent: only episodes that begin within the last so many % test, so that the test set
        is the same for all shares.

    Raises:
      UsageError: if either side is empty.

    Example:

    >>> train, test = split([4, 3, 3], 50)
    >>> train.tolist(), test.tolist()
    ([0, 1, 2, 3, 4], [7, 8, 9])
    """
    ends = np.cumsum(lengths)
    starts, total = ends - lengths, int(ends[-1])
    border = _share(total, percent)
    first_test = border if test_percent is None else total - _share(total, test_percent)
    first_test = max(border, first_test)
    tests = starts[starts >= first_test]
    train = training(lengths, percent, boundary)
    if not len(tests):
        typed = "" if test_percent is None else f" and --test_percent={test_percent:g}"
        raise UsageError(
            f"--train_percent={percent:g}{typed} of {total} steps in {len(ends)} episodes leaves "
            "no whole test episode: train on less, or record more"
        )
    return train, np.arange(tests[0], total, dtype=np.int32)


def training(
    lengths: np.ndarray, percent: float, boundary: str = "step", flag: str = "train_percent"
) -> np.ndarray:
    """Return the first `percent` % of the steps, as `split` has them.

    Raises UsageError, naming the `flag`, if there are none.
    """
    ends = np.cumsum(lengths)
    border = _share(int(ends[-1]), percent)
    last = max([0, *ends[ends <= border]]) if boundary == "episode" else int(border)
    if not last:
        least = "whole training episode" if boundary == "episode" else "training step"
        raise UsageError(
            f"--{flag}={percent:g} of {ends[-1]} steps in {len(ends)} episodes leaves no {least}: "
            "raise it, or record more"
        )
    return np.arange(last, dtype=np.int32)


def _share(total: int, percent: float) -> float:
    """Return a share of the steps without the error of floating point.

    >>> _share(100, 55), _share(10000, 0.57), 100 * 0.55, 10000 * 0.57 / 100
    (55.0, 57.0, 55.00000000000001, 56.99999999999999)
    """
    return round(total * percent / 100, 6)


def held_out(lengths: np.ndarray, steps: int, share: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Return training and held-out steps of the first `steps` steps.

    Held out are the last episodes, with the one that the border cuts, until they are the `share`.

    Raises UsageError if that leaves nothing to train on.

    Example:

    >>> [steps.tolist() for steps in held_out([4, 3, 3], 8)]
    [[0, 1, 2, 3, 4, 5, 6], [7]]
    """
    starts = np.cumsum(lengths) - lengths
    starts = starts[starts <= steps - _share(steps, 100 * share)]
    if starts[-1] == 0:
        raise UsageError(
            f"no second episode begins early enough in the first {steps} steps to be held out: "
            "raise --search_percent, or give --learning_rate (and --alpha, for sobolev)"
        )
    return np.arange(starts[-1], dtype=np.int32), np.arange(starts[-1], steps, dtype=np.int32)


def spread(steps: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` of `steps`, evenly spaced; 0 returns all.

    Example:

    >>> spread(np.arange(10), 4).tolist()
    [0, 2, 5, 7]
    """
    if not most or len(steps) <= most:
        return steps
    return steps[np.arange(most) * len(steps) // most]
