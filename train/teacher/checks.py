"""Refuse flags of the teacher's script that contradict each other, before anything is made."""

from train.lib.atari import environment
from train.lib.run import memory, unused_flags
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings
from train.teacher.settings import LearnerSettings

# What the commands that do not train use.
USED = {
    "eval_policy": {"eval_policy", "game", "seed", "eval_episodes", "gif", "compare_with"},
    "release": {"release", "game", "seed"},
}


def check(settings: Settings) -> None:
    """Raise UsageError for flags that contradict each other."""
    commands = [name for name in USED if settings.values[name] is not None]
    if len(commands) == 2:
        raise UsageError("--eval_policy and --release are two commands: give one of them")
    for command in commands:
        unused = set(settings.values) - USED[command]
        unused_flags.refuse(settings, unused, f"--{command}, which does not train")
    if settings.gif and "eval_policy" not in commands:
        raise UsageError("--gif films the play of --eval_policy=POLICY: give both")
    if settings.compare_with is not None and "eval_policy" not in commands:
        raise UsageError("--compare_with is compared with --eval_policy=POLICY: give both")
    if "release" not in commands:
        memory.refuse_more_than_there_is(
            f"--eval_episodes={settings.eval_episodes}",
            settings.eval_episodes * environment.GAME_BYTES,
        )
    if commands:
        return
    refuse_too_many_games(settings)
    learner = LearnerSettings.of(settings)
    between, needed = settings.steps // settings.num_evals, learner.round_size
    if settings.num_evals > 1 and between < needed:
        raise UsageError(
            f"--num_evals={settings.num_evals}: {between} of --steps={settings.steps} between two "
            f"evaluations may be less than one update, of {learner.batch_size} steps by each of "
            f"{settings.num_actors} actors; give fewer, or more --steps"
        )
    if learner.batch_size == 1 and settings.normalize_advantages:
        raise UsageError(
            "--num_envs=1 --unroll_length=1: a single advantage is 0 once it is normalized; "
            "give more, or --nonormalize_advantages"
        )


def with_fewer_evaluations(settings: Settings) -> Settings:
    """Return `settings` with as many evaluations as a short run has room for, if none is typed."""
    if "num_evals" in settings.typed:
        return settings
    room = max(1, settings.steps // LearnerSettings.of(settings).round_size)
    return settings.replace(num_evals=min(settings.num_evals, room))


def refuse_too_many_games(settings: Settings) -> None:
    """Raise UsageError if the games and their rollouts are more than fits into memory."""
    # A stack is kept as bytes, and learned from as floats.
    step_bytes = environment.STACK_BYTES * (1 + memory.FLOAT)
    game_bytes = environment.GAME_BYTES + settings.unroll_length * step_bytes
    names = ("num_actors", "num_envs", "unroll_length")
    memory.refuse_more_than_there_is(
        " ".join(f"--{name}={settings.values[name]}" for name in names),
        settings.num_actors * settings.num_envs * game_bytes,
    )
