"""Speed and accuracy of the core, each number a ratio or an error measured in one run.

    python -m train.bench                          # all but the long suites
    python -m train.bench --suite=speed --workdir=runs/bench

Prints a table, and writes it to bench.json in --workdir. A number with a bar says so; suites:

    exactness   derivatives and the loss's gradient against finite differences, in float64;
                random projections against the full loss
    cost        a Sobolev step over a plain one, beside the ratio of their arithmetic counts
    jacobians   a step on whole Jacobians of 1 to 400 inputs and outputs, over the same labels along
                axes, and beside JAX by hand
    speed       `fit` against hand-written steps: TensorFlow, and JAX and PyTorch where they are
                installed (`pip install -e ".[bench]"`); what the checks of data cost
    quickstart  the README's example with derivatives over without
    atari       agent steps a second of A3C and of recording, beside the environment alone, one
                synchronous loop, and Stable-Baselines3's A2C, where it is installed
    distill     a Sobolev step of distillation over one on values only, and their arithmetic counts
    decoupled   split ResNet50 over backpropagation; ImageNet's input pipeline, where prepared
    stages      two stages on two single-core workers over loopback: decoupled, with and without
                training of the critic, against model-parallel backpropagation (four minutes)
    imagenet    split ResNet50 at 224x224 over backpropagation, and the days that ImageNet would
                take on accelerators (five minutes)
    peers       section 4.1's functions from 20 and 100 points: test RMSE and seconds of JENN, SMT,
                DeepXDE, PyTorch and JAX by hand, and `train.regression`'s presets (over an hour)
    pricing     train.pricing's basket over a hand-written JAX loop: errors and processor seconds
                (a minute)
    architectures
                a Sobolev step over a plain one on an LSTM, a Transformer encoder and a U-Net:
                time, arithmetic count, memory (three minutes)
    share       derivatives of a share of a batch's rows (`derivative_share`): errors at equal
                processor time (a quarter of an hour)
    engineering functions of 6 to 10 inputs from 10 and 30 points an input: errors of
                `fit_surrogate`, JENN, SMT and a Gaussian process with gradients (over an hour;
                --points_per_input=10 takes a few minutes)
    cluster     ResNet50 with three cuts on 8 to 256 accelerators, computed from step times and
                bytes; two workers on loopback over one process (three minutes)
    checkpoints what checkpoints cost of a run, and how long a killed train.cifar10 takes until its
                next step (needs cifar10, two minutes)
    soak        memory, threads, open files and files on disk while `fit` and the actor-critic train
                for an hour, side by side (--minutes=60); soak.csv and soak.png in --workdir

Timings need a machine on which nothing else runs.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from absl import flags

from train.bench import (
    architectures,
    atari,
    benchmark,
    checkpoints,
    cluster,
    cost,
    decoupled,
    distill,
    engineering,
    exactness,
    imagenet,
    jacobians,
    pricing,
    quickstart,
    regression,
    share,
    soak,
    speed,
    stages,
)
from train.lib.run import cli, files, list_flags, run_folder, unused_flags
from train.lib.run.settings import Settings

SUITES: dict[str, Callable[[], benchmark.Rows]] = {
    "exactness": exactness.rows,
    "cost": cost.rows,
    "jacobians": jacobians.rows,
    "speed": speed.rows,
    "quickstart": quickstart.rows,
    "atari": atari.rows,
    "distill": distill.rows,
    "decoupled": decoupled.rows,
    "architectures": architectures.rows,
    "share": share.rows,
    "stages": stages.rows,
    "imagenet": imagenet.rows,
    "peers": regression.rows,
    "pricing": pricing.rows,
    "engineering": engineering.rows,
    "cluster": cluster.rows,
    "checkpoints": checkpoints.rows,
    "soak": soak.rows,
}
LONG = (
    "soak",
    "checkpoints",
    "imagenet",
    "peers",
    "pricing",
    "engineering",
    "share",
    "cluster",
    "architectures",
)

FLAGS = flags.FlagValues()
flags.DEFINE_enum(
    "suite", "all", ["all", *SUITES], "What to measure; see above.", flag_values=FLAGS
)
flags.DEFINE_list(
    "points_per_input",
    ["10", "30"],
    "Numbers of training points over the inputs, for --suite=engineering.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_enum(
    "learner",
    list(engineering.LEARNERS),
    list(engineering.LEARNERS),
    "Learners of --suite=engineering.",
    flag_values=FLAGS,
)
flags.DEFINE_float("minutes", 60.0, "Length of --suite=soak.", 0.01, flag_values=FLAGS)
flags.DEFINE_string(
    "workdir", None, "Folder for bench.json. Default: only print.", flag_values=FLAGS
)


SUITE_OF_FLAG = {"points_per_input": "engineering", "learner": "engineering", "minutes": "soak"}


def main(settings: Settings) -> None:
    """Measure the suites, print their numbers, and write them to bench.json."""
    for name, suite in SUITE_OF_FLAG.items():
        if settings.suite != suite:
            unused_flags.refuse(
                settings, [name], f"--suite={settings.suite}, only for --suite={suite}"
            )
    sizes = list_flags.distinct_whole_numbers(settings, "points_per_input")
    chosen_rows = partial(engineering.rows, sizes=sizes, learners=settings.learner)
    soak_rows = partial(soak.rows, minutes=settings.minutes, workdir=settings.workdir)
    suites = SUITES | {"engineering": chosen_rows, "soak": soak_rows}
    if settings.workdir:
        run_folder.make_folder(Path(settings.workdir))
        run_folder.check_places(Path(settings.workdir), ["bench.json"])
    chosen = [settings.suite]
    if settings.suite == "all":
        chosen = [name for name in SUITES if name not in LONG]
    facts = {"commit": run_folder.git_commit(), "versions": run_folder.versions()}
    rows = []
    for suite in chosen:
        for name, number in suites[suite]():
            print(f"{number:12.4g}  {name}", flush=True)
            rows.append({"name": name, "number": float(number)})
        if settings.workdir:  # what is measured stays if a later suite fails
            files.write_json(Path(settings.workdir, "bench.json"), facts | {"rows": rows})


if __name__ == "__main__":
    cli.run(main, FLAGS)
