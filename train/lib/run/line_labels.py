"""Labels at the ends of a figure's lines, in place of a legend."""

from collections.abc import Sequence
from typing import Any

HEIGHT = 0.062  # of a label, as a share of the axis


def label_ends(axis: Any, ends: Sequence[tuple[str, float, str]], size: str = "small") -> None:
    """Write labels to the right of an axis, at the heights of their lines' ends.

    Labels that would overlap are moved apart. The limits of the axis must be final.

    Args:
      axis: Matplotlib's.
      ends: (text, the line's last y, color); a text may have several lines.
      size: size of the font.
    """
    shown = sorted(ends, key=lambda end: end[1])
    to_share = axis.transScale + axis.transLimits
    heights = [float(to_share.transform((axis.get_xlim()[1], y))[1]) for _, y, _ in shown]
    sizes = [HEIGHT * (1 + text.count("\n")) for text, _, _ in shown]
    for (text, _, color), height in zip(shown, spread(heights, sizes), strict=True):
        axis.text(
            1.02, height, text, color=color, fontsize=size, va="center", transform=axis.transAxes
        )


def spread(centers: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Move centers, which are sorted, apart until none of their intervals in [0, 1] overlap.

    >>> [round(center, 2) for center in spread([0.5, 0.52, 0.99], [0.1, 0.1, 0.1])]
    [0.5, 0.6, 0.95]
    """
    placed: list[float] = []
    floor = 0.0
    for center, size in zip(centers, sizes, strict=True):
        placed.append(max(center, floor + size / 2))
        floor = placed[-1] + size / 2
    ceiling = max(1.0, sum(sizes))
    for k in reversed(range(len(placed))):
        placed[k] = min(placed[k], ceiling - sizes[k] / 2)
        ceiling = placed[k] - sizes[k] / 2
    return placed
