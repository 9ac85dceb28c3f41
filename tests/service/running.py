"""The service as a process of its own, and bytes to and from it."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from conftest import ROOT

WAIT = 30  # seconds, for a machine that is busy


@contextlib.contextmanager
def running(log: Path, *options: str, folder: Path = ROOT) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that serves, and its port; what it says beside where it serves goes to `log`."""
    command = [sys.executable, "-m", "intents.service", "--port", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (
        log.open("w") as said,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            assert process.stdout
            first = process.stdout.readline()
            where = re.fullmatch(r"serving .* at http://127\.0\.0\.1:(\d+)\n", first)
            assert where, (first, log.read_text())
            yield process, int(where[1])
        finally:
            process.kill()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT)


def everything(connection: socket.socket) -> bytes:
    """What comes until the service closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):  # it closed while more was being sent
        while some := connection.recv(1 << 16):
            found += some
    return found


def answered(connection: socket.socket) -> bytes:
    """One answer, on a connection that stays open."""
    found = b""
    while True:
        head, ended, body = found.partition(b"\r\n\r\n")
        if ended and len(body) == int(re.findall(rb"content-length: (\d+)", head)[0]):
            return found
        some = connection.recv(1 << 16)
        assert some, found
        found += some


def exchanged(port: int, pieces: Iterable[bytes]) -> bytes:
    """What comes back for pieces that are sent one after the other."""
    with connected(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
            for piece in pieces:
                connection.sendall(piece)
        return everything(connection)


def statuses(content: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", content)]


def until(check: object, seconds: float = WAIT) -> None:
    """Wait until `check` returns something true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)
