"""Gradient-based attention transfer (SM 5) on few handwritten digits.

    python -m train.attention_transfer

A teacher learns 1,297 of scikit-learn's digits of 8x8 pixels. Students learn the first 50 and 200
of them: from labels only; by *distill*, from the teacher's probabilities; by *transfer*, which
lowers their loss and matches its input gradient with the teacher's; and by *sobolev*, which matches
the teacher's loss and its gradient. Prints test accuracies with deviations over five seeds, and
gains over labels with standard errors, for several weights alpha of the gradient; writes
accuracies.json and accuracies.png into --workdir. Takes ten minutes, and may be stopped at any
moment: the same command trains the students that are not finished.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from absl import flags

import sobolev_tf as st
from train.lib.images import digits
from train.lib.run import (
    cells,
    cli,
    files,
    json_nets,
    list_flags,
    memory,
    run_folder,
    schedule,
    schema,
    summary,
    text_table,
)
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings

FLAGS = cli.common_flags(without=cells.UNUSED_FLAGS)
OWN = {"flag_values": FLAGS}
FLAGS.set_default("steps", 300)
FLAGS["steps"].help = "Number of training steps of a student."
flags.DEFINE_list("num_points", ["50", "200"], "Numbers of training digits.", **OWN)
flags.DEFINE_list("alphas", ["0.1", "1"], "Weights of the gradient's term.", **OWN)
flags.DEFINE_float("learning_rate", 0.003, "Of Adam.", 1e-9, 1e3, **OWN)
cells.define_flags(FLAGS, num_seeds=5, fewest_seeds=2)

RESULTS = ["accuracies.json", "accuracies.png"]
KINDS: dict[str, schema.Kind] = {"accuracy": schema.NUMBER, "teacher": schema.NUMBER}
BATCH_SIZE = 50
STEPS_PER_EXECUTION = 20  # at most
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Task(NamedTuple):
    """A student to train."""

    num_points: int
    method: str
    alpha: float
    seed: int
    steps: int
    learning_rate: float


def make_net(width: int) -> keras.Model:
    """Build a classifier of two hidden layers."""
    layers = [keras.layers.Dense(width, "silu") for _ in range(2)]
    return keras.Sequential([keras.Input([64]), *layers, keras.layers.Dense(10)])


@functools.cache
def teacher() -> keras.Model:
    """Train the teacher on all training digits, once in a process."""
    keras.utils.set_random_seed(0)
    net = make_net(256)
    net.compile(keras.optimizers.Adam(1e-3), LOSS)
    net.fit(*digits.load()[0], batch_size=BATCH_SIZE, epochs=20, verbose=0)
    return net


def accuracy(net: keras.Model) -> float:
    """Return the share of test digits that a net classifies correctly."""
    _, (x, y) = digits.load()
    return float(np.mean(net.predict(x, verbose=0).argmax(1) == y))


def loss_model(student: keras.Model, task: Task, optimizer: Any) -> st.SobolevModel:
    """Return the model of the student's loss, which learns by transfer, or towards the teacher's.

    With alpha 0 transfer is training on the labels only.
    """
    target = st.targets.Teacher(st.distillation.loss_net(teacher(), LOSS))
    model = st.SobolevModel(st.distillation.loss_net(student, LOSS), target=target, wrt="x")
    model.compile(
        optimizer,
        loss=[
            st.losses.L1Norm() if task.method == "sobolev" else st.losses.Prediction(),
            st.losses.Norm(),
        ],
        loss_weights=[1.0, task.alpha],
        steps_per_execution=schedule.largest_divisor(task.steps, STEPS_PER_EXECUTION),
    )
    return model


def train(task: Task) -> dict[str, Any]:
    """Train a student; return its test accuracy, and the teacher's, as shares."""
    teacher()  # before the seed is set
    keras.utils.set_random_seed(task.seed)
    student = make_net(64)
    x, y = (array[: task.num_points] for array in digits.load()[0])
    optimizer = keras.optimizers.Adam(task.learning_rate)
    if task.method == "distill":
        divergence = "teacher_student"  # the usual direction of distillation
        distiller = st.PolicyDistiller(student, teacher(), alpha=0.0, divergence=divergence)
        steps_per_execution = schedule.largest_divisor(task.steps, STEPS_PER_EXECUTION)
        distiller.compile(optimizer, steps_per_execution=steps_per_execution)
        distiller.fit(x, batch_size=BATCH_SIZE, steps_per_epoch=task.steps, verbose=0)
    else:
        model = loss_model(student, task, optimizer)
        data = {"x": x, "y": y}
        model.fit(data, batch_size=BATCH_SIZE, steps_per_epoch=task.steps, verbose=0)
    return {"accuracy": accuracy(student), "teacher": accuracy(teacher())}


def metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a student's row of metrics.csv. Raises ValueError for accuracies that are none."""
    schema.check_shares([row["accuracy"], row["teacher"]], 2)
    return {name: row[name] for name in ("num_points", "method", "alpha", "seed", "accuracy")}


def all_tasks(settings: Settings) -> list[Task]:
    """Return every student to train.

    Raises:
      UsageError: for flags that make no sense, or too many students.
    """
    sizes = list_flags.distinct_whole_numbers(settings, "num_points")
    (x, _), _ = digits.load()
    if max(sizes) > len(x):
        raise UsageError(f"--num_points={max(sizes)}: there are {len(x)} training digits")
    alphas = list_flags.distinct_numbers(settings, "alphas")
    learned = [("labels", 0.0), ("distill", 0.0)]
    learned += [(method, a) for method in ("transfer", "sobolev") for a in alphas]
    seeds = cells.seeds(settings)
    memory.refuse_too_many_nets(settings, len(sizes) * len(learned) * settings.num_seeds)
    return [
        Task(size, method, alpha, seed, settings.steps, settings.learning_rate)
        for size in sorted(sizes)
        for method, alpha in learned
        for seed in seeds
    ]


def groups(rows: Sequence[dict[str, Any]]) -> dict[tuple, list[float]]:
    """Return {(digits, method, alpha): accuracies in %}."""
    found: dict[tuple, list[float]] = {}
    for row in rows:
        key = row["num_points"], row["method"], row["alpha"]
        found.setdefault(key, []).append(100 * row["accuracy"])
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of mean accuracies, and of the gain over labels only, seed by seed."""
    found, lines = groups(rows), []
    for (size, method, alpha), shares in found.items():
        gain = np.subtract(shares, found[size, "labels", 0.0])
        error = np.std(gain, ddof=1) / np.sqrt(len(gain))
        lines.append(
            [
                f"{size} digits, {method}",
                f"{alpha:g}" if alpha else "",
                f"{np.mean(shares):.1f} ±{np.std(shares, ddof=1):.1f}",
                "" if method == "labels" else f"{np.mean(gain):.1f} ±{error:.1f}",
            ]
        )
    lines.append(["teacher, all digits", "", f"{100 * rows[0]['teacher']:.1f}", ""])
    return text_table.table(["student", "alpha", "test accuracy", "gain"], lines)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw every student's accuracy, a panel for each number of digits."""
    from matplotlib.figure import Figure

    found = groups(rows)
    sizes = list(dict.fromkeys(size for size, _, _ in found))
    figure = Figure(figsize=(4.4 * len(sizes), 3.0), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for axis, size in zip(panels, sizes, strict=True):
        shown = {(m, a): shares for (s, m, a), shares in found.items() if s == size}
        for place, ((method, _), shares) in enumerate(shown.items()):
            color = {"labels": "0.4", "distill": "C2", "transfer": "C0", "sobolev": "C1"}[method]
            axis.plot(shares, [place] * len(shares), "o", color=color, alpha=0.5, mew=0)
            axis.plot([np.mean(shares)], [place], "|", color=color, ms=22, mew=2.5)
        names = [f"{method} {alpha:g}" if alpha else method for method, alpha in shown]
        axis.set_yticks(range(len(names)), names)
        axis.set(title=f"{size} training digits", xlabel="test accuracy, %")
        axis.margins(y=0.1)
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    files.write_png(path, figure, dpi=130)


def main(settings: Settings) -> None:
    """Train every student that has no file yet, and report on all of them."""
    tasks = all_tasks(settings)
    folder = cli.workdir(settings, cells.FLAGS_THAT_MAY_CHANGE)
    with run_folder.Run(
        folder, settings.stored(), "attention_transfer", cells.FLAGS_THAT_MAY_CHANGE, RESULTS
    ) as run:
        training, test = digits.load()
        run.add_facts(training_digits=len(training[1]), test_digits=len(test[1]))
        print(f"{len(tasks)} students in {run.folder}", flush=True)
        nets = json_nets.JsonNets(train, KINDS, metrics)
        report(run, nets.train_missing(run, tasks, settings.num_workers))


def report(run: run_folder.Run, rows: Sequence[dict[str, Any]]) -> None:
    """Write summary.json, accuracies and figure, and print the table."""
    found = groups(rows)
    size, method, alpha = [key for key in found if key[0] == rows[0]["num_points"]][-1]
    head = summary.head(
        run,
        what=f"students of {size} digits by {method}, alpha {alpha:g}",
        name="accuracy",
        value=float(np.mean(found[size, method, alpha])),
        unit="%",
        seconds=sum(row["seconds"] for row in rows),
    )
    names = ("num_points", "method", "alpha", "accuracies")
    students = [dict(zip(names, (*key, shares), strict=True)) for key, shares in found.items()]
    run.write_summary(head | {"students": students})
    facts = {"rows": rows, "commit": run.config["commit"], "versions": run.config["versions"]}
    files.write_json(run.path("accuracies.json"), facts)
    print(f"\n{table(rows)}\n")
    draw(rows, run.path("accuracies.png"))
    print(f"Figure: {run.path('accuracies.png')}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
