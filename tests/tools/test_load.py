"""load: what it counts is what the service was asked and answered."""

import asyncio
import os
from collections import Counter

import psutil
import pytest
from conftest import ROOT

from intents.core.errors import PipelineError
from tools import load

ANSWER = b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}"


def outcome(
    rate: float, seconds: float, statuses: list[int], connections: int = 4, delay: float = 0.0
) -> tuple[load.Outcome, int]:
    """What `load` says of a server that answers with `statuses` in turn (0: it closes), and how often it was asked."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        try:
            while True:
                await reader.readuntil(b"}")
                status = statuses[asked % len(statuses)]
                asked += 1
                if not status:
                    break
                head, _, body = (ANSWER % status).partition(b"\r\n\r\n")
                writer.write(head + b"\r\n\r\n")
                await asyncio.sleep(delay)  # in two pieces, as the service's come
                writer.write(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def play() -> load.Outcome:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            tested = load.Load(port, load.requests_of(["play", "wake me"]), connections)
            return await tested.run(rate, seconds, psutil.Process(os.getpid()))

    return asyncio.run(play()), asked


def test_all_that_is_due_is_sent_and_counted() -> None:
    found, asked = outcome(200, 0.5, [200])
    assert asked == found.statuses[200] == len(found.latencies) == 100
    assert found.lost == found.unsent == 0
    assert found.statuses == {200: 100}
    assert 0 < found.percentile(50) <= found.percentile(99)


def test_as_fast_as_it_can_sends_the_next_when_one_is_answered() -> None:
    found, asked = outcome(float("inf"), 0.2, [200])
    assert asked == found.statuses[200] > 4
    assert found.lost == 0


def test_refusals_are_counted_and_have_no_latency() -> None:
    found, _ = outcome(200, 0.25, [200, 503])
    assert found.statuses == {200: 25, 503: 25}
    assert len(found.latencies) == 25
    assert not found.held()


def test_what_is_under_way_when_time_is_up_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer takes longer than there is for sending: each connection is asked once, and busy when that is over."""
    monkeypatch.setattr(load, "AFTER", 0)
    found, asked = outcome(100, 0.3, [200], delay=0.5)
    assert asked == found.statuses[200] == 4
    assert (found.lost, found.unsent) == (0, 26)


def test_what_is_sent_and_never_answered_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "AFTER", 0.2)
    monkeypatch.setattr(load, "PATIENCE", 0.2)
    found, asked = outcome(100, 0.3, [200, 200, 0])
    assert found.lost == asked - found.statuses[200] == 4  # each took its connection along
    assert found.unsent == 30 - asked == 18
    assert not found.held()


@pytest.mark.parametrize(
    ("latencies", "statuses", "lost", "held"),
    [
        ([0.001] * 100, {200: 100}, 0, True),
        ([0.001] * 97 + [0.2] * 3, {200: 100}, 0, False),
        ([0.001] * 100, {200: 100, 503: 1}, 0, False),
        ([0.001] * 100, {200: 100}, 1, False),
        ([], {}, 0, False),
    ],
)
def test_a_load_is_held_when_nearly_all_answers_come_in_time(
    latencies: list[float], statuses: dict[int, int], lost: int, held: bool
) -> None:
    assert load.Outcome(1.0, 1.0, latencies, Counter(statuses), lost).held() == held


def test_the_service_itself_holds_a_small_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with load.service(load.Path("release"), 600) as (process, port):
        tested = load.Load(port, load.requests_of(["play some jazz"]), 4)
        found = asyncio.run(tested.run(20, 1, process))
        many = load.Load(port, load.requests_of(["play some jazz"]), 600)  # more than the service takes by itself
        crowd = asyncio.run(many.run(100, 1, process))
    assert found.statuses == {200: 20}
    assert crowd.statuses == {200: 100}
    assert found.lost == crowd.lost == 0
    table = load.table([("small", found)]).splitlines()
    assert table[1].split()[:2] == ["small", "20"]


def test_a_service_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(PipelineError, match="the service did not start"), load.service(load.Path("nowhere"), 4):
        pass
