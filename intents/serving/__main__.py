"""predict: the answer that a text assistant would be given. Needs NumPy, ONNX Runtime and tokenizers alone.

python -m intents.serving "What is the pin number for my account?"
python -m intents.serving --file queries.txt --json

An answer names the likeliest intent, its probability among all answers (calibrated on validation), the score of the
out-of-scope rule beside its threshold, and whether the query is in scope: it is not where its score is below the
threshold, or where out of scope is the likeliest answer of all.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from intents.core import paths
from intents.core.errors import Parser, PipelineError, run_program
from intents.serving import queries
from intents.serving.classifier import Answer, Classifier

MADE_BY = "git checkout release` or `make repro"
MOST_THREADS = 256
JSON_LINES = (".jsonl", ".ndjson")


def whole(most: int) -> Any:
    """The type of an argument that is a number from 1 to `most`."""

    def number(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = 0
        if not 1 <= found <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r}; allowed: a whole number from 1 to {most}")
        return found

    return number


def parser() -> Parser:
    found = Parser("intents.serving", __doc__)
    found.add_argument("query", nargs="*", help="a query; without any, they are read from standard input, one a line")
    found.add_argument("--file", type=Path, help="read the queries from this file, in batches")
    found.add_argument(
        "--jsonl", action="store_true", help='lines are JSON objects with "text"; so are those of a --file *.jsonl'
    )
    found.add_argument("--model", type=Path, default=paths.RELEASE, help="the folder of the model (default release)")
    found.add_argument("--top", type=whole(10**6), default=0, metavar="N", help="name the N likeliest intents too")
    found.add_argument("--json", action="store_true", help="one JSON object a line")
    found.add_argument(
        "--threads", type=whole(MOST_THREADS), default=1, help="cores that one answer may use (default 1)"
    )
    return found


def asked(arguments: argparse.Namespace) -> Iterator[list[str]]:
    """The queries, in groups that may be answered together."""
    if arguments.query:
        yield from ([query] for query in arguments.query)
    elif arguments.file:
        with queries.opened(arguments.file) as file:
            json_lines = arguments.jsonl or arguments.file.suffix in JSON_LINES
            yield from queries.groups(file, str(arguments.file), json_lines)  # type: ignore[arg-type]
    else:
        yield from queries.groups(sys.stdin.buffer, "standard input", arguments.jsonl)  # type: ignore[arg-type]


def as_json(answer: Answer, threshold: float) -> str:
    found: dict[str, Any] = {
        "intent": answer.intent,
        "probability": answer.probability,
        "score": answer.score,
        "threshold": threshold,
        "out_of_scope": answer.out_of_scope,
    }
    if answer.alternatives:
        found["top"] = [{"intent": intent, "probability": probability} for intent, probability in answer.alternatives]
    return json.dumps(found)


def as_text(answer: Answer, threshold: float) -> str:
    scope = "out of scope" if answer.out_of_scope else "in scope"
    first = f"{answer.intent}  probability {answer.probability:.3f}  score {answer.score:.2f}"
    others = "".join(f"\n    {probability:.3f}  {intent}" for intent, probability in answer.alternatives)
    return f"{first} (threshold {threshold:.2f})  {scope}{others}"


def write(found: Iterable[str]) -> None:
    """Print lines; a reader that has closed the pipe has what it wanted, and ends the program quietly."""
    try:
        for line in found:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds would be written when it ends, and fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise PipelineError(f"the answers cannot be written: {error.strerror}") from None


def main() -> None:
    program = parser()
    arguments = program.parse_args()
    if arguments.query and (arguments.file or arguments.jsonl):
        program.error("a query together with --file or --jsonl; allowed: one or the other")
    if not arguments.query and not arguments.file and sys.stdin is None:
        program.error("no query, no --file, and standard input is closed; allowed: one of them")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of intents, where the locale has no such letters
    shown = as_json if arguments.json else as_text
    classifier = Classifier.load(arguments.model, arguments.threads, MADE_BY)
    for texts in asked(arguments):
        answers = classifier.batch(texts, arguments.top)
        write(shown(answer, classifier.rule.threshold) for answer in answers)


if __name__ == "__main__":
    run_program(main)
