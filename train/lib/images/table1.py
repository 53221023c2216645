"""Table 1 of the paper, from any set of finished runs of train.cifar10 and train.imagenet."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sobolev_tf as st
from train.lib.images import critic_flags
from train.lib.images.run_title import scale
from train.lib.run import files, identity, old_flags, run_folder
from train.lib.run.errors import UsageError, reading

Column = tuple[str, str, int]  # script, data set, number of cuts
Columns = dict[Column, dict[str, list["Result"]]]
Scores = list[tuple[float, float | None]]  # (accuracy, deviation) of top-1, and of top-5

NETS = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}  # the paper's data set, by script
PAPER_DATA = {"cifar10": "cifar10", "imagenet": "imagenet2012"}  # as TFDS calls them
# Czarnecki et al. (2017), Table 1: (accuracy, deviation) in percent; top-1, on ImageNet top-5 too.
PAPER: dict[tuple[str, int], dict[str, Scores]] = {
    ("cifar10", 0): {"backprop": [(94.3, None)]},
    ("cifar10", 3): {
        "noprop": [(54.5, 1.15)],
        "direct": [(79.2, 0.01)],
        "vfbn": [(88.5, 2.70)],
        "critic": [(93.2, 0.02)],
        "sobolev": [(93.5, 0.01)],
    },
    ("imagenet", 0): {"backprop": [(75.0, None), (92.3, None)]},
    ("imagenet", 1): {
        "noprop": [(54.0, 0.29), (77.3, 0.06)],
        "vfbn": [(57.9, 2.03), (81.5, 1.20)],
        "critic": [(71.7, 0.23), (90.5, 0.15)],
        "sobolev": [(72.0, 0.05), (90.8, 0.01)],
    },
    ("imagenet", 3): {
        "noprop": [(18.7, 0.18), (38.0, 0.34)],
        "vfbn": [(28.3, 5.24), (52.9, 6.62)],
        "critic": [(65.7, 0.56), (86.9, 0.33)],
        "sobolev": [(66.5, 0.22), (87.4, 0.11)],
    },
}
# The paper's rows, and above them the controls that it does not have.
ROWS = ("random", "flipped", "noprop", "direct", "vfbn", "critic", "sobolev", "backprop")
NAMES = {
    "random": "Random (control)",
    "flipped": "Flipped (control)",
    "noprop": "Noprop",
    "direct": "Direct SG",
    "vfbn": "VFBN",
} | {name: name.capitalize() for name in ("critic", "sobolev", "backprop")}
# Flags in which the runs of one cell may differ.
FLAGS_THAT_MAY_DIFFER = {"seed", "seeds", "data_dir", "pixel_baseline", "save_minutes"}
# And those of one column: lengths and cuts have a line of their own.
FLAGS_OF_A_METHOD = {"method", "splits", "cuts", "steps", "epochs"}


class Result(NamedTuple):
    """One finished run: its folder, the column and row it belongs to, and its accuracy."""

    folder: Path
    script: str
    dataset: str
    splits: int
    cuts: tuple[str, ...]  # the layers; () for backpropagation, which has none
    method: str
    flags: dict[str, Any]
    images: dict[str, Any]  # its data set as in summary.json, less the seed of its order
    accuracy: tuple[float, ...]  # percent: top-1, and top-5 on ImageNet's net
    steps: int

    @property
    def column(self) -> Column:
        """Return the key of the run's column."""
        return self.script, self.dataset, self.splits

    @property
    def data(self) -> dict[str, Any]:
        """Return what runs on the same data have in common."""
        return run_folder.comparable(self.images)


def read(folder: Path) -> Result:
    """Read the result of a finished run.

    Raises:
      UsageError: for a summary that is damaged.
    """
    config = run_folder.read_config(folder / "config.json")
    script, path = config["script"], folder / "summary.json"
    with reading(path, "run its command again", f"is not a summary of train.{script}"):
        summary = files.read_json(path)
        identity.check(summary, run_folder.of_run(config))
        shares = [summary["top1"], summary["top5"]][: 2 if script == "imagenet" else 1]
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"accuracies of {shares}")
        splits, images = int(summary["splits"]), dict(summary["dataset"])
        if splits < 0:
            raise ValueError(f"{splits} cuts")
        method = summary["method"] if splits else "backprop"
        if method not in st.synthetic.METHODS:
            raise ValueError(f"unknown method {method!r}")
        return Result(
            folder=folder,
            script=script,
            dataset=str(images["name"]),
            splits=0 if method == "backprop" else splits,
            cuts=() if method == "backprop" else tuple(map(str, summary["cuts"])),
            method=method,
            flags=old_flags.complete(script, config["flags"]),
            images={name: value for name, value in images.items() if name != "seed"},
            accuracy=tuple(100 * float(share) for share in shares),
            steps=int(summary["steps"]),
        )


def cells(results: Iterable[Result]) -> Columns:
    """Group results by column and method; those of a cell are one command with several seeds.

    Backpropagation has no cuts: its runs stand in every column of their data set.

    Returns:
      {(script, data set, number of cuts): {method: results}}.

    Raises:
      UsageError: runs of one cell differ in more than the seed, or not even in that.
    """
    columns: Columns = {}
    for result in results:
        cell = columns.setdefault(result.column, {}).setdefault(result.method, [])
        for other in cell:
            _check_repeats(other, result)
        cell.append(result)
    cut = {key: columns[key] for key in sorted(columns) if key[2]}
    for key in sorted(columns.keys() - cut.keys()):
        same = [name for name in cut if name[:2] == key[:2]]
        for name in same:
            cut[name].update(columns[key])
        if not same:
            cut[key] = columns[key]
    return cut


def _check_repeats(first: Result, second: Result) -> None:
    a, b = (result.flags | {"dataset": result.data} for result in (first, second))
    named = sorted(a.keys() | b.keys())
    if first.method == "backprop":
        named = [name for name in named if name not in ("splits", "cuts", "method")]
    differ = [
        f"--{name} is {a.get(name)} and {b.get(name)}"
        for name in named
        if name not in FLAGS_THAT_MAY_DIFFER and a.get(name) != b.get(name)
    ]
    where = f"{first.folder} and {second.folder} are both {first.method} on {first.dataset}"
    if differ:
        raise UsageError(f"{where}, but {'; '.join(differ)}: one cell holds one command's seeds")
    if a.get("seed") == b.get("seed"):
        raise UsageError(f"{where} with seed {a.get('seed')}: name each run once")


def spread(results: Sequence[Result]) -> Scores:
    """Return [(mean, sample deviation or None)] of a cell: top-1, and top-5 where there is one."""
    return [
        (statistics.mean(scores), statistics.stdev(scores) if len(scores) > 1 else None)
        for scores in zip(*(result.accuracy for result in results), strict=True)
    ]


def paper(column: Column) -> dict[str, Scores]:
    """Return the paper's {method: [(accuracy, deviation)]}; {} for a column it does not have."""
    script, _, splits = column
    printed = PAPER.get((script, splits), {})
    return {**printed, **PAPER[script, 0]} if printed else {}


def as_text(scores: Scores) -> str:
    """Return the scores of a cell as text.

    >>> as_text([(72.04, 0.05), (90.8, None)])
    '72.0 ±0.05 / 90.8'
    """
    return " / ".join(
        f"{mean:.1f}" + ("" if deviation is None else f" ±{deviation:.2f}")
        for mean, deviation in scores
    )


def title(column: Column) -> str:
    """Return the head of a column."""
    script, dataset, splits = column
    return f"{dataset}, {count_of_cuts(splits)}" + (
        ", top-1 / top-5" if script == "imagenet" else ""
    )


def count_of_cuts(splits: int) -> str:
    """Return the number of cuts in words."""
    return {0: "no cuts", 1: "1 cut"}.get(splits, f"{splits} cuts")


def rows(columns: Columns, printed: Callable[[Column], dict[str, Scores]] = paper) -> list[str]:
    """Return the methods that have a number in any column, here or `printed` in the paper."""
    have_numbers = {
        name for column, methods in columns.items() for name in (*methods, *printed(column))
    }
    return [name for name in ROWS if name in have_numbers]


def text(columns: Columns) -> str:
    """Return Table 1 in Markdown: a column of ours, and the paper's beside it where it has one."""
    parts = []
    for column, methods in columns.items():
        ours = {name: _cell(results) for name, results in methods.items()}
        parts.append((title(column), ours))
        if printed := paper(column):
            name = f"paper: {NETS[column[0]]}, {count_of_cuts(column[2])}"
            parts.append((name, {method: as_text(scores) for method, scores in printed.items()}))
    lines = [["held-out accuracy, %", *(head for head, _ in parts)], ["---"] * (len(parts) + 1)]
    lines += [[NAMES[row], *(cells.get(row, "-") for _, cells in parts)] for row in rows(columns)]
    notes = [note for column in columns.items() for note in (_lengths(*column), *_recipes(*column))]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *notes])


def _cell(results: Sequence[Result]) -> str:
    seeds = f" ({len(results)} seeds)" if len(results) > 1 else ""
    return as_text(spread(results)) + seeds


def _lengths(column: Column, methods: Mapping[str, Sequence[Result]]) -> str:
    steps = {name: cell[0].steps for name, cell in methods.items()}
    lengths = sorted(set(steps.values()))
    if len(lengths) == 1:
        return f"{title(column)}: {lengths[0]:,} steps."
    counts = ", ".join(f"{name} {count:,}" for name, count in steps.items())
    return f"{title(column)}: RUNS OF DIFFERENT LENGTH, in steps: {counts}."


def _recipes(column: Column, methods: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    """Yield a line for every flag, but the method, in which the runs of one column differ."""
    cuts = {name: ",".join(results[0].cuts) for name, results in methods.items()}
    cuts.pop("backprop", None)
    if len(set(cuts.values())) > 1:
        yield _differ(column, "cuts", cuts)
    cells = {name: results[0].flags for name, results in methods.items()}
    for flag in sorted(set().union(*cells.values()) - FLAGS_THAT_MAY_DIFFER - FLAGS_OF_A_METHOD):
        values = {
            name: flags.get(flag)
            for name, flags in cells.items()
            if flag not in critic_flags.unused_by(name)
        }
        if len(set(map(str, values.values()))) > 1:
            yield _differ(column, flag, values)


def _differ(column: Column, flag: str, values: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name} {value}" for name, value in values.items())
    return f"{title(column)}: RUNS OF DIFFERENT --{flag}: {listed}."


def draw(columns: Columns, path: Path) -> None:
    """Draw every method's top-1 accuracy; a panel for each column.

    The paper's numbers stand beside ours only on the paper's data set: a thousand classes and ten
    have no axis in common.
    """
    from matplotlib.figure import Figure

    names = rows(columns, on_paper_data)
    size = 1.4 + 3.6 * len(columns), 1.6 + 0.4 * len(names)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for axis, (column, methods) in zip(panels, columns.items(), strict=True):
        ours = {name: spread(results) for name, results in methods.items()}
        printed = on_paper_data(column)
        shift = 0.16 if printed else 0
        _draw_scores(
            axis, ours, names, at=-shift, label=label(methods.values()), color="C0", fmt="o"
        )
        if printed:
            of_paper = f"paper: {NETS[column[0]]}, full size"
            _draw_scores(
                axis, printed, names, at=shift, label=of_paper, color="0.5", fmt="s", mfc="w"
            )
        if classes := next(iter(methods.values()))[0].images.get("classes"):
            axis.axvline(100 / classes, color="0.5", linestyle=":", label="chance", zorder=0)
        axis.set(
            xlabel="held-out accuracy (top-1), %", xlim=(0, 100), ylim=(len(names) - 0.5, -0.5)
        )
        axis.set_yticks(range(len(names)), [NAMES[row] for row in names])
        axis.set_title(title(column).removesuffix(", top-1 / top-5"), fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    handles = {
        text: handle
        for axis in panels
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if "chance" in handles:
        handles["chance"] = handles.pop("chance")  # last
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", frameon=False,
        fontsize="small", ncols=min(len(columns), 2),
    )  # fmt: skip
    files.write_png(path, figure, dpi=110)


def on_paper_data(column: Column) -> dict[str, Scores]:
    """Return the paper's numbers for a column on the paper's data set; {} for other data."""
    return paper(column) if column[1] == PAPER_DATA.get(column[0]) else {}


def label(cells: Iterable[Sequence[Result]]) -> str:
    """Name the runs of a column: their size where it is one, and how many seeds a cell has."""
    cells = list(cells)
    sizes = {scale(run.flags, run.images, run.steps) for cell in cells for run in cell}
    counts = {len(cell) for cell in cells}
    seeds = {1: "one seed"}.get(min(counts), f"{min(counts)} seeds")
    if len(counts) > 1:
        seeds = f"{min(counts)} to {max(counts)} seeds"
    size = f"{sizes.pop()}, " if len(sizes) == 1 and "" not in sizes else ""
    return f"here: {size}{seeds}"


def _draw_scores(
    axis: Any,
    scores: Mapping[str, Scores],
    names: Sequence[str],
    *,
    at: float,
    color: str,
    **style: Any,
) -> None:
    """Draw points with deviations and their numbers, `at` so much below each row's line."""
    chosen = [(k + at, *scores[name][0]) for k, name in enumerate(names) if name in scores]
    heights, means, deviations = zip(*chosen, strict=True)
    bars = [deviation or 0 for deviation in deviations]
    axis.errorbar(means, heights, xerr=bars, color=color, capsize=3, **style)
    for height, mean, bar in zip(heights, means, bars, strict=True):
        left = mean > 85
        axis.annotate(
            f"{mean:.1f}",
            (mean - bar if left else mean + bar, height),
            xytext=(-6 if left else 6, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize="x-small",
            color=color,
        )
