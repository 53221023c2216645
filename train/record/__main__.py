"""Record a teacher at play, for section 4.2's distillation: whole episodes, lossless.

    python -m train.record --game=breakout --teacher=released

This records 100,000 steps of the released teacher, some 50 MB, in a few minutes on two cores. A
step is one action, of four game frames. The run folder holds data/, which TFDS reads
(`tfds.builder_from_directory`), and the teacher. Until it is whole, data/ is called data.partial;
the same command resumes after its last shard, with new games.

Preset `small` (the default) plays 16 games side by side; `paper` plays one after another, so that
later steps are later games throughout, as the paper's split by time has them. It takes longer.

Every episode that has begun is recorded to its end. All games begin at once, so a recording holds
at least `--num_envs` whole episodes, of about 2,000 steps each: for a small one give fewer games.

`--teacher` takes a run folder of train.teacher, an .npz of its weights, a .keras file or a
SavedModel from frames [B,84,84,4], uint8 or float, to logits.
"""

import os
import shutil
import time

import keras
import numpy as np
from absl import flags

from train.lib.atari import environment, policies
from train.lib.atari.driver import DynamicStepDriver
from train.lib.run import cli, memory, run_folder, seeding, summary
from train.lib.run.errors import CommandError
from train.lib.run.resumable import caught_signals
from train.lib.run.save_callback import Stopped
from train.lib.run.settings import Settings
from train.record.recorder import Recorder
from train.record.status import Status
from train.record.writer import Writer

PRESETS = {
    "small": {"num_envs": 16},
    "paper": {"num_steps": 100_000, "num_envs": 1},
}
FLAGS = cli.common_flags(
    PRESETS,
    without=[
        "epochs",
        "steps",
        "jit_compile",
        "strategy",
        "devices",
        "deterministic",
        "tensorboard",
    ],
)
OWN = {"flag_values": FLAGS}
flags.DEFINE_enum("game", None, list(environment.ACTIONS), "The game.", required=True, **OWN)
flags.DEFINE_string(
    "teacher", "released", "The policy to record; see above for what it may be.", **OWN
)
flags.DEFINE_integer(
    "num_steps",
    100_000,
    "Number of agent steps to record, at least: episodes are recorded to their end.",
    1,
    **OWN,
)
flags.DEFINE_integer(
    "num_envs",
    None,
    "Number of games played side by side; also the smallest number of episodes.",
    1,
    **OWN,
)

SHORT_EPISODE_BYTES = 500 * 84 * 84  # open episodes are in memory; hardly one has fewer steps


def main(settings: Settings) -> None:
    """Record a teacher."""
    memory.refuse_more_than_there_is(
        f"--num_envs={settings.num_envs}",
        settings.num_envs * (environment.GAME_BYTES + SHORT_EPISODE_BYTES),
    )
    seeding.seed_everything(settings)
    with run_folder.Run(cli.workdir(settings), settings.stored(), "record") as run:
        policy = load_teacher(settings, run)
        writer = Writer(run.path("data"), settings.game, before_write=run.refuse_if_removed)
        with caught_signals() as caught:
            if not writer.finished:
                record(settings, policy, writer, caught)
        finish(settings, run, writer)


def load_teacher(settings: Settings, run: run_folder.Run) -> policies.Policy:
    """Return the policy to record.

    It is kept in the run folder: a recording that is resumed has the same teacher.
    """
    kept = [path for path in map(run.path, ("teacher.keras", "teacher")) if path.exists()]
    policy = policies.load(kept[0] if kept else settings.teacher, settings.game)
    run.add_facts(game_versions=environment.versions())
    if not kept and isinstance(policy.net, keras.Model):
        if not 1980 <= (year := time.localtime().tm_year) < 2108:
            raise CommandError(f"the clock says {year}, a date that no .keras file has: set it")
        policy.net.save(run.path(".teacher.tmp.keras"))
        os.replace(run.path(".teacher.tmp.keras"), run.path("teacher.keras"))
    elif not kept:
        shutil.copytree(settings.teacher, run.path(".teacher"), dirs_exist_ok=True)
        os.rename(run.path(".teacher"), run.path("teacher"))
    return policy


def record(settings: Settings, policy: policies.Policy, writer: Writer, caught: list[int]) -> None:
    """Play until there are enough whole episodes, from where `writer` stands."""
    print(plan(settings, writer.num_steps), flush=True)
    # A resumed recording begins with new games, so their seeds depend on how much there is.
    rng = np.random.default_rng([settings.seed, writer.num_steps])
    env = environment.Atari(
        settings.game, settings.num_envs, seed=int(rng.integers(2**30)), num_threads=2
    )
    missing = settings.num_steps - writer.num_steps
    recorder = Recorder(settings.num_envs, policy, missing, emit=writer.add)
    status = Status(recorder, writer.num_steps)
    driver = DynamicStepDriver(env, policy, [recorder, status], rng)
    if missing > 0:
        driver.run(until=lambda: caught or not recorder.recording.any())
        writer.flush()
    if caught:
        raise Stopped(caught[0], writer.num_steps, settings.num_steps)
    status.print()
    writer.finish(description=f"{settings.game}, played by {settings.teacher}")


def plan(settings: Settings, recorded: int) -> str:
    """Return what a recording will hold at least, and why, in two lines."""
    return (
        f"{settings.game}: {recorded:,} of at least {settings.num_steps:,} steps are recorded (a "
        f"step is one action, of {environment.FRAMES_PER_STEP} frames)\n"
        f"Episodes are recorded whole, and --num_envs={settings.num_envs} games begin at once: at "
        f"least {settings.num_envs} more episodes; fewer games make a smaller recording"
    )


def finish(settings: Settings, run: run_folder.Run, writer: Writer) -> None:
    """Write summary.json, and print what was recorded and what to do next."""
    scores = [score for shard in writer.shards for score in shard["scores"]]
    size = sum(shard["bytes"] for shard in writer.shards)
    seconds = [shard["seconds"] for shard in writer.shards]
    head = summary.head(
        run,
        what=f"{settings.teacher} teacher of {settings.game} at play",
        name="score",
        value=float(np.mean(scores)),
        unit="points",
        seconds=None if None in seconds else round(sum(seconds), 1),
    )
    results = {
        "game": settings.game,
        "teacher": settings.teacher,
        "num_steps": writer.num_steps,
        "episodes": len(scores),
        "mean_score": np.mean(scores),
        "bytes": size,
    }
    run.write_summary(head | results)
    print(
        f"{writer.folder}: {writer.num_steps} steps in {len(scores)} episodes, mean true score "
        f"{np.mean(scores):.1f}, {size / 1e6:.1f} MB; to learn from it:\n"
        f"{cli.python()} -m train.distill --game={settings.game} --recording={run.folder} "
        "--train_percent=10"
    )


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
