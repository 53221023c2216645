"""Distill a recorded teacher into smaller students (section 4.2).

    python -m train.record --game=breakout --teacher=released --workdir=runs/recording
    python -m train.distill --game=breakout --recording=runs/recording --train_percent=10

This trains the paper's student net on the first 10 % of the recording, once by KL only (values
only) and once with the teacher's projected input gradients as well (Sobolev), and tests both on
later episodes. `--train_percent=1,5,10,25,50`, the default, gives all of figure 4. Without
--learning_rate and --alpha, each method first searches for its own, on held-out episodes of the
first --search_percent %. The trials of the search are long, because a large alpha slows learning
at first and pays later.

`--preset=paper` searches the paper's range of rates and tests on all later episodes, which takes
hours. The paper gives neither the number of steps (10,000 here, also in the search) nor alpha.

The run folder holds metrics.csv, summary.json, figure4.png (test KL, and action error: how often
the most probable actions differ), episodes.csv (both by test episode), every student in nets/, and
the best student's saved_model, which `python -m train.teacher --eval_policy` plays. The printed
table compares students with the best constant policy. The same command resumes a stopped run (a
trial starts over); --train_percent and --method may then have more values. A Sobolev step takes
four times as long as one on values only (`python -m train.bench --suite=distill`).
"""

from pathlib import Path
from typing import Any

import keras
from absl import flags

import sobolev_tf as st
from train.distill import grids, recorded_teacher, report, splits, students
from train.distill.search import search_rate_and_alpha
from train.distill.students import METHODS, STEP_COST, Study, Trial
from train.lib.atari import environment, policies, recordings
from train.lib.run import (
    cli,
    export,
    identity,
    list_flags,
    memory,
    resumable,
    run_folder,
    schedule,
    seeding,
)
from train.lib.run.errors import UsageError
from train.lib.run.progress import Bar, Progress
from train.lib.run.settings import Settings

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"steps": 2000},
    "paper": {  # and --steps, which the paper does not give
        "steps": 10_000,
        "learning_rates": ["1e-5", "1e-4", "1e-3"],
        "search_steps": 10_000,
        "batch_size": 200,
        "train_percent": ["1", "5", "10", "25", "50"],
        "num_test_stacks": 0,
    },
}
FLAGS = cli.common_flags(PRESETS, without=["epochs", "strategy", "devices", "tensorboard"])
OWN = {"flag_values": FLAGS}
FLAGS.set_default("steps", 2000)
flags.DEFINE_enum(
    "game", None, list(environment.ACTIONS), "The game (required).", required=True, **OWN
)
flags.DEFINE_list(
    "method",
    list(METHODS),
    "What students learn. values: the teacher's policy. sobolev: its input gradients too.",
    **OWN,
)
flags.DEFINE_string(
    "recording", None, "Run folder of train.record (required).", required=True, **OWN
)
flags.DEFINE_string("teacher", None, "The recorded policy. Default: the one in --recording.", **OWN)
flags.DEFINE_list(
    "train_percent",
    ["1", "5", "10", "25", "50"],
    "Shares of the recording to train on, in percent.",
    **OWN,
)
flags.DEFINE_enum(
    "train_boundary",
    "step",
    ["step", "episode"],
    "Where the training steps end. step: at exactly --train_percent %. episode: at the end of the "
    "last whole episode before that. Tests never use an episode that is cut.",
    **OWN,
)
flags.DEFINE_float(
    "test_percent",
    None,
    "Test on the last N % only, so that every share has the same test. Default: all the rest.",
    0,
    100,
    **OWN,
)
flags.DEFINE_integer(
    "num_test_stacks", 10_000, "Stacks of frames in an evaluation, evenly spaced; 0: all.", 0, **OWN
)
flags.DEFINE_integer("batch_size", 200, "Stacks of frames in a training step.", 1, **OWN)
flags.DEFINE_float(
    "learning_rate",
    None,
    "Adam's learning rate, for all methods. Default: found by a search.",
    0.0,
    **OWN,
)
flags.DEFINE_enum(
    "schedule",
    "constant",
    ["constant", "cosine"],
    "Schedule of the learning rate. constant: it stays. cosine: it falls to zero.",
    **OWN,
)
flags.DEFINE_float(
    "alpha", None, "Weight of the gradient term. Default: found by a search.", 0.0, **OWN
)
flags.DEFINE_enum(
    "divergence",
    "student_teacher",
    st.distillation.DIVERGENCES,
    "The divergence to minimize and to report. student_teacher: KL(student ‖ teacher). "
    "teacher_student: KL(teacher ‖ student).",
    **OWN,
)
flags.DEFINE_integer("num_projections", 1, "Random directions per stack of frames, P.", 1, **OWN)
flags.DEFINE_float(
    "derivative_share",
    1.0,
    "Share of a batch at which gradients are compared; below 1, a step costs less and is noisier.",
    0.001,
    1.0,
    **OWN,
)
flags.DEFINE_list("learning_rates", ["3e-4", "1e-3", "3e-3"], "Learning rates to search.", **OWN)
flags.DEFINE_list("alphas", ["0.01", "0.03", "0.1"], "Values of --alpha to search.", **OWN)
flags.DEFINE_integer("search_steps", 1000, "Training steps of each trial of the search.", 1, **OWN)
flags.DEFINE_float(
    "search_percent", 10, "Share of the recording to search on, in percent.", 0, 100, **OWN
)
flags.DEFINE_integer(
    "num_evals",
    20,
    "Number of evaluations, evenly spaced over the training: fewer where it does not divide "
    "--steps.",
    1,
    **OWN,
)
flags.DEFINE_integer(
    "eval_episodes", 10, "Episodes that each method's best student plays; 0: none.", 0, **OWN
)
flags.DEFINE_float(
    "save_minutes",
    5,
    "Save a checkpoint at least every N minutes; 0: after every step.",
    0.0,
    **OWN,
)

FLAGS_THAT_MAY_GROW = ["eval_episodes", "method", "save_minutes", "train_percent"]
FLAGS_THAT_MAY_CHANGE = [*FLAGS_THAT_MAY_GROW, "recording"]
RESULTS = ["figure4.png", "saved_model"]


def main(settings: Settings) -> None:
    """Train and test a student for each share of the recording and each method."""
    percents = sorted(list_flags.distinct_numbers(settings, "train_percent", below=100))
    choices = grids.grids(settings)
    refuse_too_large(settings)
    seeding.seed_everything(settings)
    folder = cli.workdir(settings, leave_out=FLAGS_THAT_MAY_GROW)
    with run_folder.Run(
        folder, settings.stored(), "distill", FLAGS_THAT_MAY_CHANGE, results=RESULTS
    ) as run:
        study = load(settings)
        lengths = study.recording.lengths
        split_steps = {percent: splits.by_time(settings, lengths, percent) for percent in percents}
        searches = any(grid.num_trials for grid in choices.values())
        search_split = splits.for_search(settings, lengths) if searches else None
        run.add_facts(recording=study.recording.facts(), game_versions=environment.versions())
        run.path("nets").mkdir(exist_ok=True)
        run.path("search").mkdir(exist_ok=True)

        missing = [
            (percent, method)
            for percent in percents
            for method in choices
            if not students.is_done(students.folder(run, percent, method))
        ]
        untrained = {method: choices[method] for _, method in missing}
        bar = Bar(work(settings, missing, untrained))
        best = {
            method: search_rate_and_alpha(new_student, study, method, grid, search_split, run, bar)
            for method, grid in untrained.items()
        }
        for number, (percent, method) in enumerate(missing, 1):
            learning_rate, alpha = best[method]
            name = f"{percent:g} %, {METHODS[method]}"
            print(
                f"\nnet {number} of {len(missing)}, {name}: learning_rate {learning_rate:g}, "
                f"alpha {alpha:g}",
                flush=True,
            )
            training, test = split_steps[percent]
            trial = Trial(method, learning_rate, alpha, settings.steps, train=training, test=test)
            folder = students.folder(run, percent, method)
            train_student(study, trial, percent, folder, run.id)
            bar.add(STEP_COST[method] * settings.steps, f"trained {name}")
        report.finish(study, run)


def refuse_too_large(settings: Settings) -> None:
    """Raise UsageError if a batch, or the games to play, are more than fits into memory."""
    # The stacks as floats, and the gradients of teacher and student in each direction.
    copies = 1 + 2 * settings.num_projections * ("sobolev" in settings.method)
    memory.refuse_more_than_there_is(
        f"--batch_size={settings.batch_size} --num_projections={settings.num_projections}",
        settings.batch_size * copies * environment.STACK_BYTES * memory.FLOAT,
    )
    memory.refuse_more_than_there_is(
        f"--eval_episodes={settings.eval_episodes}",
        settings.eval_episodes * environment.GAME_BYTES,
    )


def load(settings: Settings) -> Study:
    """Read the recording and, where a method needs its gradients, the teacher."""
    data, beside = recordings.find(settings.recording)
    path = recorded_teacher.find(settings.teacher, beside)
    needed = "sobolev" in settings.method
    if needed and path is None:
        raise UsageError(f"{beside} holds no teacher: give one, --teacher=PATH")
    if path is not None:
        policies.existing(path, settings.game)  # before the reading, which may take minutes
    recording = recordings.read(data, settings.game)
    teacher = recorded_teacher.load(path, settings.game, recording) if needed and path else None
    return Study(settings, recording, teacher)


def work(settings: Settings, missing: list, untrained: dict) -> int:
    """Return what searches and trainings cost in all, in steps on values only; at least 1."""
    trainings = sum(STEP_COST[method] * settings.steps for _, method in missing)
    trials = sum(STEP_COST[method] * grid.num_trials for method, grid in untrained.items())
    return trainings + trials * settings.search_steps or 1


def new_student(study: Study, trial: Trial) -> st.PolicyDistiller:
    """Return the paper's student net in a distiller, compiled, with the weights of --seed."""
    settings = study.settings
    keras.utils.set_random_seed(settings.seed)
    student = st.nets.atari_student(
        len(environment.ACTIONS[settings.game]), environment.BACKGROUND[settings.game]
    )
    model = st.PolicyDistiller(
        student,
        teacher=study.teacher if trial.method == "sobolev" else None,
        alpha=trial.alpha if trial.method == "sobolev" else 0,
        divergence=settings.divergence,
        uint8_images=True,
        projections=settings.num_projections,
        seed=settings.seed,
    )
    learning_rate = trial.learning_rate
    if settings.schedule == "cosine":
        learning_rate = keras.optimizers.schedules.CosineDecay(learning_rate, trial.steps)
    model.compile(
        keras.optimizers.Adam(learning_rate),
        jit_compile=settings.jit_compile,
        derivative_share=settings.derivative_share,
    )
    return model


def train_student(study: Study, trial: Trial, percent: float, folder: Path, run_id: str) -> None:
    """Train a student in a run folder of its own, or resume it; test and export it.

    `run_id` tells the run that the student belongs to.
    """
    settings = study.settings
    described = {
        "train_percent": percent,
        "method": trial.method,
        "learning_rate": trial.learning_rate,
        "alpha": trial.alpha,
        "steps": trial.steps,
    }
    sizes = {"training_steps": len(trial.train), "test_steps": len(trial.test)}
    with run_folder.Run(folder, described, students.SCRIPT, results=["saved_model"]) as run:
        run.add_facts(**sizes, study=run_id)
        model = new_student(study, trial)
        epochs, steps_per_epoch = schedule.pieces(trial.steps, settings.num_evals)
        rows = resumable.fit(
            model,
            lambda start: study.stream(trial.train, start),
            run,
            epochs,
            steps_per_epoch,
            validation_data=study.test_batches(trial.test),
            callbacks=[Progress(trial.steps, students.SHOWN, left="left of this net")],
            saving=resumable.Saving(minutes=settings.save_minutes, keep=1),
            verbose=0,
        )
        run.path("summary.json").unlink(missing_ok=True)  # it has the digest of the model before
        stacks, _ = next(iter(recordings.in_order(study.recording, trial.test[:4], 4)))
        export.save(model, run.path("saved_model"), stacks)
        results = {
            "test_kl": rows[-1]["val_kl"],
            "test_action_error": rows[-1]["val_action_error"],
            "seconds": rows[-1]["seconds"],
            "saved_model": identity.digest(run.path("saved_model")),
            "study": run_id,
        }
        run.write_summary(described | sizes | results)


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
