"""Numbers that `fit` and `evaluate` take beside data, looked at before Keras does."""

from typing import Any

from sobolev_tf import require

_LEAST = {
    "batch_size": 1,
    "epochs": 0,
    "initial_epoch": 0,
    "steps_per_epoch": 1,
    "validation_steps": 1,
    "validation_batch_size": 1,
    "steps": 1,
}


def check(caller: str, model: Any, passed: dict[str, Any]) -> None:
    """Look at the arguments of `fit` or `evaluate` that are numbers; others are left aside.

    Args:
      caller: the method, which errors name.
      model: a Keras model.
      passed: arguments by name.

    Raises:
      ValueError: for a number of another kind or range, or a model that is not compiled.
    """
    if not model.compiled:
        raise ValueError(f"{caller}: the model has no loss and no optimizer yet: call compile.")
    for name, least in _LEAST.items():
        if passed.get(name) is not None:
            require.whole_number(caller, name, passed[name], at_least=least)
    if (shuffle := passed.get("shuffle")) not in (None, True, False, "batch"):
        raise ValueError(f"{caller}: shuffle is True or False, got {require.shown(shuffle)}.")
    share = require.number(caller, "validation_split", passed.get("validation_split", 0), 0)
    if share >= 1:
        raise ValueError(f"{caller}: validation_split is a share below 1, got {share:g}.")
