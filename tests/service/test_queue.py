"""The line of queries: bounded, answered together, in a thread that the event loop never waits for."""

import asyncio
import threading

import pytest

from intents.service.queue import FullError, Queue
from intents.serving.classifier import BATCH, Answer


class Slow:
    """A classifier that answers when it is let, and notes what it is given."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.threads: set[str] = set()
        self.let = threading.Event()

    def batch(self, texts: list[str], top: int) -> list[Answer]:
        self.groups.append(texts)
        self.threads.add(threading.current_thread().name)
        assert self.let.wait(30)
        if "bad" in texts:
            raise ValueError("bad")
        return [Answer(text, 0.5, False, 1.0, tuple((text, 0.5) for _ in range(top))) for text in texts]


def run(scene: object, most: int = 100) -> Slow:
    """Play a scene with a queue and its classifier, in an event loop."""
    slow = Slow()

    async def play() -> None:
        line = Queue(slow, most)
        line.start()
        await asyncio.wait_for(scene(line, slow), 30)
        slow.let.set()
        await line.stop()
        assert line.waiting == 0

    asyncio.run(play())
    return slow


async def begun(slow: Slow) -> None:
    """Wait until the first group is at work."""
    while not slow.groups:
        await asyncio.sleep(0.001)


def test_the_event_loop_goes_on_while_the_model_works() -> None:
    async def scene(line: Queue, slow: Slow) -> None:
        asked = asyncio.create_task(line.answers(["a"], 0))
        await begun(slow)
        for _ in range(100):  # turns of the loop, which none would get to if it waited
            await asyncio.sleep(0)
        assert not asked.done()
        slow.let.set()
        assert [answer.intent for answer in await asked] == ["a"]

    assert run(scene).threads == {"answers"}


def test_what_waits_is_answered_together_and_each_gets_its_own() -> None:
    async def scene(line: Queue, slow: Slow) -> None:
        first = asyncio.create_task(line.answers(["first"], 0))
        await begun(slow)
        others = [asyncio.create_task(line.answers([f"{n}", f"{n}, too"], n)) for n in range(5)]
        await asyncio.sleep(0.01)
        assert line.waiting == 11
        slow.let.set()
        await first
        for number, answers in enumerate(await asyncio.gather(*others)):
            assert [answer.intent for answer in answers] == [f"{number}", f"{number}, too"]
            assert [len(answer.alternatives) for answer in answers] == [number, number]

    assert [len(group) for group in run(scene).groups] == [1, 10]


def test_no_more_are_answered_together_than_a_batch() -> None:
    async def scene(line: Queue, slow: Slow) -> None:
        first = asyncio.create_task(line.answers(["first"], 0))
        await begun(slow)
        others = [asyncio.create_task(line.answers(["a"], 0)) for _ in range(BATCH + 5)]
        await asyncio.sleep(0.01)
        slow.let.set()
        await asyncio.gather(first, *others)

    assert [len(group) for group in run(scene).groups] == [1, BATCH, 5]


def test_a_full_line_refuses_and_takes_more_when_it_has_moved() -> None:
    async def scene(line: Queue, slow: Slow) -> None:
        held = [asyncio.create_task(line.answers(["a"], 0)) for _ in range(7)]
        await begun(slow)
        with pytest.raises(FullError):
            await line.answers(["b"] * 4, 0)
        held.append(asyncio.create_task(line.answers(["c"] * 3, 0)))  # as many as there is room for
        await asyncio.sleep(0)
        with pytest.raises(FullError):
            await line.answers(["d"], 0)
        slow.let.set()
        await asyncio.gather(*held)
        assert len(await line.answers(["e"] * 10, 0)) == 10

    assert "b" not in {text for group in run(scene, most=10).groups for text in group}


def test_one_that_fails_does_not_fail_its_neighbours() -> None:
    async def scene(line: Queue, slow: Slow) -> None:
        first = asyncio.create_task(line.answers(["first"], 0))
        await begun(slow)
        tasks = [asyncio.create_task(line.answers([text], 0)) for text in ("good", "bad", "better")]
        await asyncio.sleep(0.01)
        slow.let.set()
        await first
        good, bad, better = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good[0].intent, better[0].intent) == ("good", "better")
        assert isinstance(bad, ValueError)

    run(scene)


def test_one_whose_client_has_gone_is_passed_over() -> None:
    async def scene(line: Queue, slow: Slow) -> None:
        gone = asyncio.create_task(line.answers(["gone"], 0))
        await begun(slow)
        stays = asyncio.create_task(line.answers(["stays"], 0))
        await asyncio.sleep(0)
        gone.cancel()
        slow.let.set()
        assert (await stays)[0].intent == "stays"

    run(scene)


def test_it_stops_when_all_that_waits_is_answered() -> None:
    async def scene(line: Queue, slow: Slow) -> None:
        asked = [asyncio.create_task(line.answers([f"{n}"], 0)) for n in range(50)]
        await begun(slow)
        stopping = asyncio.create_task(line.stop())
        await asyncio.sleep(0.01)
        assert not stopping.done()
        slow.let.set()
        await stopping
        assert [answers[0].intent for answers in await asyncio.gather(*asked)] == [f"{n}" for n in range(50)]

    slow = Slow()

    async def play() -> None:
        line = Queue(slow, 100)
        line.start()
        await asyncio.wait_for(scene(line, slow), 30)  # which stops it

    asyncio.run(play())


def test_nothing_is_answered_with_nothing() -> None:
    async def scene(line: Queue, _: Slow) -> None:
        assert await line.answers([], 3) == []

    assert run(scene).groups == []
