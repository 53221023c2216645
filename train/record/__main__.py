"""Records a teacher at play, for section 4.2's distillation: whole episodes, lossless.

    python -m train.record --game=breakout --teacher=released

records 100,000 actions of the released teacher, in a few minutes on two cores, some 50 MB. The
run folder holds data/, which TFDS reads (`tfds.builder_from_directory`), and the teacher. Until it
is whole it is called data.partial; the same command goes on after its last shard, with new games.

`--teacher` takes a run folder of train.teacher, an .npz of its weights, a .keras file or a
SavedModel from frames [B,84,84,4], uint8 or float, to logits.
"""

import os
import shutil

import keras
import numpy as np
from absl import flags

from train.lib.atari import environment, play, policies
from train.lib.run import cli, run_folder, seeding
from train.lib.run.clock import Clock
from train.lib.run.resumable import caught_signals
from train.lib.run.save_callback import Stopped
from train.record.recorder import Recorder
from train.record.writer import Writer

UNUSED = ["epochs", "steps", "jit_compile", "strategy", "devices", "deterministic", "tensorboard"]
FLAGS = cli.common_flags(without=UNUSED)
OWN = {"flag_values": FLAGS}
flags.DEFINE_enum("game", None, list(environment.ACTIONS), "The game.", required=True, **OWN)
flags.DEFINE_string("teacher", "released", "The policy to record.", **OWN)
flags.DEFINE_integer("frames", 100_000, "Actions to record; more, as episodes are whole.", 1, **OWN)
flags.DEFINE_integer("envs", 16, "Games side by side.", 1, **OWN)


def main(settings):
    seeding.seed_everything(settings)
    with run_folder.Run(cli.workdir(settings), settings.stored(), "record") as run:
        policy = teacher(settings, run)
        writer = Writer(run.path("data"), settings.game)
        with caught_signals() as caught:
            if not writer.finished:
                record(settings, policy, writer, caught)
        finish(settings, run, writer)


def teacher(settings, run):
    """The policy to record. It is kept in the run folder: a recording goes on with the same one."""
    kept = [path for path in map(run.path, ("teacher.keras", "teacher")) if path.exists()]
    policy = policies.load(kept[0] if kept else settings.teacher, settings.game)
    run.add_facts(game_versions=environment.versions())
    if not kept and isinstance(policy.net, keras.Model):
        policy.net.save(run.path(".teacher.tmp.keras"))
        os.replace(run.path(".teacher.tmp.keras"), run.path("teacher.keras"))
    elif not kept:
        shutil.copytree(settings.teacher, run.path(".teacher"), dirs_exist_ok=True)
        os.rename(run.path(".teacher"), run.path("teacher"))
    return policy


def record(settings, policy, writer, caught):
    """Play until there are enough whole episodes, from where `writer` stands."""
    print(f"{settings.game}: {writer.frames} of {settings.frames} actions are recorded", flush=True)
    # A recording that goes on begins with new games, so their seeds depend on how much there is.
    random = np.random.default_rng([settings.seed, writer.frames])
    games = environment.Atari(
        settings.game, settings.envs, seed=int(random.integers(2**30)), threads=2
    )
    recorder = Recorder(settings.envs, policy, settings.frames - writer.frames, writer.add)
    clock = Clock(writer.frames, settings.frames, 0.0, {"games": "games to be finished"}, every=5)

    def tell(moment):
        clock.step = clock.first_step + recorder.seen
        over = clock.step >= settings.frames
        clock.print({"games": np.sum(recorder.recording)} if over else {})

    def done():
        return caught or not recorder.recording.any()

    if writer.frames < settings.frames:
        play.drive(policy, games, random, [recorder, tell], done)
        writer.flush()
    if caught:
        raise Stopped(caught[0], writer.frames, settings.frames)
    clock.print({}, now=True)
    writer.finish(description=f"{settings.game}, played by {settings.teacher}")


def finish(settings, run, writer):
    """summary.json."""
    scores = [score for shard in writer.shards for score in shard["scores"]]
    size = sum(shard["bytes"] for shard in writer.shards)
    found = {"frames": writer.frames, "episodes": len(scores), "mean_score": np.mean(scores)}
    run.write_summary({"game": settings.game, "teacher": settings.teacher, **found, "bytes": size})
    print(
        f"{writer.folder}: {writer.frames} actions in {len(scores)} episodes, mean true score "
        f"{np.mean(scores):.1f}, {size / 1e6:.1f} MB; to learn from it:\n"
        f"{cli.python()} -m train.distill --game={settings.game} --data_dir={run.folder} "
        "--percent=10"
    )


if __name__ == "__main__":
    cli.run(main, FLAGS)
