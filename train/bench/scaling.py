"""How long a training step takes on n accelerators: formulas, from a step's time and its bytes.

They leave out what overlaps: gradients that are sent while others are computed make a step shorter,
by at most the shorter of the two.
"""

from typing import NamedTuple

# Bytes a second in one direction, and seconds until the first byte arrives.
NETWORKS = {
    "25 Gbit/s": (25e9 / 8, 20e-6),
    "100 Gbit/s": (100e9 / 8, 5e-6),
    "NVLink": (300e9, 3e-6),
}


class Step(NamedTuple):
    """One step of one accelerator.

    Args:
      seconds: of computing.
      net_bytes: of the network's gradients.
      critic_bytes: of the critics' gradients.
    """

    seconds: float
    net_bytes: float
    critic_bytes: float = 0.0


def ring(count: int, size: float, bandwidth: float, latency: float) -> float:
    """Return the seconds of a ring all-reduce: 2 (n-1) messages of 1/n of the bytes each.

    >>> ring(4, size=8.0, bandwidth=2.0, latency=0.5)
    9.0
    """
    return 2 * (count - 1) * (size / count / bandwidth + latency)


def synchronous(step: Step, count: int, bandwidth: float, latency: float) -> float:
    """Return the seconds of a step in which all gradients are averaged over `count` replicas."""
    return step.seconds + ring(count, step.net_bytes + step.critic_bytes, bandwidth, latency)


def sequential(step: Step, count: int, bandwidth: float, latency: float) -> float:
    """Return the seconds of a step whose critics learn from one replica after another.

    As --critic_updates=sequential_async does it: one all-reduce of the critics for each replica.
    """
    net = ring(count, step.net_bytes, bandwidth, latency)
    return step.seconds + net + count * ring(count, step.critic_bytes, bandwidth, latency)


def parameter_server(step: Step, count: int, bandwidth: float, servers: int = 1) -> float:
    """Return the seconds between two steps of a worker, of `count` that do not wait for each other.

    A worker fetches all weights and sends all gradients; the servers' lines carry those of all
    workers. What is slower, a worker or the servers, sets the pace.
    """
    size = step.net_bytes + step.critic_bytes
    return max(step.seconds + 2 * size / bandwidth, count * size / servers / bandwidth)


def stages(step: Step, count: int, size: float, bandwidth: float, latency: float) -> float:
    """Return the seconds of a step whose `count` equal stages are on devices of their own.

    Synthetic gradients need nothing back: a stage sends its h, of `size` bytes, and goes on.
    """
    return max(step.seconds / count, size / bandwidth + latency)


def efficiency(step: Step, seconds: float) -> float:
    """Return the share of the time in which an accelerator computes."""
    return step.seconds / seconds
