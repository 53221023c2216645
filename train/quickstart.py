"""README's picture: one small net on seven values, on fourteen, and on seven values with slopes.

    python -m train.quickstart

Takes less than a minute. Fits sin(3x) + x/2 on [-2.5, 2.5] by `fit_least_squares`, prints each
net's test error as a share of the function's standard deviation, and draws the three fits. In one
dimension, a slope is worth about as much as a second value; in D dimensions, a gradient is D
numbers, often for the price of one.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import flags

import sobolev_tf as st
from train.lib.run import cells, cli, files, memory, processes, run_folder, text_table
from train.lib.run.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", "runs/quickstart", "Folder for picture.png.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of the net's first weights.", 0, 2**32 - 1, flag_values=FLAGS)
cells.define_num_workers(FLAGS)

LEFT, RIGHT = -2.5, 2.5
ITERATIONS = 100
STROKE = 0.22  # half of a tangent's stroke, in units of x


class Labels(NamedTuple):
    """What the net of one panel is fitted to."""

    title: str
    num_points: int
    with_slopes: bool
    seed: int


class Fit(NamedTuple):
    """The net's values on the grid [S], and its error as a share of the function's deviation."""

    curve: np.ndarray
    error: float


def function(x: tf.Tensor) -> tf.Tensor:
    """The function to learn, [B,1] -> [B,1]."""
    return tf.sin(3 * x) + x / 2


def points(labels: Labels) -> np.ndarray:
    """Return evenly spaced points [B,1]."""
    return np.linspace(LEFT, RIGHT, labels.num_points)[:, None]


def fit(labels: Labels) -> Fit:
    """Fit the net, two layers of 32, to the labels."""
    x = points(labels)
    y, dy = st.targets.tabulate(function, x)
    keras.utils.set_random_seed(labels.seed)
    model = st.SobolevModel(st.nets.mlp(1, hidden=[32, 32], activation="silu", dtype="float64"))
    model.compile(loss_weights=[1.0, 1.0 if labels.with_slopes else 0.0])
    st.fit_least_squares(model, x, (y, dy), iterations=ITERATIONS)
    true = function(grid()).numpy()
    curve = model.predict_jet(grid()).value
    error = np.sqrt(np.mean((curve - true) ** 2)) / np.std(true)
    return Fit(curve[:, 0], float(error))


def grid() -> np.ndarray:
    """Return the test points [S,1]."""
    return np.linspace(LEFT, RIGHT, 501)[:, None]


def draw_panel(axis: "Axes", labels: Labels, fitted: Fit) -> None:
    """Draw the function, the points (with strokes along known slopes), and the net."""
    true, x = function(grid()).numpy()[:, 0], points(labels)
    y, dy = (array.reshape(-1) for array in st.targets.tabulate(function, x))
    axis.plot(grid()[:, 0], true, color="0.65", lw=1.5, label="function")
    axis.plot(grid()[:, 0], fitted.curve, color="C0", lw=2, label="net")
    if labels.with_slopes:
        half = STROKE / np.hypot(1, dy / 2)  # strokes of about one length on the page
        ends = np.stack([x[:, 0] - half, x[:, 0] + half])
        strokes = y + (ends - x[:, 0]) * dy
        axis.plot(ends, strokes, color="C3", lw=3, solid_capstyle="round")
    axis.plot(x[:, 0], y, "o", color="C3", ms=6, zorder=3)
    axis.set(title=f"{labels.title}\nerror {percent(fitted)} of the deviation", xlabel="x")
    axis.set_ylim(true.min() - 0.6, true.max() + 0.6)
    axis.spines[["top", "right"]].set_visible(False)


def percent(fitted: Fit) -> str:
    """Return the error with two digits."""
    return f"{100 * fitted.error:.2g} %"


def draw(fits: dict[Labels, Fit], path: Path) -> None:
    """Draw all panels side by side into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.1), layout="constrained")
    panels = figure.subplots(1, len(fits), sharey=True)
    for axis, (labels, fitted) in zip(panels, fits.items(), strict=True):
        draw_panel(axis, labels, fitted)
    panels[0].legend(frameon=False, loc="upper left", fontsize="small")
    files.write_png(path, figure, dpi=130)


def main(settings: Settings) -> None:
    """Fit the three nets, print their errors, and draw them."""
    folder = Path(settings.workdir)
    run_folder.make_folder(folder)
    run_folder.check_places(folder, ["picture.png"])
    tasks = [
        Labels("7 values", 7, False, settings.seed),
        Labels("14 values", 14, False, settings.seed),
        Labels("7 values and 7 slopes", 7, True, settings.seed),
    ]
    memory.refuse_too_many_nets(settings, len(tasks))
    done = dict(processes.run(fit, tasks, settings.num_workers))
    fits = {labels: done[labels] for labels in tasks}
    rows = [[labels.title, percent(fitted)] for labels, fitted in fits.items()]
    print(text_table.table(["labels", "test error over the function's deviation"], rows))
    draw(fits, folder / "picture.png")
    print(f"\nFigure: {folder / 'picture.png'}")
    print(cli.next_command("learn the paper's seven functions, 12 minutes", "train.regression"))


if __name__ == "__main__":
    cli.run(main, FLAGS)
