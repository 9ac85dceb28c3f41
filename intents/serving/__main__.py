"""predict: the answer that a text assistant would be given. Needs NumPy, ONNX Runtime and tokenizers alone.

python -m intents.serving "What is the pin number for my account?"
"""

import argparse
import json
import sys
from pathlib import Path

from intents.core import paths
from intents.core.errors import PipelineError, run_program
from intents.serving.classifier import Classifier


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m intents.serving", description=__doc__.splitlines()[0])
    parser.add_argument("query", nargs="*", help="a query; without any, they are read from standard input, one a line")
    parser.add_argument(
        "--model", type=Path, default=paths.RELEASE, help="a folder that the stage deploy wrote (default release)"
    )
    parser.add_argument("--threads", type=int, default=1, help="cores that one answer may use (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    if arguments.threads < 1:
        raise PipelineError(f"--threads is {arguments.threads}; allowed: 1 or more")

    classifier = Classifier.load(arguments.model, arguments.threads, "dvc pull release` or `make repro")
    for query in arguments.query or map(str.rstrip, sys.stdin):
        answer = classifier(query)
        if arguments.json:
            print(json.dumps(answer._asdict()), flush=True)
        else:
            scope = "out of scope" if answer.out_of_scope else "in scope"
            print(f"{answer.intent}  {answer.probability:.3f}  {scope}", flush=True)


if __name__ == "__main__":
    run_program(main)
