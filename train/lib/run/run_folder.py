"""The run folder: config.json, metrics.csv, summary.json, and a lock against a second run."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from train.lib.run import files, old_flags
from train.lib.run.errors import UsageError

FORMAT = 1
VERSIONS = ("tensorflow", "tensorflow_cpu", "keras", "numpy")


class Run:
    """An open run folder, owned by this process until `close` or its death.

    config.json is written by the first `add_facts`, so call it when all input was accepted: a
    command that is refused before leaves nothing behind.

    Args:
      folder: it is made if there is none.
      flags: the settings of the run, `Settings.stored()`.
      script: name of the script.
      changeable: flags that may differ when the run is resumed; their new values are stored.

    Raises:
      UsageError: if another run owns the folder, or if it holds something else than a run, a run
        of another script, or one with other flags.

    Example:
        with Run("runs/first", flags={"seed": 0}, changeable=["epochs"]) as run:
            run.add_facts(dataset="shapes", train_images=4000)
            run.write_summary({"accuracy": 0.5})
    """

    def __init__(
        self,
        folder: Path,
        flags: Mapping[str, Any],
        script: str | None = None,
        changeable: Iterable[str] = (),
    ):
        self.folder = Path(folder)
        self._made = make_folder(self.folder)
        check_folder(self.folder)
        locked = self.path(".lock").exists()
        self._lock = lock(self.folder)
        try:
            self._open(flags, script, changeable)
            files.remove_leftovers(self.folder)
        except BaseException:
            if not locked:
                self.path(".lock").unlink()
            self.close()
            raise

    def _open(self, flags, script, changeable):
        path = self.path("config.json")
        flags = json.loads(json.dumps(flags))  # As they will be read back: lists, not tuples.
        if path.exists():
            self.config = read_config(path)
            if script != self.config.get("script"):
                raise UsageError(
                    f"{self.folder} is a run of {self.config.get('script')}, not of {script}: "
                    "choose another --workdir"
                )
            compare(self.config["flags"], flags, changeable, self.folder, script)
            self.config["flags"] = flags
        else:
            self.config = {"format": FORMAT, "script": script, "flags": flags, "facts": {}}
            self.config |= {"commit": git_commit(), "versions": versions()}

    def path(self, name: str) -> Path:
        """Return the path of the run's file or folder `name`."""
        return self.folder / name

    def add_facts(self, **facts: Any) -> None:
        """Store what the run depends on besides flags, such as the data set and its size.

        Raises:
          UsageError: if a fact differs from the one that the run started with.
        """
        facts = json.loads(json.dumps(facts))
        for name, value in facts.items():
            stored = self.config["facts"].setdefault(name, value)
            if stored != value:
                raise UsageError(
                    f"{self.folder} started with {name}={stored}, now it is {value}: "
                    "choose another --workdir"
                )
        files.write_json(self.path("config.json"), self.config)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json: the run's results."""
        files.write_json(self.path("summary.json"), summary)

    def close(self) -> None:
        """Release the folder; remove it if this run made it and wrote nothing."""
        if self._made and not self.path("config.json").exists():
            self.path(".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # Something else was put there.
                for folder in self._made:
                    folder.rmdir()
        os.close(self._lock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def make_folder(folder: Path) -> list[Path]:
    """Create `folder` and those above it, or raise UsageError; return the new ones, it first."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {folder}: {error.strerror}; choose another --workdir"
        ) from error
    return new


def check_folder(folder: Path) -> None:
    """Raise UsageError if `folder` holds something else than a run."""
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if visible and not (folder / "config.json").exists():
        raise UsageError(
            f"{folder} has files but no config.json, it is not a run: choose another --workdir"
        )


def lock(folder: Path) -> int:
    """Return a descriptor that holds the folder's lock until the process ends.

    Raises:
      UsageError: naming the process, if another one holds it.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(descriptor, 20).decode().strip() or "unknown"
        os.close(descriptor)
        raise UsageError(
            f"{folder} is in use by another run (process {pid}): wait for it, "
            "or choose another --workdir"
        ) from error
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def read_config(path: Path, needs: Iterable[str] = ()) -> dict[str, Any]:
    """Return a stored config.json, with the names and values that flags have today.

    Args:
      path: the file.
      needs: flags that it must have.

    Raises:
      UsageError: if it is damaged, of another format, or lacks one of `needs`.
    """
    try:
        config = json.loads(path.read_text())
        script = config.get("script")
        config["flags"] = old_flags.rename(script, config["flags"])
        valid = config["format"] == FORMAT and set(needs) <= set(dict(config["flags"]))
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        valid = False
    if not valid:
        raise UsageError(
            f"{path} is damaged or not a config of format {FORMAT}: choose another folder"
        )
    return config


def read_json(path: Path, *needs: str) -> Any:
    """Return the content of a JSON file of a run, which must have the keys `needs`.

    Raises:
      UsageError: if it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text())
        for name in needs:
            content[name]
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is missing or damaged ({error!r}): remove it, and run the command again"
        ) from error


def compare(
    stored: Mapping[str, Any],
    current: Mapping[str, Any],
    changeable: Iterable[str],
    folder: Path,
    script: str | None = None,
) -> None:
    """Raise UsageError, naming the flags, if any but the `changeable` differ."""
    stored, current = old_flags.complete(script, stored), old_flags.complete(script, current)
    changeable = set(changeable)
    differ = [
        f"--{name} was {stored.get(name)}, now {current.get(name)}"
        for name in sorted(stored.keys() | current.keys())
        if name not in changeable and stored.get(name) != current.get(name)
    ]
    if differ:
        raise UsageError(
            f"{folder} was started with other flags ({'; '.join(differ)}): "
            "use the same ones, or another --workdir"
        )


def git_commit() -> str | None:
    """Return the commit of this checkout, with "+" if files differ; None without git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.check_output(
            ["git", *arguments], cwd=here, text=True, stderr=subprocess.DEVNULL
        ).strip()

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}+" if git("status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers may depend on."""
    installed = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
