"""What a client may ask for. A request beyond a limit is refused with an error that names the limit."""

from dataclasses import dataclass, field
from typing import Any


def limit(default: int, meaning: str, most: int = 10**6) -> Any:
    """A whole number from 1 to `most`; the command line shows its meaning."""
    return field(default=default, metadata={"meaning": meaning, "most": most})


@dataclass(frozen=True)
class Limits:
    """The limits of a service; each is an option of `python -m intents.service`."""

    body: int = limit(256 << 10, "bytes of a request's body", 64 << 20)
    characters: int = limit(5000, "characters of a query; a model reads some dozens of tokens")
    batch: int = limit(256, "queries of one request")
    top: int = limit(20, "alternatives that an answer names")
    waiting: int = limit(1024, "queries that wait to be answered; beyond, a request is refused with 503")
    connections: int = limit(512, "connections that are open at once; beyond, one is refused with 503")
    seconds: int = limit(10, "seconds in which a client must have sent its headers, and again its body", 3600)
    stopping: int = limit(20, "seconds that accepted requests may take when the service is told to stop", 3600)
