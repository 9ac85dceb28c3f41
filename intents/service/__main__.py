"""service: the classifier over HTTP. Needs the packages of requirements-service.txt.

python -m intents.service --model release --port 8000

POST /predict answers {"text": "..."} or {"texts": [...]}, POST /model/parse answers in Rasa's format, / is a page to
try it. docs/service.md says more.
"""

import argparse
import dataclasses
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from intents.core import paths
from intents.core.errors import Parser, PipelineError, run_program, short
from intents.service.app import create
from intents.service.connections import bounded
from intents.service.limits import Limits
from intents.serving.__main__ import MADE_BY, MOST_THREADS, whole
from intents.serving.classifier import Classifier

# Seconds after which a thread of Python lets another one on. The default, 0.005, is longer than most answers take: the
# thread that answers would wait for the event loop as long as that.
SWITCH = 0.0005
BACKLOG = 2048


def parser() -> Parser:
    found = Parser("intents.service", __doc__)
    found.add_argument("--model", type=Path, default=paths.RELEASE, help="the folder of the model (default release)")
    found.add_argument("--host", default="127.0.0.1", help="the address to listen at (default 127.0.0.1)")
    found.add_argument("--port", type=port, default=8000, help="the port; 0 takes a free one (default 8000)")
    found.add_argument(
        "--threads", type=whole(MOST_THREADS), default=1, help="cores that one answer may use (default 1)"
    )
    limits = found.add_argument_group("limits")
    for field in dataclasses.fields(Limits):
        limits.add_argument(
            f"--{field.name}",
            type=whole(field.metadata["most"]),
            default=field.default,
            metavar="N",
            help=f"{field.metadata['meaning']} (default {field.default})",
        )
    return found


def port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}; allowed: a whole number from 0 to 65535")
    return int(text)


def listening(host: str, number: int) -> socket.socket:
    """A socket that listens.

    Raises:
        PipelineError: the address is taken, or is none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, number), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PipelineError(short(f"--host {host} --port {number} cannot be listened at: {reason}")) from None


def stopped(_: int, __: FrameType | None) -> None:
    """uvicorn sends itself the signal again when it has stopped as it asked; then this program has ended well."""
    sys.exit(0)


def main() -> None:
    program = parser()
    arguments = program.parse_args()
    limits = Limits(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Limits)})
    if limits.batch > limits.waiting:
        program.error(f"--batch is {limits.batch}; allowed: at most what --waiting says, {limits.waiting}")
    try:
        classifier = Classifier.load(arguments.model, arguments.threads, MADE_BY)
    except PipelineError as error:
        raise PipelineError(short(str(error))) from None
    listener = listening(arguments.host, arguments.port)
    config = uvicorn.Config(
        create(classifier, limits),
        http=bounded(limits),
        ws="none",
        loop="asyncio",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=limits.stopping,
    )
    sys.setswitchinterval(SWITCH)
    signal.signal(signal.SIGTERM, stopped)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(f"serving {arguments.model} at http://{host}:{listener.getsockname()[1]}", flush=True)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped") from None  # nothing is left to go on with


if __name__ == "__main__":
    run_program(main)
