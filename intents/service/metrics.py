"""What Prometheus reads at /metrics: requests, latencies, answers by intent, the share that is out of scope."""

import time
from collections import deque
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intents.serving.classifier import Answer

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
TOGETHER = (1, 2, 4, 8, 16, 32, 64, 128, 256)
RECENT = 1000  # queries
disable_created_metrics()  # else each figure has another that says when it began


class Metrics:
    """The figures of one service, in a registry of their own.

    Args:
        intents: their names, out-of-scope last; each has a figure from the start.
    """

    def __init__(self, intents: list[str]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "intents_requests", "Requests by path and status of HTTP.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "intents_request_seconds",
            "Seconds from a request's headers to its answer.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        answers = Counter(
            "intents_answers",
            f"Queries by the intent that was answered; {intents[-1]} stands for all that were out of scope.",
            ["intent"],
            registry=self.registry,
        )
        self._answers = {intent: answers.labels(intent) for intent in intents}
        self._out_of_scope = self._answers[intents[-1]]
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self.share = Gauge(
            "intents_out_of_scope_share",
            f"Share of the last {RECENT} queries that were out of scope.",
            registry=self.registry,
        )
        self.share.set_function(lambda: sum(self._recent) / max(len(self._recent), 1))
        self.waiting = Gauge("intents_waiting_queries", "Queries that wait to be answered.", registry=self.registry)
        self.together = Histogram(
            "intents_queries_together", "Queries answered together.", buckets=TOGETHER, registry=self.registry
        )

    def count(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            (self._out_of_scope if answer.out_of_scope else self._answers[answer.intent]).inc()
            self._recent.append(answer.out_of_scope)


class Measured:
    """An application whose requests are counted and timed.

    Args:
        app: answers them.
        paths: that have figures of their own; all others are counted as one, since clients make them up.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # if it ends without an answer

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"] if scope["path"] in self._paths else "other"
        begun = time.perf_counter()
        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.seconds.labels(path).observe(time.perf_counter() - begun)
            self._metrics.requests.labels(path, str(status)).inc()
