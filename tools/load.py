"""load: how many requests a second the service can hold, and what it does at half and at twice as many.

python -m tools.load --seconds 30

It starts the service on this machine, asks it single queries over connections that stay open, and prints a table.
Client and service share the cores. Requests are due at fixed times, whatever the service does; a latency is counted
from the time when its request was due, so that one that had to wait is not taken for a fast one.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from intents.core import files
from intents.core.errors import Parser, PipelineError, run_program
from intents.service.limits import Limits
from tools.arguments import number

SAMPLE = Path("data/sample/sample.json")
TICK = 0.001  # seconds between looks at what is due
LONGEST = 0.1  # seconds; a load is held while 99 % of the answers come in less
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # of the answers a second when the next follows at once
AFTER = 20  # seconds for what is still to be sent when no more is due
PATIENCE = 20  # seconds for what is still to be answered when no more is sent


@dataclass
class Outcome:
    """What came of one load."""

    offered: float  # requests a second; infinite: the next as soon as one is answered
    seconds: float = 0.0  # from the first request to the last answer
    latencies: list[float] = field(default_factory=list)  # seconds, of what was answered with 200
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0  # sent, and never answered
    unsent: int = 0  # due, and never sent: no connection was free
    memory: list[float] = field(default_factory=list)  # MiB of the service, once a second

    def percentile(self, share: float) -> float:
        """Milliseconds in which that share (0 to 100) of the answers came."""
        return float(np.percentile(self.latencies, share) * 1000) if self.latencies else float("inf")

    def held(self) -> bool:
        return (
            set(self.statuses) == {200} and not self.lost and not self.unsent and self.percentile(99) < LONGEST * 1000
        )


class Connection(asyncio.Protocol):
    """A connection that has one request under way at most."""

    def __init__(self, load: "Load") -> None:
        self._load, self._content, self.due = load, b"", -1.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._load.idle.append(self)

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._content += data
        head, found, body = self._content.partition(b"\r\n\r\n")
        if found and len(body) >= int(re.findall(rb"content-length: (\d+)", head)[0]):
            self._content, due, self.due = b"", self.due, -1.0
            self._load.answered(self, due, int(head.split()[1]))

    def connection_lost(self, _: Exception | None) -> None:
        self._load.closed(self)


class Load:
    """Requests at a fixed rate, over a fixed number of connections.

    Args:
        port: where the service listens, on this machine.
        requests: whole HTTP requests, sent in turn.
        connections: as many requests may be under way at once.
    """

    def __init__(self, port: int, requests: list[bytes], connections: int) -> None:
        self._port, self._requests, self._connections = port, requests, connections
        self.idle: deque[Connection] = deque()

    async def run(self, rate: float, seconds: float, process: psutil.Process) -> Outcome:
        """Send `rate` requests a second for so many seconds, and wait for their answers."""
        self._outcome, self._open, self._sent, self._done = Outcome(rate), 0, 0, 0
        self.idle.clear()
        loop = asyncio.get_running_loop()
        opened = [
            (await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port))[1]
            for _ in range(self._connections)
        ]
        begun = last = time.perf_counter()
        self._end = begun + seconds
        self._endless = rate == float("inf")
        total = 0 if self._endless else round(rate * seconds)
        while self._endless and self.idle:
            self._ask(self.idle.popleft(), begun)
        while (now := time.perf_counter()) < self._end or (self._sent < total and now < self._end + AFTER):
            while self.idle and self._sent < min(total, int((now - begun) * rate) + 1 if total else 0):
                self._ask(self.idle.popleft(), begun + self._sent / rate)
            if now >= last + 1:
                self._outcome.memory.append(process.memory_info().rss / 2**20)
                last = now
            await asyncio.sleep(TICK)
        until = time.perf_counter() + PATIENCE  # what was sent has time to be answered, however late it was sent
        while self._sent > self._done + self._outcome.lost and time.perf_counter() < until:
            await asyncio.sleep(TICK)
        self._outcome.seconds = time.perf_counter() - begun
        self._outcome.lost = self._sent - self._done
        self._outcome.unsent = max(total - self._sent, 0)
        for connection in opened:
            connection.transport.abort()
        return self._outcome

    def _ask(self, connection: Connection, due: float) -> None:
        self._sent += 1
        connection.ask(self._requests[self._sent % len(self._requests)], due)

    def answered(self, connection: Connection, due: float, status: int) -> None:
        self._done += 1
        self._outcome.statuses[status] += 1
        if status == 200:
            self._outcome.latencies.append(time.perf_counter() - due)
        if self._endless and (now := time.perf_counter()) < self._end:
            self._ask(connection, now)
        else:
            self.idle.append(connection)

    def closed(self, connection: Connection) -> None:
        if connection.due >= 0:
            self._outcome.lost += 1
        with contextlib.suppress(ValueError):
            self.idle.remove(connection)


@contextlib.contextmanager
def service(model: Path, connections: int) -> Iterator[tuple[psutil.Process, int]]:
    """The service as a process of its own, and its port; it takes twice as many connections, as some may still close.

    Raises:
        PipelineError: it does not start.
    """
    limit = str(max(2 * connections, Limits().connections))
    command = [sys.executable, "-m", "intents.service", "--port=0", f"--model={model}", f"--connections={limit}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            where = re.search(r":(\d+)$", process.stdout.readline().strip())
            if not where:
                raise PipelineError("the service did not start; what it says stands above")
            yield psutil.Process(process.pid), int(where[1])
        finally:
            process.terminate()


def queries(path: Path) -> list[str]:
    """The lines of a file.

    Raises:
        PipelineError: it cannot be read, or has none.
    """
    try:
        found = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PipelineError(f"--queries {path} cannot be read: {reason}; allowed: a file of queries") from None
    if not found:
        raise PipelineError(f"--queries {path} is empty; allowed: a file of queries, one a line")
    return found


def sample() -> list[str]:
    return [
        text for rows in json.loads(files.require(SAMPLE, "git checkout data").read_text()).values() for text, _ in rows
    ]


def requests_of(texts: list[str]) -> list[bytes]:
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    return [head % (len(body), body) for body in bodies]


async def measured(load: Load, process: psutil.Process, seconds: float) -> list[tuple[str, Outcome]]:
    """The loads that the table shows, each with its name."""
    short = max(seconds / 4, 1)
    await load.run(float("inf"), short / 2, process)  # warm
    most = await load.run(float("inf"), short, process)
    rate = most.statuses[200] / most.seconds
    for share in SHARES:
        held = await load.run(rate * share, short, process)
        if held.held():
            break
    else:
        raise PipelineError(f"no load from {rate * SHARES[-1]:.0f} requests a second is held; is this machine busy?")
    half = await load.run(held.offered / 2, seconds, process)
    twice = await load.run(held.offered * 2, seconds, process)
    return [("as fast as it can", most), ("held", held), ("half of it", half), ("twice as much", twice)]


def table(found: list[tuple[str, Outcome]]) -> str:
    lines = [
        "load               offered/s  answers/s   p50 ms   p99 ms    200    503  others  lost  unsent  MiB, first-last"
    ]
    for name, one in found:
        others = sum(one.statuses.values()) - one.statuses[200] - one.statuses[503]
        lines.append(
            f"{name:17} {one.offered:10.0f} {one.statuses[200] / one.seconds:10.0f} {one.percentile(50):8.2f} "
            f"{one.percentile(99):8.2f} {one.statuses[200]:6} {one.statuses[503]:6} {others:7} {one.lost:5} "
            f"{one.unsent:7}  " + (f"{one.memory[0]:.0f} to {one.memory[-1]:.0f}" if one.memory else "")
        )
    return "\n".join(lines)


def main() -> None:
    parser = Parser("tools.load", __doc__)
    parser.add_argument(
        "--seconds",
        type=number(float, 0, 3600, above=True),
        default=30,
        help="of half and of twice the load (default 30)",
    )
    parser.add_argument("--connections", type=number(int, 1, 10_000), default=64, help="open at once (default 64)")
    parser.add_argument("--model", type=Path, default=Path("release"), help="the folder of the model (default release)")
    parser.add_argument("--queries", type=Path, help="a file of queries, one a line (default those of data/sample/)")
    arguments = parser.parse_args()
    texts = queries(arguments.queries) if arguments.queries else sample()
    with service(arguments.model, arguments.connections) as (process, port):
        load = Load(port, requests_of(texts), arguments.connections)
        print(table(asyncio.run(measured(load, process, arguments.seconds))))


if __name__ == "__main__":
    run_program(main)
