"""Record a teacher at play, for section 4.2's distillation: whole episodes, lossless.

    python -m train.record --game=breakout --teacher=released

This records at least 100,000 steps of the released teacher, some 60 MB, in about two minutes on
two cores. A step is one action, which lasts four frames of the game. The run folder holds data/,
which TFDS reads (`tfds.builder_from_directory`), and the teacher. While a recording is unfinished,
data/ is called data.partial; the same command continues after its last shard, with new games.

Preset `small` (the default) plays 16 games at a time; `paper` plays one game after another, so that
later steps always come from later games, as in the paper's split by time. It takes longer.

All games start together, and every episode is recorded to its end, so a recording has at least
`--num_envs` whole episodes (of about 2,000 steps in Breakout, 8,000 in Pong, 1,000 in Space
Invaders). For a small recording, lower --num_envs as well as --num_steps.

The released teacher of Pong sometimes returns the ball for ever: such a game ends after half an
hour of play, 27,000 steps, and a few of them make up most of a recording. With
`--max_episode_steps=4500` games end after five minutes, as in Mnih et al. (2015).

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
from train.lib.run.text_table import counted
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
flags.DEFINE_enum(
    "game", None, list(environment.ACTIONS), "The game (required).", required=True, **OWN
)
flags.DEFINE_string(
    "teacher", "released", "The policy to record; see above for what it may be.", **OWN
)
flags.DEFINE_integer(
    "num_steps",
    100_000,
    "Record at least this many agent steps (actions); episodes are recorded to their end.",
    1,
    **OWN,
)
flags.DEFINE_integer(
    "num_envs",
    None,
    "Number of games played at a time, and so the smallest number of episodes.",
    1,
    **OWN,
)
flags.DEFINE_integer(
    "max_episode_steps",
    environment.LONGEST // environment.FRAMES_PER_STEP,
    "Cut an episode off after so many agent steps.",
    1,
    environment.LONGEST // environment.FRAMES_PER_STEP,
    **OWN,
)

# Steps of an episode of the released teachers, about: means of recordings of 100,000 steps.
USUAL_LENGTHS = {"breakout": 2000, "pong": 8000, "space_invaders": 1000}
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
        settings.game,
        settings.num_envs,
        seed=int(rng.integers(2**30)),
        max_frames=settings.max_episode_steps * environment.FRAMES_PER_STEP,
        num_threads=2,
    )
    missing = settings.num_steps - writer.num_steps
    recorder = Recorder(settings.num_envs, policy, missing, emit=writer.add)
    status = Status(recorder, writer.num_steps, usual_length(settings))
    driver = DynamicStepDriver(env, policy, [recorder, status], rng)
    if missing > 0:
        driver.run(until=lambda: caught or not recorder.recording.any())
        writer.flush()
        if not caught:
            status.print()
    if caught:
        raise Stopped(caught[0], writer.num_steps, settings.num_steps)
    writer.finish(description=f"{settings.game}, played by {settings.teacher}")


def plan(settings: Settings, recorded: int) -> str:
    """Return how much will be recorded, in steps, frames and episodes, and why, in two lines."""
    steps, games, usual = settings.num_steps, settings.num_envs, usual_length(settings)
    request = (
        f"{settings.game}: records at least {counted(steps, 'step')}, {recorded:,} so far; a step "
        f"is one action, which lasts {environment.FRAMES_PER_STEP} frames of the game"
    )
    reason = (
        f"--num_envs={games} plays {counted(games, 'game')} at a time, each to its end: at least "
        f"{counted(games, 'more episode')}"
    )
    if usual:
        reason += f" of about {usual:,} steps"
    if usual and steps < games * usual:
        reason += f", so about {games * usual:,} steps"
        reason += "; fewer games make a smaller recording" if games > 1 else ""
    return f"{request}\n{reason}"


def usual_length(settings: Settings) -> int | None:
    """Return about how many steps an episode of the released teacher has; None for others."""
    if settings.teacher != "released":
        return None
    return min(USUAL_LENGTHS[settings.game], settings.max_episode_steps)


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
        f"{writer.folder}: {counted(writer.num_steps, 'step')} in "
        f"{counted(len(scores), 'episode')}, mean true score {np.mean(scores):.1f}, "
        f"{size / 1e6:.1f} MB"
    )
    flags = f"--game={settings.game}", f"--recording={run.folder}", "--train_percent=10"
    print(cli.next_command("distill it", "train.distill", *flags))


if __name__ == "__main__":
    cli.run(main, FLAGS, PRESETS)
