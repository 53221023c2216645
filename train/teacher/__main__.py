"""Train the teachers of section 4.2 on Pong, Breakout and Space Invaders by A3C.

To train the paper's teacher net for 10 million agent steps (40 million frames):

    python -m train.teacher --game=breakout

This takes hours on two cores. `--preset=paper` is A3C for the paper's 80 million steps, which take
days; the paper gives no other setting, so they are those of Mnih et al. (2016), but that the
gradient's global norm is clipped to 0.5 and a lost life ends the return. The released
teachers (train/teachers) were trained for fewer steps: Breakout's scores 346 over 30 episodes after
3.2 million steps with `--steps=4000000 --num_evals=20 --unroll_length=8 --nonormalize_advantages`,
Space Invaders' 638 after 9.5 million with `--unroll_length=5 --gae_lambda=1
--nonormalize_advantages --optimizer=rmsprop --learning_rate=7e-4 --value_cost=0.25`.
The run folder holds config.json, metrics.csv, summary.json, curve.png and checkpoints, including
the best one; the same command resumes, with new games. `--init_from=released` starts a new run from
a released teacher.

To play episodes with a trained policy:

    python -m train.teacher --game=breakout --eval_policy=runs/teacher-game=breakout --gif=clip.gif

The policy is a run folder, `released`, an .npz of a teacher, a .keras file or a SavedModel from
frames [B,84,84,4] to logits. `--compare_with=released` tells how far a student is from its teacher
in games of its own.
"""

import math
import os
import time
from collections.abc import Mapping
from typing import Any

from absl import flags

from train.lib.atari import environment, play, policies
from train.lib.run import cli, resumable, run_folder, schema, seeding, summary
from train.lib.run.checkpoints import Checkpoints
from train.lib.run.errors import UsageError
from train.lib.run.metrics_csv import History
from train.lib.run.progress import Clock
from train.lib.run.save_callback import Stopped
from train.lib.run.settings import Settings
from train.teacher import a3c, checks, curve, evaluate
from train.teacher.settings import LearnerSettings

DEFAULTS = LearnerSettings()
# Of A3C the paper names the steps alone; the rest of its preset is that of Mnih et al. (2016).
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"steps": 10_000_000},
    "paper": {
        "steps": 80_000_000,
        "num_actors": 16,
        "num_envs": 1,
        "unroll_length": 5,
        "optimizer": "rmsprop",
        "learning_rate": 7e-4,
        "value_cost": 0.5,
        "entropy_cost": 0.01,
        "gae_lambda": 1.0,
        "discount": 0.99,
        "normalize_advantages": False,
    },
}
UNUSED = ["epochs", "strategy", "devices", "deterministic", "tensorboard"]
FLAGS = cli.common_flags(PRESETS, without=UNUSED)
OWN = {"flag_values": FLAGS}
FLAGS["steps"].help = "Number of agent steps, over all actors."
flags.DEFINE_enum(
    "game", None, list(environment.ACTIONS), "The game (required).", required=True, **OWN
)
flags.DEFINE_string(
    "eval_policy",
    None,
    "Play with this policy instead of training; see above for what it may be.",
    **OWN,
)
flags.DEFINE_string(
    "compare_with",
    None,
    "Policy to compare that of --eval_policy with, at the states that the latter visits.",
    **OWN,
)
flags.DEFINE_string(
    "gif", None, "File for a clip of the first half minute, with --eval_policy.", **OWN
)
flags.DEFINE_string(
    "release",
    None,
    "Write the best teacher of this run folder to train/teachers/, with its card.",
    **OWN,
)
flags.DEFINE_string(
    "init_from", None, "Teacher to start from: a run folder, an .npz or `released`.", **OWN
)
flags.DEFINE_integer(
    "num_actors",
    DEFAULTS.num_actors,
    "Number of asynchronous actor-learners; 1 gives A2C.",
    1,
    **OWN,
)
flags.DEFINE_integer(
    "num_envs", DEFAULTS.num_envs, "Number of games that each actor plays at a time.", 1, **OWN
)
flags.DEFINE_integer(
    "unroll_length",
    DEFAULTS.unroll_length,
    "Agent steps of each game between two updates.",
    1,
    **OWN,
)
flags.DEFINE_enum(
    "optimizer",
    DEFAULTS.optimizer,
    ["adam", "rmsprop"],
    "The optimizer. adam: Adam. rmsprop: A3C's RMSprop.",
    **OWN,
)
flags.DEFINE_float(
    "learning_rate",
    DEFAULTS.learning_rate,
    "Learning rate at the start; it falls to zero over --steps.",
    0.0,
    **OWN,
)
flags.DEFINE_float(
    "value_cost",
    DEFAULTS.value_cost,
    "Weight of the value's squared error in the loss.",
    0.0,
    **OWN,
)
flags.DEFINE_float(
    "entropy_cost",
    DEFAULTS.entropy_cost,
    "Weight of the policy's entropy, which the loss rewards.",
    0.0,
    **OWN,
)
flags.DEFINE_float(
    "gae_lambda",
    DEFAULTS.gae_lambda,
    "Lambda of the generalized advantage estimates; 1 gives n-step returns.",
    0.0,
    1.0,
    **OWN,
)
flags.DEFINE_float(
    "discount",
    DEFAULTS.discount,
    "Discount factor gamma per agent step.",
    0.0,
    1.0,
    **OWN,
)
flags.DEFINE_boolean(
    "normalize_advantages",
    DEFAULTS.normalize_advantages,
    "Normalize advantages to mean 0 and deviation 1 within a batch; A3C does not.",
    **OWN,
)
flags.DEFINE_integer(
    "num_evals",
    50,
    "Number of evaluations, evenly spaced over the training; by default fewer in a short one.",
    1,
    **OWN,
)
flags.DEFINE_integer(
    "eval_episodes", 10, "Episodes of each evaluation, and of --eval_policy.", 1, **OWN
)
flags.DEFINE_float(
    "save_minutes",
    5,
    "Save a checkpoint at least every N minutes; 0: after every step.",
    0.0,
    **OWN,
)

FLAGS_THAT_MAY_CHANGE = ["eval_episodes", "save_minutes"]  # when a run is resumed
# What a checkpoint must say about where the run stands.
NEEDS: dict[str, schema.Kind] = {"seconds": schema.NUMBER, "evaluated": bool}
FRESH = {"step": 0, "seconds": 0.0, "evaluated": True}


def main(settings: Settings) -> None:
    """Train a teacher, or play or release one."""
    settings = checks.with_fewer_evaluations(settings)
    checks.check(settings)
    if settings.eval_policy is None and settings.release is None:
        threads = a3c.num_threads(settings.num_actors)
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    seeding.seed_everything(settings)
    if settings.eval_policy is not None:
        return evaluate.evaluate(
            settings.eval_policy,
            settings.game,
            episodes=settings.eval_episodes,
            seed=settings.seed,
            gif=settings.gif,
            compare_with=settings.compare_with,
        )
    if settings.release is not None:
        return evaluate.release(settings.release, settings.game, settings.seed)
    folder = cli.workdir(settings, leave_out=FLAGS_THAT_MAY_CHANGE)
    with run_folder.Run(
        folder, settings.stored(), "teacher", FLAGS_THAT_MAY_CHANGE, results=["curve.png"]
    ) as run:
        with resumable.caught_signals() as caught:
            rows = train(settings, run, caught)
        finish(settings, run, rows)


def train(settings: Settings, run: run_folder.Run, caught: list[int]) -> list[dict[str, float]]:
    """Learn in `--num_evals` pieces, each of which ends with a row of metrics.csv; return these.

    Args:
      settings: the command's.
      run: the open run folder, from whose last checkpoint the training goes on.
      caught: signals that have arrived; training stops with a checkpoint after the first.
    """
    learner = LearnerSettings.of(settings)
    net = policies.new_teacher(settings.game)
    a3c.compile_net(net, learner, num_updates=math.ceil(settings.steps / learner.batch_size))
    checkpoints = Checkpoints(
        run.path("checkpoints"),
        keep=2,
        monitor="score",
        run=run.id,
        before_save=run.refuse_if_removed,
    )
    last = settings.steps + learner.round_size  # actors end their update
    start = checkpoints.restore_latest(net, last, NEEDS) or initialize(settings, run, net)
    run.add_facts(game_versions=environment.versions())
    # A row whose checkpoint was not written any more is written again.
    last_row = start["step"] if start["evaluated"] else start["step"] - 1
    history = History(run.path("metrics.csv"), last_row, ("step", "seconds", "score"))
    check_rows(history, start)
    print(
        f"{settings.game}, {learner.num_actors} actors, run folder {run.folder}, "
        f"step {start['step']}"
    )
    actors = []
    if len(history.rows) < settings.num_evals:
        # A resumed run begins with new games, on other seeds.
        actors = [
            a3c.Actor(net, settings.game, learner, seed=[settings.seed, start["step"], k])
            for k in range(learner.num_actors)
        ]
    policy = policies.Policy(net, settings.jit_compile)
    clock = Clock(start["step"], settings.steps, start["seconds"], curve.SHOWN)

    def step():
        clock.step = int(net.optimizer.iterations) * learner.batch_size
        return clock.step

    def save(**facts):
        facts |= {"seconds": clock.seconds(), "evaluations": evaluations(history)}
        checkpoints.save(net, step(), **facts)

    while len(history.rows) < settings.num_evals:
        mark = settings.steps * (len(history.rows) + 1) // settings.num_evals
        due, first = time.monotonic() + settings.save_minutes * 60, step()

        def stop(mark=mark, due=due, first=first):  # --save_minutes=0: at every update
            return caught or step() >= mark or (time.monotonic() >= due and step() > first)

        a3c.run(actors, stop, report=lambda: clock.print(curve.finite_logs(curve.logs(actors))))
        if step() > first:  # else the checkpoint of this step may state its evaluation
            save(evaluated=False)
        if step() >= mark and not caught:
            scores = play.scores(
                policy,
                settings.game,
                settings.eval_episodes,
                seed=[settings.seed, step()],
                stop=lambda: caught,
            )
        if caught:
            raise Stopped(caught[0], step(), settings.steps)
        if step() >= mark:
            logs = {"score": float(scores.mean()), **curve.logs(actors)}
            history.append({"step": step(), "seconds": round(clock.seconds(), 1), **logs})
            save(evaluated=True, logs=logs)
            clock.print(logs, now=True)
    return [{name: float(value) for name, value in row.items()} for row in history.rows]


def initialize(settings: Settings, run: run_folder.Run, net: Any) -> dict[str, Any]:
    """Return where a run without a checkpoint starts; give `net` the weights of --init_from."""
    if settings.init_from is not None:
        initial, steps = policies.load_teacher(settings.init_from, settings.game)
        net.set_weights(initial.get_weights())
        run.add_facts(initial={"steps": steps, "sha256": policies.digest(net)})
    return FRESH


def evaluations(history: History) -> list[list[float]]:
    """Return [step, score] of every row."""
    return [[row["step"], row["score"]] for row in history.rows]


def check_rows(history: History, start: Mapping[str, Any]) -> None:
    """Raise UsageError unless metrics.csv has the evaluations that a checkpoint states.

    Args:
      history: metrics.csv.
      start: the checkpoint's facts. Those of older runs state the last evaluation alone.
    """
    if start["evaluated"]:
        resumable.check_last_row(history, start["step"], steps_per_epoch=1)
        resumable.check_logs(history, start.get("logs", {}))
    found = evaluations(history)
    stated = start.get("evaluations", found)
    if not start["evaluated"]:  # a row of this very step is written again
        stated = [each for each in stated if each[0] < start["step"]]
    if stated != found:
        raise UsageError(
            f"{history.path} is of another run or was changed: its evaluations are not those "
            f"before step {start['step']}; {resumable.remedy(history)}"
        )


def finish(settings: Settings, run: run_folder.Run, rows: list[dict[str, float]]) -> None:
    """Write the learning curve and summary.json, and print the best score."""
    [figure] = curve.draw(run.folder)
    best, last = max(rows, key=lambda row: row["score"]), rows[-1]
    head = summary.head(
        run,
        what=f"A3C on {settings.game}: best mean true score of {len(rows)} evaluations",
        name="score",
        value=best["score"],
        unit="points",
        seconds=last["seconds"],
    )
    results = {"game": settings.game, "best": best, "last": last, "facts": run.config["facts"]}
    run.write_summary(head | results)
    print(
        f"{settings.game}: best evaluation {best['score']:.1f} at step {best['step']:.0f}, "
        f"last {last['score']:.1f}\nFigure: {figure}"
    )
    game, teacher = f"--game={settings.game}", f"--teacher={run.folder}"
    print(cli.next_command("record it at play", "train.record", game, teacher))


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
