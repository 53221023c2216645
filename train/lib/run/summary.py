"""The fields with which every summary.json begins."""

from typing import Any

from train.lib.run.run_folder import Run


def head(
    run: Run, *, what: str, name: str, value: float | None, unit: str, seconds: float | None
) -> dict[str, Any]:
    """Return what every summary.json starts with.

    Args:
      run: the run whose summary it is; gives script, commit and versions, and those that the run
        was resumed with.
      what: what was trained on what, in a few words.
      name: what the headline number is, a log's name such as `val_accuracy`.
      value: the headline number; None if there is none.
      unit: its unit: "share" of one, "nats", "points", or "" for a plain number.
      seconds: time of the work, summed up over all processes of this run.
    """
    parts = ("commit", "versions", "resumed_with")
    return {
        "script": run.config["script"],
        "what": what,
        "headline": {"name": name, "value": value, "unit": unit},
        "seconds": seconds,
        **{name: run.config[name] for name in parts if name in run.config},
    }
