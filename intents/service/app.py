"""The service: what each path does. The model answers in a thread of its own, never in the event loop."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from intents.service import page, rasa, reading, schema
from intents.service.limits import Limits
from intents.service.metrics import Measured, Metrics
from intents.service.queue import FullError, Queue
from intents.service.reading import Question, RefusedError
from intents.serving.__main__ import as_json
from intents.serving.classifier import Answer, Classifier

PATHS = frozenset({"/", "/predict", "/model/parse", "/health", "/metrics", "/openapi.json"})
EXAMPLE = "wake me up at six"


def create(classifier: Classifier, limits: Limits | None = None) -> FastAPI:
    """The application.

    Args:
        classifier: answers the queries.
        limits: what a client may ask for.
    """
    limits = limits or Limits()
    rule = classifier.rule
    metrics = Metrics(rule.intents)
    line = Queue(classifier, limits.waiting, metrics.together.observe)
    metrics.waiting.set_function(lambda: line.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        line.start()
        yield
        await line.stop()

    app = FastAPI(
        title="Intent classifier",
        description="The intent of a query, its probability, and whether the query is in scope.",
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Measured, metrics=metrics, paths=PATHS)
    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(HTTPException, no_such_path)
    app.add_exception_handler(Exception, defect)

    async def answered(question: Question) -> list[Answer]:
        try:
            answers = await line.answers(question.texts, question.top)
        except FullError:
            raise RefusedError(
                503, f"too many queries wait; allowed: {limits.waiting}. Try again in a second", {"Retry-After": "1"}
            ) from None
        except asyncio.CancelledError:
            raise reading.stopping() from None
        metrics.count(answers)
        return answers

    @app.post(
        "/predict",
        summary="The intent of a query, or of several",
        responses={200: {"model": schema.Prediction | schema.Predictions}, **schema.ERRORS},
        openapi_extra=schema.request_body(schema.question(limits), {"text": EXAMPLE, "top": 3}),
    )
    async def predict(request: Request) -> Response:
        question = reading.question(await reading.body(request, limits), limits)
        found = [as_json(answer, rule.threshold) for answer in await answered(question)]
        return as_response(f'{{"answers": [{", ".join(found)}]}}' if question.many else found[0])

    @app.post(
        "/model/parse",
        summary="The same in Rasa's format",
        responses={200: {"model": schema.ParseResult}, **schema.ERRORS},
        openapi_extra=schema.request_body(schema.message(limits), {"text": EXAMPLE}),
    )
    async def parse(request: Request) -> Response:
        if mode := request.query_params.get("emulation_mode"):
            raise RefusedError(400, f"emulation_mode is {reading.shown(mode)}; allowed: none, Rasa's own format")
        question = reading.message(await reading.body(request, limits), limits)
        (answer,) = await answered(question)
        return as_response(json.dumps(rasa.parsed(question.texts[0], answer)))

    @app.get("/health", summary="Whether the service answers", responses={200: {"model": schema.Health}})
    async def health() -> Response:
        found = {"intents": len(rule.intents) - 1, "threshold": rule.threshold, "waiting": line.waiting}
        return as_response(json.dumps({"status": "ok", **found}))

    @app.get("/metrics", summary="Figures for Prometheus")
    async def figures() -> Response:
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.get("/", include_in_schema=False)
    async def shown() -> Response:
        return Response(page.HTML, headers=page.HEADERS, media_type="text/html")

    for path, function in (("/", shown), ("/health", health), ("/metrics", figures)):
        app.add_api_route(path, function, methods=["HEAD"], include_in_schema=False)
    return app


def as_response(content: str, status: int = 200, headers: Any = None) -> Response:
    return Response(content, status, headers, media_type="application/json")


async def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return as_response(json.dumps({"error": str(error)}), error.status, error.headers)


async def no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = f"{reading.shown(request.method)} of {reading.shown(request.url.path)}"
    if error.status_code == 405:
        message = f"{found} is not offered; allowed: {(error.headers or {}).get('Allow', 'another method')}"
    else:
        message = f"{found}: {error.detail}; allowed: {', '.join(sorted(PATHS))}"
    return as_response(json.dumps({"error": message}), error.status_code, error.headers)


async def defect(_: Request, error: Exception) -> Response:
    """A fault of ours: its traceback goes to the log, never to the client."""
    return as_response(json.dumps({"error": f"the service failed ({type(error).__name__}); its log says more"}), 500)
