"""The scripts' command line: common flags, and errors in one line instead of a traceback.

    PRESETS = {"small": {"epochs": 2}, "paper": {"epochs": 90}}
    FLAGS = cli.common_flags(PRESETS)
    flags.DEFINE_integer("splits", 3, "Number of cuts.", lower_bound=0, flag_values=FLAGS)

    def main(settings):
        seeding.seed_everything(settings)
        with strategies.strategy(settings).scope(), errors.usage_errors():
            model = build(settings.splits)

    if __name__ == "__main__":
        cli.run(main, FLAGS, PRESETS)

Every script has `FlagValues` of its own, so that two scripts can be imported side by side. They
are read once, in `run`, into a `Settings`; nothing else reads or writes a flag.
"""

import contextlib
import copy
import difflib
import hashlib
import importlib.util
import math
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from train.lib.run import old_flags, paths, progress, standard_streams, workers
from train.lib.run.endings import ending
from train.lib.run.errors import CommandError, UsageError, one_line
from train.lib.run.help_text import as_typed, help_text
from train.lib.run.settings import NOT_STORED, Settings

STRATEGIES = ("auto", "mirrored", "multi_worker", "parameter_server", "none")
HELP = {"--help", "-help", "-h", "--helpshort", "--helpfull"}
LARGEST = 2**31 - 1  # of a whole number; TensorFlow counts many things in 32 bits
LARGEST_FLOAT = 1e38  # nets compute in 32 bits, which end a little above
LONGEST_NAME, LONGEST_SHORTENED = 60, 40  # of a run folder, which people type

Presets = Mapping[str, Mapping[str, Any]]


def common_flags(presets: Presets | None = None, without: Iterable[str] = ()) -> flags.FlagValues:
    """Return new flags: those that all scripts share, less the ones in `without`.

    Args:
      presets: {name of a preset: {flag: value}}. The first one is the default. A flag on the
        command line goes before the preset's value.
      without: flags that would have no effect in this script; they are refused instead.
    """
    own = flags.FlagValues()
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder of the run, for all that it writes; the same command resumes it. "
        "Default: runs/SCRIPT with the flags that were typed.",
        flag_values=own,
    )
    if presets:
        default, *_ = presets
        flags.DEFINE_enum(
            "preset",
            default,
            list(presets),
            "Named values of other flags, listed at the end; flags that are typed override it.",
            flag_values=own,
        )
    flags.DEFINE_integer("seed", 0, "Seed of everything random.", 0, 2**32 - 1, flag_values=own)
    flags.DEFINE_integer("epochs", None, "Number of epochs.", 1, flag_values=own)
    flags.DEFINE_integer("steps", None, "Number of training steps.", 1, flag_values=own)
    flags.DEFINE_boolean(
        "jit_compile", False, "Compile the training step with XLA.", flag_values=own
    )
    flags.DEFINE_enum(
        "strategy",
        "auto",
        STRATEGIES,
        "How several devices share the work. auto: as mirrored. mirrored: each GPU, or the CPU if "
        "there are none, has a replica of the model. multi_worker: each GPU or CPU of the "
        "workers in TF_CONFIG has one, and all take each step together. parameter_server: the "
        "workers in TF_CONFIG update one model asynchronously. For both see train.cluster. none: "
        "one device, no strategy.",
        flag_values=own,
    )
    flags.DEFINE_integer(
        "devices",
        None,
        "Divide the CPU into N logical devices, each with a replica of the model.",
        1,
        flag_values=own,
    )
    flags.DEFINE_boolean(
        "deterministic",
        False,
        "Make the same command give the same weights to the last bit; slower.",
        flag_values=own,
    )
    flags.DEFINE_boolean(
        "tensorboard",
        False,
        "Write events for TensorBoard into the run folder: tensorboard --logdir RUN.",
        flag_values=own,
    )
    for name in without:
        delattr(own, name)
    return own


def run(
    main: Callable[[Settings], int | None],
    values: flags.FlagValues,
    presets: Presets | None = None,
) -> None:
    """Parse the command line, call `main` with its settings, and exit.

    Exit codes: 0, what `main` returns, or those of `endings`.
    """
    try:
        if HELP & set(sys.argv[1:]):
            print(help_text(values, presets), flush=True)
            sys.exit(0)
        check_working_folder()
        settings, began = parse(values, sys.argv, presets), time.monotonic()
        refuse_without_extras()
        code = main(settings) or 0
        if code == 0:
            print(f"Took {progress.format_seconds(time.monotonic() - began)}", flush=True)
    except CommandError as error:
        fail(error, error.code)
    except (Exception, KeyboardInterrupt) as error:
        known = ending(error)
        if known is None:
            raise
        message, code = known
        fail(message, code)
    workers.leave(code)


def check_working_folder() -> None:
    """Raise UsageError if the folder in which the script was started is gone."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(
            f"the folder that this was started in is gone ({error.strerror}): change to another one"
        ) from error


def refuse_without_extras() -> None:
    """Refuse to start without the extra `dev`: figures come last, and would be missed then.

    Raises:
      CommandError: if matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandError('matplotlib is not installed: pip install -e ".[dev]"')


def fail(message: object, code: int) -> None:
    """Print `message`, unless it is empty, as one line on stderr, and exit."""
    if message:
        with contextlib.suppress(OSError):  # the exit code says it too
            print(f"{script()}: {one_line(message)}", file=sys.stderr, flush=True)
    standard_streams.silence_broken()
    workers.leave(code)


def parse(values: flags.FlagValues, argv: list[str], presets: Presets | None = None) -> Settings:
    """Return the settings of a command line; `values` stay as they were defined.

    Raises:
      UsageError: for an unknown flag, a bad value, or an argument that is no flag.
    """
    values = _copy(values)
    try:
        _, *arguments = values(argv)
    except flags.UnrecognizedFlagError as error:
        raise UsageError(_unknown(values, error.flagname)) from error
    except flags.Error as error:
        raise UsageError(f"{explain(values, error)}; --help lists the flags") from error
    if arguments:
        raise UsageError(f"{arguments[0]!r} is not a flag: flags look like --name=value")
    if presets:
        for name, value in presets[values.preset].items():
            values.set_default(name, value)  # Leaves a flag that was typed as it is.
    for name, value in values.flag_values_dict().items():
        for element in value if isinstance(value, list) else []:
            if new := _renamed(name, element):
                raise UsageError(new)
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name}={value}: expected a finite number")
        if isinstance(value, float) and abs(value) > LARGEST_FLOAT:
            raise UsageError(f"--{name}={value:g}: expected at most {LARGEST_FLOAT:g}")
        bound = getattr(values[name].parser, "upper_bound", None)
        if isinstance(value, int) and bound is None and abs(value) > LARGEST:
            raise UsageError(f"--{name}={value}: expected at most {LARGEST}")
    return Settings(
        {name: _frozen(name, values[name].value) for name in values},
        frozenset(name for name in values if values[name].present),
    )


def are_flags(arguments: Sequence[str], values: flags.FlagValues) -> list[bool]:
    """Tell which words of a command are flags, or the value after a flag without "="."""
    valued = {dash + name for name in values if not values[name].boolean for dash in ("-", "--")}
    return [
        word.startswith("-") or before in valued
        for before, word in zip(["", *arguments], arguments, strict=False)
    ]


def _copy(values: flags.FlagValues) -> flags.FlagValues:
    copied = flags.FlagValues()
    for name in values:
        copied[name] = copy.deepcopy(values[name])
    return copied


def _frozen(name: str, value: Any) -> Any:
    if value is not None and name in paths.FLAGS:
        return paths.typed(name, value)
    return tuple(value) if isinstance(value, list) else value


def _unknown(values: flags.FlagValues, name: str) -> str:
    """Return what to type instead of an unknown flag: its new name, or the nearest one."""
    for prefix in ("", "no"):
        if new := old_flags.new_name(script().rpartition(".")[2], name.removeprefix(prefix)):
            return f"--{name} has a new name: --{prefix}{new}"
    near = difflib.get_close_matches(name, list(values), n=1, cutoff=0.6)
    hint = f": did you mean --{near[0]}?" if near else ";"
    return f"--{name} is unknown{hint} --help lists the flags"


def _renamed(name: str, typed: str) -> str | None:
    """Return the line that refuses an old value of a flag, or None for another value."""
    new = old_flags.new_value(script().rpartition(".")[2], name, typed)
    return f"--{name}={typed} has a new name: --{name}={new}" if new else None


def explain(values: flags.FlagValues, error: flags.Error) -> str:
    """Return what was typed and what was expected; absl's own words leave one of them out."""
    match = re.match(r"flag --(\w+)=(.*?): ", str(error), re.DOTALL)
    if not isinstance(error, flags.IllegalFlagValueError) or not match:
        return str(error)
    name, typed = match[1], match[2]
    if new := _renamed(name, typed):
        return new
    parser = values[name].parser
    choices = getattr(parser, "enum_values", None)
    if values[name].boolean:
        choices = ("true", "false")
    expected = " or ".join(choices) if choices else parser.syntactic_help
    if typed == "None":
        return f"--{name} is missing: expected {expected or 'a value'}"
    return f"--{name}={typed}: expected {expected}" if expected else str(error)


def workdir(settings: Settings, leave_out: Iterable[str] = ()) -> Path:
    """Return the run folder: --workdir, or one that the same command finds again.

    python -m train.imagenet --splits=1 --seed=3 has runs/imagenet-seed=3-splits=1. Where that would
    be long, or would need quotes, flags are left out, and a checksum of all of them is added.

    Args:
      settings: those of the command.
      leave_out: flags that play no part in the name, as they may change when a run is resumed.
    """
    if settings.workdir:
        return Path(settings.workdir)
    paths.check_workdir("runs")
    named = sorted(settings.typed - {*leave_out, *NOT_STORED})
    typed = [f"{name}={as_typed(settings.values[name])}" for name in named]
    return Path("runs") / _folder_name(script().rpartition(".")[2], typed)


def _folder_name(script: str, typed: list[str]) -> str:
    whole = "-".join([script, *typed])
    plain = [text for text in typed if not re.search(r"[^\w.,=+-]", text)]
    if plain == typed and len(whole) <= LONGEST_NAME:
        return whole
    name = script
    for text in plain:
        if len(name) + len(text) < LONGEST_SHORTENED:
            name += f"-{text}"
    return f"{name}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def script() -> str:
    """Return the script's name as typed after `python -m`, also for a package's __main__.py."""
    spec = sys.modules["__main__"].__spec__
    return spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem


def python() -> str:
    """Return this Python as it is typed here, for printed commands: `python`, or its path."""
    here, on_path = Path(sys.executable), shutil.which("python")
    if on_path and Path(on_path).parent == here.parent:
        return "python"
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def next_command(purpose: str, *arguments: object) -> str:
    """Return two lines for a script's end: what one may do next, and the command that does it.

    Args:
      purpose: completes "Next, ...".
      arguments: of `python -m`, not quoted yet.
    """
    return f"Next, {purpose}:\n{python()} -m {shlex.join(map(str, arguments))}"
