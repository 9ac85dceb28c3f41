"""predict: what a text assistant would call. Needs neither torch nor transformers.

python -m stages.predict "What is the pin number for my account?"
"""

import argparse
import json
import sys
from pathlib import Path

from stages.library import artifacts
from stages.library.classifier import OnnxClassifier
from stages.library.errors import PipelineError, run_program

BENCHMARK = Path("reports/benchmark.json")
FOLDERS = {"onnx": Path("data/onnx"), "ort-int8": Path("data/ort")}


def folder_of(variant: str) -> Path:
    """The folder of a deployable variant, named MODEL-onnx or MODEL-ort-int8 as in the benchmark's table."""
    model, _, form = variant.partition("-")
    if form not in FOLDERS:
        raise PipelineError(f"{variant!r} is no deployable variant; those end in {' or '.join(FOLDERS)}")
    return FOLDERS[form] / model


def chosen_variant() -> str:
    """The variant that the benchmark found best within the accuracy budget."""
    best = artifacts.read_json(BENCHMARK, "dvc repro")["best"]
    if best is None:
        raise PipelineError(
            f"{BENCHMARK}: no deployable variant is within `benchmark.max_accuracy_drop` of the teacher; "
            "name one with --variant"
        )
    return best


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__.splitlines()[0])
    parser.add_argument("query", nargs="*", help="a query; without any, they are read from standard input, one a line")
    parser.add_argument("--variant", help="a deployable row of the table; default: the best one")
    parser.add_argument("--threads", type=int, default=1, help="cores that one answer may use (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    if arguments.threads < 1:
        raise PipelineError(f"--threads is {arguments.threads}; allowed: 1 or more")

    classifier = OnnxClassifier(
        folder_of(arguments.variant or chosen_variant()), arguments.threads, made_by="dvc pull` or `make repro"
    )
    for query in arguments.query or map(str.rstrip, sys.stdin):
        answer = classifier(query)
        if arguments.json:
            print(json.dumps(answer._asdict()), flush=True)
        else:
            scope = "out of scope" if answer.out_of_scope else "in scope"
            print(f"{answer.intent}  {answer.score:.3f}  {scope}", flush=True)


if __name__ == "__main__":
    run_program(main)
