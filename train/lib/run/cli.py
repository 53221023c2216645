"""The scripts' command line: common flags, and errors in one line instead of a traceback.

    PRESETS = {"small": {"epochs": 2}, "paper": {"epochs": 90}}
    FLAGS = cli.common_flags(PRESETS)
    flags.DEFINE_integer("splits", 3, "Number of cuts.", lower_bound=0, flag_values=FLAGS)

    def main():
        cli.seed_everything(FLAGS)
        with cli.strategy(FLAGS).scope(), cli.usage_errors():
            model = build(FLAGS.splits)

    if __name__ == "__main__":
        cli.run(main, FLAGS, PRESETS)

Every script has `FlagValues` of its own, so that two scripts can be imported side by side.
"""

import contextlib
import errno
import hashlib
import math
import os
import re
import select
import shutil
import signal
import sys
import textwrap
from pathlib import Path

from absl import flags

STRATEGIES = ("auto", "mirrored", "parameter_server", "none")
HELP = {"--help", "-help", "-h", "--helpshort", "--helpfull"}
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CommandError(Exception):
    """Ends the script with one line on stderr and the exit code `code`."""

    code = 1


class UsageError(CommandError):
    """What was typed, or the data or folder that it names, cannot be used: exit code 2."""

    code = 2


def common_flags(presets=None, without=()):
    """Return new flags that hold those that all scripts share, `without` those that say nothing.

    `presets` maps the name of a preset to the flags it sets; the first one is the default, and
    a flag on the command line goes before the preset's value.
    """
    own = flags.FlagValues()
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder that owns all that the run writes; the same command resumes it. "
        "Default: runs/SCRIPT with the flags that were given.",
        flag_values=own,
    )
    if presets:
        default, *_ = presets
        flags.DEFINE_enum("preset", default, list(presets), "Sets other flags.", flag_values=own)
    flags.DEFINE_integer("seed", 0, "Seed of all that is random.", 0, 2**32 - 1, flag_values=own)
    flags.DEFINE_integer("epochs", None, "Number of epochs.", 1, flag_values=own)
    flags.DEFINE_integer("steps", None, "Number of training steps.", 1, flag_values=own)
    flags.DEFINE_boolean("jit", False, "Compile the training step with XLA.", flag_values=own)
    flags.DEFINE_enum(
        "strategy",
        "auto",
        STRATEGIES,
        "auto, mirrored: MirroredStrategy over the GPUs, or the CPU if there are none. "
        "parameter_server: workers that race, of the cluster in TF_CONFIG; see train.cluster.",
        flag_values=own,
    )
    flags.DEFINE_boolean(
        "deterministic",
        False,
        "Same command, same weights to the last bit; slower.",
        flag_values=own,
    )
    for name in without:  # refused, where they would be ignored
        delattr(own, name)
    return own


def run(main, values, presets=None):
    """Parse the command line into `values`, call `main`, and exit.

    Exit codes: 2 for a `UsageError`, 1 for another `CommandError` or a file that cannot be read or
    written, 130 for Ctrl-C.
    """
    try:
        if HELP & set(sys.argv[1:]):
            print(help_text(values, presets), flush=True)
            sys.exit(0)
        parse(values, sys.argv, presets)
        sys.exit(main())
    except CommandError as error:
        fail(error, error.code)
    except KeyboardInterrupt:
        fail("stopped by Ctrl-C", 130)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and nobody_reads(sys.stdout.fileno()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left
            sys.exit(128 + signal.SIGPIPE)
        if isinstance(error, shutil.Error):  # of a whole tree: (from, to, reason) of each file
            fail(f"{error.args[0][0][1]}: {error.args[0][0][2]}; the same command goes on", 1)
        if error.errno in UNWRITABLE:
            fail(f"{error.filename}: {error.strerror}; choose another --workdir", 2)
        if error.errno in FULL:
            fail(f"{error.filename}: {error.strerror}; make room, the same command goes on", 1)
        if error.filename is None:
            raise
        fail(f"{error.filename}: {error.strerror}", 1)


def nobody_reads(descriptor):
    """Whether whoever read what is written there, such as `head`, has gone."""
    watch = select.poll()
    watch.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))


def fail(message, code):
    """Print `message` as one line on stderr and exit."""
    print(f"{script()}: {one_line(message)}", file=sys.stderr, flush=True)
    sys.exit(code)


def parse(values, argv, presets=None):
    """Parse `argv` into `values`.

    Raises UsageError for an unknown flag, a bad value, or an argument that is no flag.
    """
    try:
        _, *arguments = values(argv)
    except flags.Error as error:
        raise UsageError(f"{explain(values, error)}; --help lists the flags") from error
    if arguments:
        raise UsageError(f"{arguments[0]!r} is not a flag: flags look like --name=value")
    if presets:
        for name, value in presets[values.preset].items():
            values.set_default(name, value)  # Leaves a flag that was given as it is.
    for name, value in values.flag_values_dict().items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name}={value}: expected a finite number")


def explain(values, error):
    """Return what was given and what was expected; absl's own words leave one of them out."""
    match = re.match(r"flag --(\w+)=(.*?): ", str(error), re.DOTALL)
    if not isinstance(error, flags.IllegalFlagValueError) or not match:
        return str(error)
    parser = values[match[1]].parser
    choices = getattr(parser, "enum_values", None) or ("true", "false") * values[match[1]].boolean
    expected = " or ".join(choices) or parser.syntactic_help
    if match[2] == "None":
        return f"--{match[1]} is missing" + f": expected {expected}" * bool(expected)
    return f"--{match[1]}={match[2]}: expected {expected}" if expected else str(error)


def help_text(values, presets=None):
    """Return the script's docstring, each flag with its default and help, and the presets."""
    lines = [(sys.modules["__main__"].__doc__ or "").strip(), "", "Flags:"]
    for name in sorted(values):
        flag = values[name]
        default = "" if flag.boolean or flag.default is None else f"={flag.default}"
        lines.append(f"  --{'[no]' * flag.boolean}{name}{default}")
        lines += textwrap.wrap(flag.help, 88, initial_indent=" " * 6, subsequent_indent=" " * 6)
    for preset, chosen in (presets or {}).items():
        given = " ".join(f"--{name}={value}" for name, value in chosen.items())
        lines += ["", f"--preset={preset} stands for:"]
        lines += textwrap.wrap(given, 88, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


@contextlib.contextmanager
def usage_errors(kinds=ValueError):
    """Turn a library's ValueError (or other `kinds`) about bad input into a UsageError."""
    try:
        yield
    except kinds as error:
        raise UsageError(error) from error


def workdir(values, leave_out=()):
    """Return the run folder: --workdir, or one that the same command finds again.

    The flags named in `leave_out` play no part, so that they may change when a run goes on.

    python -m train.imagenet --splits=1 --seed=3 has runs/imagenet-seed=3-splits=1.
    """
    if values.workdir:
        return Path(values.workdir)
    named = sorted(set(values) - set(leave_out))
    given = [f"{name}={_plain(values[name].value)}" for name in named if values[name].present]
    name = "-".join([script().rpartition(".")[2], *given])
    plain = re.sub(r"[^\w.,=+-]", "_", name)
    if plain != name or len(plain) > 80:
        plain = f"{plain[:70]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return Path("runs") / plain


def _plain(value):
    return ",".join(map(str, value)) if isinstance(value, list) else value


def config(values):
    """Return the flags to store with a run: all but --workdir, for the folder may be moved."""
    return {name: values[name].value for name in sorted(values) if name != "workdir"}


def seed_everything(values):
    """Seed Python, NumPy and Keras; --deterministic makes TensorFlow's ops deterministic."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(values.seed)
    if "deterministic" in values and values.deterministic:
        tf.config.experimental.enable_op_determinism()


def strategy(values):
    """Return the tf.distribute strategy of --strategy."""
    import tensorflow as tf

    if values.strategy == "none":
        return tf.distribute.get_strategy()
    if values.strategy == "parameter_server":
        from train.lib.run import parameter_server

        return parameter_server.strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def script():
    """Return the script's name as typed after `python -m`, also for a package's __main__.py."""
    spec = sys.modules["__main__"].__spec__
    return spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem


def python():
    """This Python as it is typed here, for commands that are printed: `python`, or its path."""
    here, found = Path(sys.executable), shutil.which("python")
    if found and Path(found).parent == here.parent:
        return "python"
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def one_line(message):
    """Return `message` with every run of white space as one space."""
    return " ".join(str(message).split())
