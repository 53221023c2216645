"""The table that a run prints."""

from collections.abc import Mapping
from typing import Any

from train.distill import figures
from train.distill.students import METHODS
from train.lib.run import text_table

HEADER = [
    "training",
    "learning_rate",
    "alpha",
    "test_kl",
    "test_action_error",
    "test_kl, later half",
    "test_action_error, later half",
]


def results(
    summaries: Mapping[tuple[float, str], Mapping[str, Any]],
    baselines: Mapping[float, Mapping[str, float]],
    rows: list[dict[str, Any]],
) -> str:
    """Return the table of a run's students; the last rows are the best constant policies.

    Args:
      summaries: {(percent, method): summary} of each student.
      baselines: {percent: test_kl and test_action_error of the best constant policy}.
      rows: those of metrics.csv; the mean and the range of the later half of the tests.
    """
    means = figures.later_half(rows)
    cells = [
        [
            f"{percent:g} %, {METHODS[method]}",
            f"{summary['learning_rate']:g}",
            f"{summary['alpha']:g}",
            *_last(summary),
            *_later_half(means[percent, method]),
        ]
        for (percent, method), summary in summaries.items()
    ]
    cells += [
        [f"{percent:g} %, constant policy", "", "", *_last(baseline), "", ""]
        for percent, baseline in baselines.items()
    ]
    return text_table.table(HEADER, cells)


def _last(measures):
    return [f"{measures['test_kl']:.3g}", text_table.percent(measures["test_action_error"])]


def _later_half(means):
    kl, low, high = means["test_kl"]
    error, _, _ = means["test_action_error"]
    return [f"{kl:.3g} ({low:.3g} to {high:.3g})", text_table.percent(error)]
