"""Queries wait in line for the one thread that answers them, so the event loop never waits for the model.

The line is bounded: what comes when it is full is refused, and memory stays as it is. The thread takes all that waits,
up to a bound, and answers it together; nobody waits for a batch to fill.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from intents.serving.classifier import BATCH, Answer, Classifier

Outcome = list[Answer] | Exception


class FullError(Exception):
    """The line is full."""


class Job(NamedTuple):
    texts: list[str]
    top: int
    future: asyncio.Future[list[Answer]]


class Queue:
    """The line and its thread. `answers` is called in the event loop that called `start`.

    Args:
        classifier: answers.
        most: queries that may wait or be in work at once.
        seen: called with the number of queries that are answered together, in the event loop.
    """

    def __init__(self, classifier: Classifier, most: int, seen: Callable[[int], object] = lambda _: None) -> None:
        self._classifier, self._most, self._seen = classifier, most, seen
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        self.waiting = 0  # queries; changed in the event loop alone

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Answer what waits, and end the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def answers(self, texts: list[str], top: int) -> list[Answer]:
        """The answers to `texts`, in their order.

        Raises:
            FullError: they would be too many in the line.
        """
        if not texts:
            return []
        if self.waiting + len(texts) > self._most:
            raise FullError
        self.waiting += len(texts)
        future: asyncio.Future[list[Answer]] = self._loop.create_future()
        self._jobs.put(Job(texts, top, future))
        return await future

    def _work(self) -> None:
        """The thread: take what waits, answer it, hand it to the event loop."""
        ended = False
        while not ended:
            group: list[Job] = []
            job = self._jobs.get()
            while job is not None:
                group.append(job)
                if sum(len(job.texts) for job in group) >= BATCH:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            ended = job is None
            if group:
                self._loop.call_soon_threadsafe(self._deliver, group, self._outcomes(group))

    def _outcomes(self, group: list[Job]) -> list[Outcome]:
        """The answers of each job; if they fail together, each alone, so that none fails because of another."""
        try:
            found = iter(
                self._classifier.batch([text for job in group for text in job.texts], max(j.top for j in group))
            )
            return [[next(found) for _ in job.texts] for job in group]
        except Exception as error:
            if len(group) == 1:
                return [error]
            return [outcome for job in group for outcome in self._outcomes([job])]

    def _deliver(self, group: list[Job], outcomes: list[Outcome]) -> None:
        """In the event loop: each job gets its answers with as many alternatives as it asked for."""
        self._seen(sum(len(job.texts) for job in group))
        for job, outcome in zip(group, outcomes, strict=True):
            self.waiting -= len(job.texts)
            if job.future.done():  # cancelled: its client has disconnected
                continue
            if isinstance(outcome, Exception):
                job.future.set_exception(outcome)
            else:
                job.future.set_result([a._replace(alternatives=a.alternatives[: job.top]) for a in outcome])
