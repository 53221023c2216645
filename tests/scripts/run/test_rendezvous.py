"""Workers that meet, and one clear line for each that does not."""

import contextlib
import socket
import threading

from train.lib.run import rendezvous, tf_servers
from train.lib.run.errors import UsageError

NAMES = ["worker 0", "worker 1", "worker 2"]


def meet(places, seconds=20):
    """Let workers of (addresses, rank) meet; return what each is told, None where all is well."""
    told = [None] * len(places)

    def one(number):
        try:
            addresses, rank = places[number]
            rendezvous.meet(NAMES[: len(addresses)], addresses, rank, seconds)
        except UsageError as error:
            told[number] = str(error)

    threads = [threading.Thread(target=one, args=[number]) for number in range(len(places))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_all_go_on_when_all_have_come_whoever_else_calls():
    addresses = tf_servers.free_addresses(3)
    stop = threading.Event()

    def strangers():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                host, port = addresses[0].split(":")
                with socket.create_connection((host, int(port)), timeout=1) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    connection.recv(1)

    stranger = threading.Thread(target=strangers)
    stranger.start()
    try:
        assert meet([(addresses, rank) for rank in (2, 0, 1)]) == [None] * 3
    finally:
        stop.set()
        stranger.join()


def test_a_worker_that_does_not_come_is_named_and_ends_the_others():
    addresses = tf_servers.free_addresses(3)
    chief, other = meet([(addresses, 0), (addresses, 1)], seconds=1)
    assert chief == (
        f"worker 2 of TF_CONFIG ({addresses[2]}) has not come after 1 s: start it there, or "
        "correct the address"
    )
    assert "worker 0 of TF_CONFIG" in other
    assert "has given up: see what it says" in other or "has not come after 1 s" in other


def test_a_chief_that_does_not_come_is_named():
    addresses = tf_servers.free_addresses(2)
    [told] = meet([(addresses, 1)], seconds=0.5)
    assert told.startswith(f"worker 0 of TF_CONFIG ({addresses[0]}) has not come after 0.5 s")


def test_workers_with_different_addresses_are_refused():
    first, second, third = tf_servers.free_addresses(3)
    chief, other = meet([([first, second], 0), ([first, third], 1)])
    assert chief == (
        f"worker 1 has other addresses in its TF_CONFIG ({first}, {third}) than worker 0 "
        f"({first}, {second}): give all workers the same"
    )
    assert "has given up" in other


def test_a_port_that_is_taken_is_one_clear_line():
    addresses = tf_servers.free_addresses(2)
    host, port = addresses[1].split(":")
    with socket.create_server((host, int(port))):
        [told] = meet([(addresses, 1)])
    assert told == (
        f"worker 1 cannot listen at its address {addresses[1]} in TF_CONFIG: Address already in "
        "use; end what uses the port, or choose another"
    )
