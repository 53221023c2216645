"""TF_CONFIG: the addresses of a cluster and this process's place in it, checked."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

NEEDED = ("ps", "worker")
ADDRESS = re.compile(r"(?P<host>[^\s:/]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")


def parse(text: str) -> tuple[Mapping[str, Sequence[str]], str]:
    """Return ({job: addresses}, this task's job) of TF_CONFIG's text.

    Raises:
      ValueError: naming the part that cannot be.

    Example:
      >>> parse('{"cluster": {"ps": ["a:1"], "worker": ["b:2"]}, "task": {"type": "ps"}}')
      ({'ps': ['a:1'], 'worker': ['b:2']}, 'ps')
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    cluster, task = (_dict(config, name) for name in ("cluster", "task"))
    for job in (*NEEDED, *cluster):
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
    return cluster, kind


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
