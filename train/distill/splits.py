"""Which steps of a recording train, which test, and which the rates are fitted on: by time."""

import numpy as np

from train.lib.run.errors import UsageError


def split(lengths, percent, kind="cut", test_percent=None):
    """(training steps, test steps) of episodes of `lengths` steps, laid end to end.

    Training takes the first `percent` % of the steps; testing, the whole episodes after them.
    What is left of an episode that the border cuts is dropped.

    kind: "cut" trains up to the border; "whole" on the whole episodes before it alone.
    test_percent: only episodes that begin within the last so many % test, so that the test set is
        the same for all shares.

    Raises UsageError where one of both sides is empty.

    >>> train, test = split([4, 3, 3], 50)
    >>> train.tolist(), test.tolist()
    ([0, 1, 2, 3, 4], [7, 8, 9])
    """
    ends = np.cumsum(lengths)
    starts, total = ends - lengths, int(ends[-1])
    border = total * percent / 100
    from_here = max(border, 0 if test_percent is None else total * (1 - test_percent / 100))
    tests = starts[starts >= from_here]
    train = training(lengths, percent, kind)
    if not len(tests):
        given = "" if test_percent is None else f" and --test_percent={test_percent:g}"
        raise UsageError(
            f"--percent={percent:g}{given} of {total} steps in {len(ends)} episodes leaves no "
            "whole test episode: train on less, or record more"
        )
    return train, np.arange(tests[0], total, dtype=np.int32)


def training(lengths, percent, kind="cut", flag="percent"):
    """The first `percent` % of the steps, as `split` has them. Raises UsageError if there are none.

    flag: which one said so, for the error.
    """
    ends = np.cumsum(lengths)
    border = int(ends[-1]) * percent / 100
    last = max([0, *ends[ends <= border]]) if kind == "whole" else int(border)
    if not last:
        least = "whole training episode" if kind == "whole" else "training step"
        raise UsageError(
            f"--{flag}={percent:g} of {ends[-1]} steps in {len(ends)} episodes leaves no {least}: "
            "raise it, or record more"
        )
    return np.arange(last, dtype=np.int32)


def held_out(lengths, steps, share=0.1):
    """(training steps, held-out steps) of the first `steps` steps.

    Held out are the last episodes, with the one that the border cuts, until there are a tenth.

    Raises UsageError where that leaves nothing to train on.

    >>> [part.tolist() for part in held_out([4, 3, 3], 8)]
    [[0, 1, 2, 3, 4, 5, 6], [7]]
    """
    starts = np.cumsum(lengths) - lengths
    starts = starts[starts <= steps * (1 - share)]
    if starts[-1] == 0:
        raise UsageError(
            f"the first {steps} steps hold no two episodes, one to fit the rate on: raise "
            "--fit_percent, or give --rate (and --alpha, for sobolev)"
        )
    return np.arange(starts[-1], dtype=np.int32), np.arange(starts[-1], steps, dtype=np.int32)


def spread(steps, most):
    """At most `most` of `steps`, evenly spaced; 0: all.

    >>> spread(np.arange(10), 4).tolist()
    [0, 2, 5, 7]
    """
    if not most or len(steps) <= most:
        return steps
    return steps[np.arange(most) * len(steps) // most]
