"""The run folder: config.json, metrics.csv, summary.json, and a lock against a second run."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sobolev_tf.keras_support import directories
from train.lib.run import files, old_flags, schema
from train.lib.run.errors import CommandError, UsageError, reading

FORMAT = 1
OWN_RESULTS = ("metrics.csv", "summary.json")  # of every script
VERSIONS = ("tensorflow", "tensorflow_cpu", "keras", "numpy")
# What config.json has besides format and flags.
PARTS: dict[str, schema.Kind] = {
    "script": schema.OPTIONAL_TEXT,
    "facts": dict,
    "commit": schema.OPTIONAL_TEXT,
    "versions": dict,
}
# Older runs have no id, and runs of one commit no other.
OPTIONAL_PARTS: dict[str, schema.Kind] = {**PARTS, "id": str, "resumed_with": list}


class Run:
    """An open run folder, owned by this process until `close` or its death.

    config.json is written by the first `add_facts`, so call it when all input was accepted: a
    command that is refused before leaves nothing behind.

    Args:
      folder: it is made if there is none.
      flags: the settings of the run, `Settings.stored()`.
      script: name of the script.
      changeable: flags that may differ when the run is resumed; their new values are stored.
      results: names of the files and, without a suffix, of the SavedModels that the run will
        leave besides its own files. What stands in their places is checked now, since it would
        end the run when all is trained.

    Raises:
      UsageError: if another run owns the folder, or if it holds something other than a run, a run
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
        results: Iterable[str] = (),
    ):
        self.folder = Path(folder)
        self._made = make_folder(self.folder)
        check_folder(self.folder)
        locked = self.path(".lock").exists()
        self._lock = lock(self.folder)
        try:
            self._open(flags, script, changeable)
            check_places(self.folder, [*OWN_RESULTS, *results])
            files.remove_leftovers(self.folder)
        except BaseException:
            if not locked and self._owned():
                self.path(".lock").unlink()
            self.close()
            raise

    def _open(self, flags, script, changeable):
        path = self.path("config.json")
        flags = json.loads(json.dumps(flags))  # As they will be read back: lists, not tuples.
        if path.exists():
            self.config = read_config(path, parts=PARTS)
            if script != self.config.get("script"):
                raise UsageError(
                    f"{self.folder} is a run of {self.config.get('script')}, not of {script}: "
                    "choose another --workdir"
                )
            compare(self.config["flags"], flags, changeable, self.folder, script)
            self.config["flags"] = flags
            self._note_other_code()
        else:
            self.config = {"format": FORMAT, "script": script, "flags": flags, "facts": {}}
            self.config |= code()
        self.config.setdefault("id", secrets.token_hex(4))

    def _note_other_code(self):
        """Note the commit and versions that go on with a run of others, with a line on stderr."""
        last = [self.config, *self.config.get("resumed_with", [])][-1]
        now = code()
        differ = [part for part in now if part in last and last[part] != now[part]]
        if differ:
            self.config["resumed_with"] = [*self.config.get("resumed_with", []), now]
            text = f"{self.folder}: was run with another {' and other '.join(differ)} before"
            print(f"{text}, see resumed_with in its config.json", file=sys.stderr)

    @property
    def id(self) -> str:
        """What tells this run from every other one; what it writes may state it."""
        return self.config["id"]

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
            if comparable(stored) != comparable(value):
                raise UsageError(
                    f"{self.folder} started with {name}={stored}, now it is {value}: "
                    "choose another --workdir"
                )
        self.refuse_if_removed()
        files.write_json(self.path("config.json"), self.config)

    def refuse_if_removed(self) -> None:
        """Raise CommandError if the folder is no longer the one that this run has locked.

        Call it before whatever would make the folder, or a part of it, anew.
        """
        if not self._owned():
            raise CommandError(
                f"{self.folder} was removed or replaced while its run went on: stopped, nothing "
                "more is written; the same command starts afresh"
            )

    def _owned(self) -> bool:
        locked = os.fstat(self._lock)
        try:
            there = self.path(".lock").stat()
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (locked.st_dev, locked.st_ino)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json: the run's results."""
        self.refuse_if_removed()
        files.write_json(self.path("summary.json"), summary)

    def close(self) -> None:
        """Release the folder; remove it if this run made it and wrote nothing."""
        if self._made and not self.path("config.json").exists():
            if self._owned():
                self.path(".lock").unlink()
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
    try:
        new = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {folder}: {error.strerror}; choose another --workdir"
        ) from error
    return new


def check_folder(folder: Path) -> None:
    """Raise UsageError if `folder` holds something other than a run."""
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if visible and not (folder / "config.json").exists():
        raise UsageError(
            f"{folder} has files but no config.json, it is not a run: choose another --workdir"
        )


def check_places(folder: Path, results: Iterable[str]) -> None:
    """Raise UsageError if something else stands where a run will write its `results`."""
    for path in (folder / name for name in results):
        if path.suffix and path.is_dir():
            raise UsageError(f"{path} is a folder, where a file is to be written: remove it")
        if not path.suffix and not directories.is_replaceable(path):
            raise UsageError(
                f"{path} is no SavedModel, and one is to be written there: remove it, or choose "
                "another --workdir"
            )


def lock(folder: Path) -> int:
    """Return a descriptor that holds the folder's lock until the process ends.

    Raises:
      UsageError: naming the process, if another one holds it; or if it is no ordinary file, such
        as a link to one that is not ours to write.
    """
    path = folder / ".lock"
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise UsageError(f"{path} is no ordinary file: remove it, or choose another --workdir")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise UsageError(
            f"{folder} is in use by another run (process {pid}): wait for it, "
            "or choose another --workdir"
        ) from error
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def read_config(
    path: Path,
    needs: Iterable[str] = (),
    parts: Mapping[str, schema.Kind] | None = None,
    flags: Mapping[str, schema.Kind] | None = None,
) -> dict[str, Any]:
    """Return a stored config.json, with the names and values that flags have today.

    Args:
      path: the file.
      needs: flags that it must have.
      parts: types of the parts that it must have besides format and flags.
      flags: types of those flags that are used, where they are there.

    Raises:
      UsageError: if it is damaged, of another format, or lacks one of `needs`.
    """
    verdict = f"is damaged or not a config of format {FORMAT}"
    with reading(path, "choose another folder", verdict):
        config = files.read_json(path)
        schema.check(config, {"format": int, "flags": dict, **(parts or {})}, OPTIONAL_PARTS)
        if config["format"] != FORMAT:
            raise ValueError(f"its format is {config['format']}")
        config["flags"] = old_flags.rename(config.get("script"), config["flags"])
        needed: dict[str, schema.Kind] = {name: (flags or {}).get(name, object) for name in needs}
        schema.check(config["flags"], needed, flags)
    return config


def of_run(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what a file of this config's run states, for `identity.check`; {} of an old run."""
    return {"run": config["id"]} if "id" in config else {}


def comparable(fact: Any) -> Any:
    """Return a fact without its `notice`, a line for people whose words may change.

    >>> comparable({"name": "shapes", "notice": "DRAWN IMAGES"})
    {'name': 'shapes'}
    """
    if not isinstance(fact, Mapping):
        return fact
    return {name: value for name, value in fact.items() if name != "notice"}


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


def code() -> dict[str, Any]:
    """Return the commit and the versions of packages that a run's numbers may depend on."""
    return {"commit": git_commit(), "versions": versions()}


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
