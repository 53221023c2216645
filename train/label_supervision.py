"""Critics that also learn the loss's derivative in the labels (SM 4.1), on handwritten digits.

    python -m train.label_supervision

SM 4.1 says that a third term in the critics' loss, |dm/dy - dL/dy|², "increased convergence speed
and stability" on a toy MNIST. Under a cross-entropy it compares the critic's log-probabilities of
all classes with the network's. Here a net of three dense layers with one cut learns
scikit-learn's 1,797 digits of 8x8 pixels, with several weights of that term beside the loss and its
gradient (sobolev) or the loss alone (critic), and five seeds. Prints accuracies over the steps and
the steps until 90 %, with deviations over seeds, and the steps that the term saves, with standard
errors; writes curves.json and curves.png into --workdir. Takes ten minutes, and may be stopped at
any moment: the same command trains the nets that are not finished.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
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
    schema,
    summary,
    text_table,
    unused_flags,
)
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings

FLAGS = cli.common_flags(without=cells.UNUSED_FLAGS)
OWN = {"flag_values": FLAGS}
FLAGS.set_default("steps", 500)
FLAGS["steps"].help = "Number of training steps, a multiple of 10."
flags.DEFINE_multi_enum(
    "method",
    ["sobolev", "critic", "backprop"],
    ["sobolev", "critic", "vfbn", "backprop"],
    "What the critic learns besides dL/dy. sobolev: the loss and its gradient. critic: the loss. "
    "vfbn: the gradient. backprop: there is no critic.",
    **OWN,
)
flags.DEFINE_list("label_weights", ["0", "0.01", "0.1", "1"], "Weights of |dm/dy - dL/dy|².", **OWN)
flags.DEFINE_enum(
    "critic_losses", "l1", ["l1", "squared"], "Losses of the critic's other terms.", **OWN
)
flags.DEFINE_float(
    "learning_rate", 0.05, "Learning rate of SGD with momentum 0.9.", 1e-9, 1e3, **OWN
)
flags.DEFINE_float(
    "critic_learning_rate", 1e-3, "Learning rate of the critic's Adam.", 1e-9, 1e3, **OWN
)
cells.define_flags(FLAGS, num_seeds=5, fewest_seeds=2)

CRITIC_FLAGS = ["label_weights", "critic_losses", "critic_learning_rate"]
RESULTS = ["curves.json", "curves.png"]
KINDS: dict[str, schema.Kind] = {"accuracy": list, "cosine": list}
BATCH_SIZE, STEPS_BETWEEN_TESTS = 64, 10
SHOWN_STEPS = (50, 100, 200)  # and the last
GOAL = 0.9  # of test accuracy
LOSSES = {"l1": st.losses.L1Norm, "squared": st.losses.SquaredNorm}


class Task(NamedTuple):
    """A net to train."""

    method: str
    label_weight: float
    seed: int
    steps: int
    learning_rate: float
    critic_learning_rate: float
    critic_losses: str


def make_net() -> keras.Model:
    """Build the net, 64-128-128-10 with ReLUs, to be cut after `lower`."""
    inputs = keras.Input([64])
    h = keras.layers.Dense(128, "relu", name="lower")(inputs)
    h = keras.layers.Dense(128, "relu", name="upper")(h)
    return keras.Model(inputs, keras.layers.Dense(10)(h))


def train(task: Task) -> dict[str, Any]:
    """Train a net; return its test accuracy after every few steps, and its critic's cosine."""
    keras.utils.set_random_seed(task.seed)
    training, test = digits.load()
    net = make_net()
    model = st.DecoupledModel(
        st.split(net, at=[] if task.method == "backprop" else ["lower"]),
        critic=st.synthetic.dense_critic,
        method=task.method,
    )
    model.compile(
        optimizer=keras.optimizers.SGD(task.learning_rate, momentum=0.9),
        critic_optimizer=keras.optimizers.Adam(task.critic_learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        critic_losses=[LOSSES[task.critic_losses]() for _ in range(2)],
        label_weight=task.label_weight,
        steps_per_execution=STEPS_BETWEEN_TESTS,
    )
    batches = st.targets.Table(*training).dataset(BATCH_SIZE, seed=task.seed)
    batches = batches.map(lambda x, labels: (x, labels[0]))
    history = model.fit(
        batches,
        epochs=task.steps // STEPS_BETWEEN_TESTS,
        steps_per_epoch=STEPS_BETWEEN_TESTS,
        validation_data=tf.data.Dataset.from_tensors(test),
        validation_freq=1,
        verbose=0,
    ).history
    curves = {"accuracy": history["val_accuracy"], "cosine": history.get("cut1_cosine", [])}
    return {name: [round(float(a), 4) for a in curve] for name, curve in curves.items()}


def metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a net's row of metrics.csv. Raises ValueError for curves that no such net can have."""
    tests = row["steps"] // STEPS_BETWEEN_TESTS
    schema.check_shares(row["accuracy"], tests)
    if (shape := np.array(row["cosine"], float).shape) not in ((0,), (tests,)):
        raise ValueError(f"its cosines are {list(shape)}, expected {[tests]}")
    reached = {"accuracy": row["accuracy"][-1], "steps_to_goal": steps_to_goal(row["accuracy"])}
    return {name: row[name] for name in ("method", "label_weight", "seed")} | reached


def steps_to_goal(accuracy: Sequence[float]) -> int:
    """Return the first tested step with an accuracy of 90 %; the last step if there is none.

    >>> steps_to_goal([0.5, 0.91, 0.89]), steps_to_goal([0.5])
    (20, 10)
    """
    reached = [k for k, share in enumerate(accuracy, 1) if share >= GOAL]
    return STEPS_BETWEEN_TESTS * (reached[0] if reached else len(accuracy))


def groups(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """Return the rows of every (method, weight), by seed."""
    keys = dict.fromkeys((row["method"], row["label_weight"]) for row in rows)
    by_seed = sorted(rows, key=lambda row: row["seed"])
    return {
        key: [row for row in by_seed if (row["method"], row["label_weight"]) == key] for key in keys
    }


def verdict(rows: Sequence[dict[str, Any]], without: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Compare runs with a weight above 0 with those of weight 0, seed by seed.

    Returns:
      steps_saved: until 90 %, the mean; standard_error: of that; deviation_ratio: of the
      deviations of accuracy over seeds, root mean squares over all tests.
    """
    reached, before = ([steps_to_goal(row["accuracy"]) for row in each] for each in (rows, without))
    saved = np.subtract(before, reached)
    deviations = [
        np.sqrt(np.mean(np.var([row["accuracy"] for row in each], axis=0, ddof=1)))
        for each in (rows, without)
    ]
    return {
        "steps_saved": float(np.mean(saved)),
        "standard_error": float(np.std(saved, ddof=1) / np.sqrt(len(saved))),
        "deviation_ratio": float(deviations[0] / deviations[1]),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of accuracies, of steps until 90 %, and of what the term changes.

    Steps with ">" are of nets of which some never reach 90 %: these count with their last step.
    """
    steps = len(rows[0]["accuracy"]) * STEPS_BETWEEN_TESTS
    shown = [step for step in SHOWN_STEPS if step < steps] + [steps]
    header = ["method", "weight", *[f"at {step}" for step in shown], "steps to 90 %", "cosine"]
    header += ["steps saved", "deviation over that without"]
    found, lines = groups(rows), []
    for (method, weight), group in found.items():
        cosines = [row["cosine"][-1] for row in group if row["cosine"]]
        line = [method, f"{weight:g}"]
        for step in shown:
            at = [100 * row["accuracy"][step // STEPS_BETWEEN_TESTS - 1] for row in group]
            line.append(f"{np.mean(at):.1f} ±{np.std(at, ddof=1):.1f}")
        reached = [steps_to_goal(row["accuracy"]) for row in group]
        above = ">" if any(max(row["accuracy"]) < GOAL for row in group) else ""
        line.append(f"{above}{np.mean(reached):.0f} ±{np.std(reached, ddof=1):.0f}")
        line.append(f"{np.mean(np.array(cosines, float)):.2f}" if cosines else "")
        changes = ["", ""]
        if weight and (method, 0.0) in found:
            change = verdict(group, found[method, 0.0])
            changes = [
                f"{change['steps_saved']:.0f} ±{change['standard_error']:.0f}",
                f"{change['deviation_ratio']:.2f}",
            ]
        lines.append(line + changes)
    return text_table.table(header, lines)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw test accuracy over steps, a panel for each method, means with deviations over seeds."""
    from matplotlib.figure import Figure

    found = groups([row for row in rows if row["method"] != "backprop"])
    backprop = [row["accuracy"] for row in rows if row["method"] == "backprop"]
    methods = list(dict.fromkeys(method for method, _ in found)) or ["backprop"]
    figure = Figure(figsize=(4.6 * len(methods), 3.4), layout="constrained")
    panels = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    for axis, method in zip(panels, methods, strict=True):
        curves = {f"weight {w:g}": g for (m, w), g in found.items() if m == method}
        for number, (label, group) in enumerate(curves.items()):
            _band(axis, [row["accuracy"] for row in group], f"C{number}", label)
        if backprop:
            _band(axis, backprop, "0.5", "backprop")
        axis.set(title=method, xlabel="step", ylim=(60, 100))
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("test accuracy, %")
    panels[-1].legend(frameon=False, loc="lower right")
    files.write_png(path, figure, dpi=130)


def _band(axis: Any, curves: Sequence[Sequence[float]], color: str, label: str) -> None:
    steps = STEPS_BETWEEN_TESTS * np.arange(1, len(curves[0]) + 1)
    mean, deviation = 100 * np.mean(curves, axis=0), 100 * np.std(curves, axis=0, ddof=1)
    axis.plot(steps, mean, color=color, lw=1.5, label=label)
    axis.fill_between(steps, mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0)


def all_tasks(settings: Settings) -> list[Task]:
    """Return every net to train.

    Raises:
      UsageError: for flags that make no sense, or too many nets.
    """
    if settings.steps % STEPS_BETWEEN_TESTS:
        raise UsageError(
            f"--steps={settings.steps}: expected a multiple of {STEPS_BETWEEN_TESTS}, the steps "
            "between two tests"
        )
    methods = list(dict.fromkeys(settings.method))
    if methods == ["backprop"]:
        unused_flags.refuse(settings, CRITIC_FLAGS, "--method=backprop, which has no critic")
    weights = list_flags.distinct_numbers(settings, "label_weights", zero=True)
    seeds = cells.seeds(settings)
    memory.refuse_too_many_nets(settings, len(methods) * len(weights) * settings.num_seeds)
    return [
        Task(
            method=method,
            label_weight=weight,
            seed=seed,
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            critic_learning_rate=settings.critic_learning_rate,
            critic_losses=settings.critic_losses,
        )
        for method in methods
        for weight in ([0.0] if method == "backprop" else weights)
        for seed in seeds
    ]


def main(settings: Settings) -> None:
    """Train every net that has no file yet, and report on all of them."""
    tasks = all_tasks(settings)
    folder = cli.workdir(settings, cells.FLAGS_THAT_MAY_CHANGE)
    with run_folder.Run(
        folder, settings.stored(), "label_supervision", cells.FLAGS_THAT_MAY_CHANGE, RESULTS
    ) as run:
        training, test = digits.load()
        run.add_facts(training_digits=len(training[1]), test_digits=len(test[1]))
        print(f"{len(tasks)} nets in {run.folder}", flush=True)
        nets = json_nets.JsonNets(train, KINDS, metrics)
        report(run, nets.train_missing(run, tasks, settings.num_workers))


def report(run: run_folder.Run, rows: Sequence[dict[str, Any]]) -> None:
    """Write summary.json, curves and figure, and print the table."""
    found = groups(rows)
    method, weight = max(found, key=lambda key: key[1])
    head = summary.head(
        run,
        what=f"{method} with label weight {weight:g} on digits",
        name="accuracy",
        value=float(np.mean([100 * row["accuracy"][-1] for row in found[method, weight]])),
        unit="%",
        seconds=sum(row["seconds"] for row in rows),
    )
    changes = [
        {"method": m, "label_weight": w, **verdict(group, found[m, 0.0])}
        for (m, w), group in found.items()
        if w and (m, 0.0) in found
    ]
    run.write_summary(head | {"over_no_label_term": changes})
    facts = {"rows": rows, "commit": run.config["commit"], "versions": run.config["versions"]}
    files.write_json(run.path("curves.json"), facts)
    print(f"\n{table(rows)}\n")
    draw(rows, run.path("curves.png"))
    print(f"Figure: {run.path('curves.png')}")
    print(cli.next_command("try it on CIFAR-10", "train.cifar10", "--label_weight=1"))


if __name__ == "__main__":
    cli.run(main, FLAGS)
