"""The teachers of section 4.2: Pong, Breakout and Space Invaders, learnt by A3C.

    python -m train.teacher --game=breakout

trains the paper's teacher net for 10 million agent steps (40 million frames), which takes hours on
two cores. The released teachers (train/teachers) have less: Breakout's, of 3.2 million steps of
`--steps=4000000 --evaluations=20 --rollout=8 --nostandardize`, scores 346 over 30 episodes.
The paper trains for 80 million steps. The run folder holds config.json, metrics.csv, summary.json,
curve.png and checkpoints, the best one among them; the same command resumes, with new games.
`--initial=released` trains a released teacher on, in a run of its own.

    python -m train.teacher --game=breakout --evaluate=runs/teacher-game=breakout --gif=clip.gif

plays episodes with a trained policy: a run folder, `released`, an .npz of a teacher, a .keras file
or a SavedModel from frames [B,84,84,4] to logits.
"""

import math
import os
import time

from absl import flags

from train.lib.atari import environment, play, policies
from train.lib.run import cli, run_folder, seeding
from train.lib.run.checkpoints import Checkpoints
from train.lib.run.clock import Clock
from train.lib.run.metrics_csv import History
from train.lib.run.resumable import caught_signals
from train.lib.run.save_callback import Stopped
from train.teacher import a3c, curve, evaluate

FLAGS = cli.common_flags(without=["epochs", "strategy", "devices", "deterministic", "tensorboard"])
OWN = {"flag_values": FLAGS}
FLAGS.set_default("steps", 10_000_000)
flags.DEFINE_enum("game", None, list(environment.ACTIONS), "The game.", required=True, **OWN)
flags.DEFINE_string(
    "initial", None, "Train this teacher on: a run folder, an .npz or `released`.", **OWN
)
flags.DEFINE_integer("actors", 2, "Asynchronous actor-learners; 1 is A2C.", 1, **OWN)
flags.DEFINE_integer("envs", 16, "Games that an actor plays side by side.", 1, **OWN)
flags.DEFINE_integer("rollout", 16, "Steps of every game between two updates.", 1, **OWN)
flags.DEFINE_enum("optimizer", "adam", ["adam", "rmsprop"], "RMSprop is A3C's.", **OWN)
flags.DEFINE_float("rate", 5e-4, "Learning rate at the start; it falls to zero.", 0.0, **OWN)
flags.DEFINE_float("entropy", 0.01, "Weight of the policy's entropy.", 0.0, **OWN)
flags.DEFINE_float(
    "trace", 0.95, "Lambda of the generalised advantages; 1: n-step returns.", 0.0, 1.0, **OWN
)
flags.DEFINE_float(
    "discount", 0.99, "Gamma: what a point is worth one agent step later.", 0.0, 1.0, **OWN
)
flags.DEFINE_boolean(
    "standardize",
    True,
    "Advantages to mean 0, deviation 1 within a batch; A3C has them plain.",
    **OWN,
)
flags.DEFINE_integer("evaluations", 50, "How often to evaluate.", 1, **OWN)
flags.DEFINE_integer("episodes", 10, "Episodes of an evaluation.", 1, **OWN)
flags.DEFINE_float("save_minutes", 5, "Time between two checkpoints, at most.", 0.0, **OWN)
flags.DEFINE_string("evaluate", None, "Play with this policy instead of training.", **OWN)
flags.DEFINE_string("gif", None, "With --evaluate: where to write its first half minute.", **OWN)
flags.DEFINE_string(
    "release", None, "Write the best teacher of this run folder and its card to teachers/.", **OWN
)

CHANGEABLE = ["episodes", "save_minutes"]  # may differ when a run goes on
FRESH = {"step": 0, "seconds": 0.0, "evaluated": True}


def main(settings):
    playing = [name for name in ("evaluate", "release") if settings.values[name] is not None]
    if len(playing) == 2:
        raise cli.UsageError("--evaluate and --release are two commands: give one of them")
    if playing and settings.initial is not None:
        raise cli.UsageError(f"--initial is of training, and --{playing[0]} is not: leave it out")
    if settings.gif and "evaluate" not in playing:
        raise cli.UsageError("--gif is of the play of --evaluate=POLICY: give both")
    if not playing:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", a3c.threads(settings.actors))
    seeding.seed_everything(settings)
    if settings.evaluate is not None:
        return evaluate.evaluate(
            settings.evaluate, settings.game, settings.episodes, settings.seed, settings.gif
        )
    if settings.release is not None:
        return evaluate.release(settings.release, settings.game, settings.seed)
    batch = settings.envs * settings.rollout
    if settings.evaluations > math.ceil(settings.steps / batch):
        raise cli.UsageError(
            f"--evaluations={settings.evaluations}: --steps={settings.steps} are fewer updates of "
            f"{batch} steps, and each evaluation wants one; give fewer, or more --steps"
        )
    if batch == 1 and settings.standardize:
        raise cli.UsageError(
            "--envs=1 --rollout=1: of a single advantage nothing is left once it is standardised; "
            "give more, or --nostandardize"
        )
    folder = cli.workdir(settings, leave_out=CHANGEABLE)
    with run_folder.Run(folder, settings.stored(), "teacher", CHANGEABLE) as run:
        with caught_signals() as caught:
            rows = train(settings, run, caught)
        finish(settings, run, rows)


def train(settings, run, caught):
    """Learn in `--evaluations` pieces, each of which ends with a row of metrics.csv."""
    batch = settings.envs * settings.rollout
    net = policies.new_teacher(settings.game)
    a3c.compile_net(
        net, settings.optimizer, settings.rate, updates=math.ceil(settings.steps / batch)
    )
    checkpoints = Checkpoints(run.path("checkpoints"), keep=2, monitor="score")
    start = checkpoints.restore_latest(net) or begin(settings, run, net)
    run.add_facts(game_versions=environment.versions())
    # A row whose checkpoint was not written any more is written again.
    history = History(run.path("metrics.csv"), start["step"] - (not start["evaluated"]))
    print(
        f"{settings.game}, {settings.actors} actors, run folder {run.folder}, step {start['step']}"
    )
    actors = (
        make_actors(settings, net, start["step"])
        if len(history.rows) < settings.evaluations
        else []
    )
    policy = policies.Policy(net, settings.jit_compile)
    clock = Clock(start["step"], settings.steps, start["seconds"], curve.SHOWN)

    def step():
        clock.step = int(net.optimizer.iterations) * batch
        return clock.step

    def save(**facts):
        checkpoints.save(net, step(), seconds=clock.seconds(), **facts)

    while len(history.rows) < settings.evaluations:
        mark = settings.steps * (len(history.rows) + 1) // settings.evaluations
        due, start = time.monotonic() + settings.save_minutes * 60, step()

        def stop(mark=mark, due=due, start=start):  # --save_minutes=0: at every update
            return caught or step() >= mark or (time.monotonic() >= due and step() > start)

        a3c.run(actors, stop, look=lambda: clock.print(curve.known(curve.logs(actors))))
        save(evaluated=False)
        if step() >= mark and not caught:
            scores = play.scores(
                policy,
                settings.game,
                settings.episodes,
                [settings.seed, step()],
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


def begin(settings, run, net):
    """Where a run without a checkpoint starts: at step 0, of a new net or that of --initial."""
    if settings.initial is not None:
        initial, steps = policies.load_teacher(settings.initial, settings.game)
        net.set_weights(initial.get_weights())
        run.add_facts(initial={"steps": steps, "sha256": policies.digest(net)})
    return FRESH


def make_actors(settings, net, step):
    """The actors of a run that goes on at `step`: it begins with new games, on other seeds."""
    return [
        a3c.Actor(
            *(
                net,
                settings.game,
                settings.envs,
                settings.rollout,
                settings.entropy,
                settings.trace,
            ),
            seed=[settings.seed, step, k],
            discount=settings.discount,
            standardize=settings.standardize,
            jit=settings.jit_compile,
        )
        for k in range(settings.actors)
    ]


def finish(settings, run, rows):
    """Learning curve and summary.json."""
    [figure] = curve.draw(run.folder)
    best = max(rows, key=lambda row: row["score"])
    facts = {key: run.config[key] for key in ("commit", "versions", "facts")}
    run.write_summary({"game": settings.game, "best": best, "last": rows[-1], **facts})
    print(
        f"{settings.game}: best evaluation {best['score']:.1f} at step {best['step']:.0f}, "
        f"last {rows[-1]['score']:.1f}\nFigure: {figure}"
    )


if __name__ == "__main__":
    cli.run(main, FLAGS)
