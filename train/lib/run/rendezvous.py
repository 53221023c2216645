"""Workers of a cluster meet before they start TensorFlow, which would wait for them in silence.

The first worker, the chief, listens at its address; the others report there, and go on when all
have come.
"""

import json
import os
import socket
import time
from collections.abc import Sequence

from train.lib.run.errors import UsageError

GO = b"go\n"
REPLY_SECONDS = 5  # for whoever has connected to say who it is
LONGEST = 2**20  # bytes of what it says


def meet(names: Sequence[str], addresses: Sequence[str], rank: int, seconds: float) -> None:
    """Return when all workers have come.

    Args:
      names: what the workers are called, such as "worker 0"; the chief first.
      addresses: their HOST:PORT.
      rank: which of them this process is.
      seconds: how long to wait.

    Raises:
      UsageError: where this worker's port is taken, a worker has not come in time, or workers have
        been given different addresses.
    """
    end = time.monotonic() + seconds
    with _listen(addresses[rank], names[rank]) as listener:
        if rank == 0:
            _receive(listener, names, addresses, end, seconds)
        else:
            _report(names, addresses, rank, end, seconds)


def _listen(address: str, name: str) -> socket.socket:
    """Listen at this worker's own port, which TensorFlow takes afterwards."""
    _, port = _split(address)
    try:
        return socket.create_server(("", port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(
            f"{name} cannot listen at its address {address} in TF_CONFIG: {reason}; "
            "end what uses the port, or choose another"
        ) from error


def _receive(listener, names, addresses, end, seconds):
    """Wait for all others as the chief, and let them go on."""
    arrived: dict[int, socket.socket] = {}
    try:
        while len(arrived) < len(addresses) - 1:
            listener.settimeout(max(end - time.monotonic(), 0.01))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                _refuse_absent(names, addresses, arrived, seconds)
            connection.settimeout(REPLY_SECONDS)
            rank, theirs = _hello(connection)
            if rank not in range(1, len(addresses)):  # not one of ours
                connection.close()
                continue
            if rank in arrived:  # it was started again
                arrived[rank].close()
            arrived[rank] = connection
            if theirs != list(addresses):
                raise UsageError(
                    f"{names[rank]} has other addresses in its TF_CONFIG ({', '.join(theirs)}) "
                    f"than {names[0]} ({', '.join(addresses)}): give all workers the same"
                )
        for connection in arrived.values():
            connection.sendall(GO)
    finally:
        for connection in arrived.values():
            connection.close()


def _refuse_absent(names, addresses, arrived, seconds):
    absent = [rank for rank in range(1, len(names)) if rank not in arrived]
    more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    raise UsageError(
        f"{names[absent[0]]} of TF_CONFIG ({addresses[absent[0]]}){more} has not come after "
        f"{seconds:g} s: start it there, or correct the address"
    ) from None


def _hello(connection):
    """Return (rank, addresses) of who has connected; (-1, []) of somebody else."""
    try:
        with connection.makefile("rb") as stream:
            said = json.loads(stream.readline(LONGEST))
        return int(said["rank"]), [str(address) for address in said["addresses"]]
    except (OSError, ValueError, TypeError, KeyError):
        return -1, []


def _report(names, addresses, rank, end, seconds):
    """Report to the chief, and wait until it lets this worker go on."""
    hello = json.dumps({"rank": rank, "addresses": list(addresses)}).encode() + b"\n"
    chief = f"{names[0]} of TF_CONFIG ({addresses[0]})"
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection(_split(addresses[0]), timeout=1) as connection:
                connection.settimeout(left)
                connection.sendall(hello)
                answer = connection.recv(len(GO))
        except OSError:  # it does not listen yet, or its last run has not ended yet
            time.sleep(0.2)
            continue
        if answer == GO:
            return
        if not answer:
            raise UsageError(f"{chief} has given up: see what it says")
        time.sleep(0.2)
    raise UsageError(
        f"{chief} has not come after {seconds:g} s: start it there, or correct the address"
    )


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
