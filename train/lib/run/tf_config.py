"""TF_CONFIG: the addresses of a cluster and this process's place in it, checked."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NEEDED = ("ps", "worker")
TOGETHER = ("chief", "worker")  # the jobs of workers that take each step together, in their order
ADDRESS = re.compile(r"(?P<host>[^\s:/]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")


class Workers(NamedTuple):
    """The workers that take each step together, the chief first."""

    names: tuple[str, ...]  # such as "worker 0"
    addresses: tuple[str, ...]
    rank: int  # which of them this process is


def parse(text: str) -> tuple[Mapping[str, Sequence[str]], str]:
    """Return ({job: addresses}, this task's job) of TF_CONFIG's text.

    Raises:
      ValueError: naming the invalid part.

    Example:
      >>> parse('{"cluster": {"ps": ["a:1"], "worker": ["b:2"]}, "task": {"type": "ps"}}')
      ({'ps': ['a:1'], 'worker': ['b:2']}, 'ps')
    """
    cluster, kind, _ = _parse(text, NEEDED)
    return cluster, kind


def workers(text: str) -> Workers:
    """Return the workers of TF_CONFIG's text; the chief is the job `chief`, else worker 0.

    Raises:
      ValueError: naming the invalid part.

    Example:
      >>> workers('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}')
      Workers(names=('worker 0', 'worker 1'), addresses=('a:1', 'b:1'), rank=1)
    """
    cluster, kind, index = _parse(text, ["worker"])
    for job in (*cluster, kind):
        if job not in cluster or job not in TOGETHER:
            raise ValueError(f"its job {job!r} is none of {' and '.join(TOGETHER)}, or not there")
    if len(cluster.get("chief", [])) > 1:
        raise ValueError("it has more than one chief")
    tasks = [(job, i) for job in TOGETHER for i in range(len(cluster.get(job, [])))]
    return Workers(
        names=tuple(f"{job} {i}" for job, i in tasks),
        addresses=tuple(cluster[job][i] for job, i in tasks),
        rank=tasks.index((kind, index)),
    )


def _parse(text: str, needed: Sequence[str]) -> tuple[Mapping[str, Sequence[str]], str, int]:
    """Return ({job: addresses}, this task's job, its index)."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    cluster, task = (_dict(config, name) for name in ("cluster", "task"))
    for job in (*needed, *cluster):
        _check_addresses(job, cluster.get(job))
    addresses = [address for job in cluster.values() for address in job]
    for address in addresses:
        if addresses.count(address) > 1:
            raise ValueError(f"two tasks have the address {address}")
    kind = task.get("type")
    if not isinstance(kind, str) or kind not in ("chief", *cluster):
        raise ValueError(f"its task is of type {kind!r}, which is not in the cluster")
    count = len(cluster.get(kind, [""]))
    index = task.get("index", 0 if count == 1 else None)
    if isinstance(index, str) and re.fullmatch("[0-9]+", index):
        index = int(index)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
        raise ValueError(f"its task is {kind} {index!r}, of {count}, counted from 0")
    return cluster, kind, index


def _dict(config: Any, name: str) -> dict[str, Any]:
    value = config.get(name) if isinstance(config, dict) else None
    if not isinstance(value, dict):
        raise ValueError(f"it has no {name}")
    return value


def _check_addresses(job: str, addresses: Any) -> None:
    if not isinstance(addresses, list) or not addresses:
        raise ValueError(f"{job} is {addresses!r}, expected a list of addresses")
    for address in addresses:
        match = ADDRESS.fullmatch(address) if isinstance(address, str) else None
        if not match or not 1 <= int(match["port"]) <= 65535:
            raise ValueError(f"{address!r} of {job} is no HOST:PORT with a port up to 65535")
