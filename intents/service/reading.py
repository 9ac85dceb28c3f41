"""A request's body to the queries that it holds, or the reason why it is refused."""

import asyncio
import json
import reprlib
from typing import Any, NamedTuple

from starlette.requests import ClientDisconnect, Request

from intents.service.limits import Limits

RASA_RANKING = 10  # intents that Rasa's own classifiers name

_short = reprlib.Repr()  # bounded in depth too: what was sent may be nested as deeply as JSON can be read
_short.maxstring = _short.maxother = _short.maxlong = 60


class RefusedError(Exception):
    """A request that is not answered; its text is one line for the client.

    Args:
        status: of HTTP.
        message: what was found and what is allowed.
        headers: that the answer carries.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class Question(NamedTuple):
    texts: list[str]
    top: int  # alternatives that each answer names
    many: bool  # whether the answer is a list


async def body(request: Request, limits: Limits) -> bytes:
    """The body of a request, whole.

    Raises:
        RefusedError: it is too large, compressed, or does not come in time.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RefusedError(415, f"the body's Content-Encoding is {shown(encoding)}; allowed: identity, no compression")
    length = request.headers.get("content-length", "0")
    if len(length) > 18 or (length.isdecimal() and int(length) > limits.body):  # refused before it is sent
        raise too_large(limits)
    content = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                content += chunk
                if len(content) > limits.body:
                    raise too_large(limits)
    except TimeoutError:
        raise RefusedError(
            408, f"the body did not come whole; allowed: {limits.seconds} seconds", {"Connection": "close"}
        ) from None
    except asyncio.CancelledError:
        raise stopping() from None
    except ClientDisconnect:  # nobody reads this; the request counts as bad
        raise RefusedError(400, "the connection was closed before the body was whole") from None
    return bytes(content)


def stopping() -> RefusedError:
    """What a request gets that is not done when the time for stopping is over."""
    return RefusedError(503, "the service stops", {"Connection": "close", "Retry-After": "1"})


def too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"the body is too large; allowed: {limits.body} bytes")


def content_of(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds, whatever its Content-Type says.

    Raises:
        RefusedError: it is not UTF-8, not JSON, or no object.
    """
    try:
        found = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RefusedError(400, f"the body is not UTF-8 (byte {error.start}); allowed: JSON in UTF-8") from None
    except RecursionError:
        raise RefusedError(400, "the body is nested too deeply; allowed: a JSON object") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:80]
        raise RefusedError(400, f"the body is not JSON ({reason}); allowed: a JSON object") from None
    if not isinstance(found, dict):
        raise RefusedError(422, f"the body is {shown(found)}; allowed: a JSON object")
    return found


def question(body: bytes, limits: Limits) -> Question:
    """What /predict is asked: {"text": "..."} or {"texts": ["...", ...]}, each with or without "top".

    Raises:
        RefusedError: it asks for something else, or for more than the limits allow.
    """
    found = content_of(body)
    unknown = sorted(found.keys() - {"text", "texts", "top"})
    if unknown:
        raise RefusedError(422, f"the key {shown(unknown[0])} is not known; allowed: text or texts, and top")
    if ("text" in found) == ("texts" in found):
        both = "both" if "text" in found else "neither"
        raise RefusedError(422, f'allowed: one of "text" and "texts"; found: {both}')
    top = found.get("top", 0)
    if not isinstance(top, int) or isinstance(top, bool) or not 0 <= top <= limits.top:
        raise RefusedError(422, f'"top" is {shown(top)}; allowed: a whole number from 0 to {limits.top}')
    if "text" in found:
        return Question([text_of(found["text"], '"text"', limits)], top, many=False)
    texts = found["texts"]
    if not isinstance(texts, list):
        raise RefusedError(422, f'"texts" is {shown(texts)}; allowed: a list of texts')
    if len(texts) > limits.batch:
        raise RefusedError(422, f'"texts" holds {len(texts)} queries; allowed: {limits.batch}')
    return Question([text_of(text, f'"texts"[{row}]', limits) for row, text in enumerate(texts)], top, many=True)


def message(body: bytes, limits: Limits) -> Question:
    """What Rasa's /model/parse is asked: {"text": "..."}; Rasa sends more keys, which change nothing here.

    Raises:
        RefusedError: there is no text, or it is too long.
    """
    found = content_of(body)
    if "text" not in found:
        raise RefusedError(422, '"text" is missing; allowed: a JSON object with "text"')
    return Question([text_of(found["text"], '"text"', limits)], RASA_RANKING, many=False)


def text_of(value: Any, name: str, limits: Limits) -> str:
    if not isinstance(value, str):
        raise RefusedError(422, f"{name} is {shown(value)}; allowed: a text")
    if len(value) > limits.characters:
        raise RefusedError(422, f"{name} has {len(value)} characters; allowed: {limits.characters}")
    return value


def shown(value: Any) -> str:
    """A value as an error shows it: short, on one line."""
    return _short.repr(value)[:80]
