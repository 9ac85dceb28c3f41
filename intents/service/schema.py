"""What requests and answers look like, for the OpenAPI document; `reading` checks requests, with its own messages."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from intents.service.limits import Limits


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Alternative(Schema):
    intent: str
    probability: float = Field(ge=0, le=1)


class Prediction(Schema):
    """The answer to one query."""

    intent: str = Field(description="The likeliest intent in scope, also where the query is out of scope.")
    probability: float = Field(ge=0, le=1, description="Of that intent among all answers, calibrated on validation.")
    score: float = Field(description="Of the out-of-scope rule.")
    threshold: float = Field(description="A query with a score below it is out of scope.")
    out_of_scope: bool
    top: list[Alternative] | None = Field(None, description="The likeliest intents; there if `top` was asked for.")


class Predictions(Schema):
    """The answers to several queries, in their order."""

    answers: list[Prediction]


class Intent(Schema):
    name: str
    confidence: float = Field(ge=0, le=1)


class ParseResult(Schema):
    """Rasa's answer."""

    text: str
    intent: Intent = Field(description="nlu_fallback where the message is out of scope.")
    intent_ranking: list[Intent]
    entities: list[dict[str, Any]] = Field(description="None are found: it is empty.")


class Health(Schema):
    status: str
    intents: int = Field(description="Intents that the model knows, out of scope not counted.")
    threshold: float
    waiting: int = Field(description="Queries that wait to be answered.")


class Problem(Schema):
    error: str = Field(description="One line: what was found, and what is allowed.")


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not JSON in UTF-8."},
    408: {"model": Problem, "description": "The request did not come in time."},
    413: {"model": Problem, "description": "The body is too large."},
    415: {"model": Problem, "description": "The body is compressed."},
    422: {"model": Problem, "description": "The body asks for something else, or for more than is allowed."},
    503: {"model": Problem, "description": "Too many queries wait; the header Retry-After says when to try again."},
}


def request_body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI cannot see, since it does not read the bodies itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def question(limits: Limits) -> dict[str, Any]:
    """The schema of what /predict reads."""
    text = {"type": "string", "maxLength": limits.characters}
    texts = {"type": "array", "items": text, "maxItems": limits.batch}
    top = {"type": "integer", "minimum": 0, "maximum": limits.top, "default": 0, "description": "Alternatives to name."}

    def asking(key: str, what: dict[str, Any]) -> dict[str, Any]:
        properties = {key: what, "top": top}
        return {"type": "object", "properties": properties, "required": [key], "additionalProperties": False}

    return {"oneOf": [asking("text", text), asking("texts", texts)]}


def message(limits: Limits) -> dict[str, Any]:
    """The schema of what /model/parse reads."""
    text = {"type": "string", "maxLength": limits.characters}
    return {"type": "object", "properties": {"text": text}, "required": ["text"]}
