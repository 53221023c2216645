"""Tables of text, for the end of a script."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return aligned text: the first column to the left, the others to the right.

    >>> print(table(["", "top-1"], [["network", "45.0 %"], ["chance", "10.0 %"]]))
             top-1
    network 45.0 %
    chance  10.0 %
    """
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def percent(share: float | None) -> str:
    """Return a share of one as percent; empty text for None.

    >>> percent(0.125)
    '12.5 %'
    """
    return "" if share is None else f"{100 * share:.1f} %"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "episode"), counted(2000, "step")
    ('1 episode', '2,000 steps')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"
