"""predict: what a text assistant would call. Needs neither torch nor transformers.

python -m stages.predict "What is the pin number for my account?"

The model is the best deployable variant of reports/benchmark.json, another one with --variant, or with --model the
folder of one, wherever it is now: a folder that onnx-export or ort-quantize wrote holds all that is needed.
"""

import argparse
import json
import sys
from pathlib import Path

from stages.library import artifacts
from stages.library.classifier import OnnxClassifier
from stages.library.errors import PipelineError, run_program

BENCHMARK = Path("reports/benchmark.json")


def folder_of(variant: str | None) -> Path:
    """The folder of a deployable variant; without a name, of the best one within the accuracy budget.

    Raises:
        PipelineError: it is not in the benchmark's table, needs torch, or none is within the budget.
    """
    benchmark = artifacts.read_json(BENCHMARK, "dvc repro")
    deployable = {name: row["folder"] for name, row in benchmark["variants"].items() if row["deployable"]}
    variant = variant or benchmark["best"]
    if variant is None:
        raise PipelineError(
            f"{BENCHMARK}: no deployable variant is within `benchmark.max_accuracy_drop` of the teacher; "
            "name one with --variant"
        )
    if variant not in deployable:
        raise PipelineError(f"{variant!r} is no deployable variant; those of {BENCHMARK} are: {', '.join(deployable)}")
    return Path(deployable[variant])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__.splitlines()[0])
    parser.add_argument("query", nargs="*", help="a query; without any, they are read from standard input, one a line")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--variant", help="a deployable row of the table; default: the best one")
    which.add_argument("--model", type=Path, help="a folder with model.onnx, tokenizer.json and classifier.json")
    parser.add_argument("--threads", type=int, default=1, help="cores that one answer may use (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    if arguments.threads < 1:
        raise PipelineError(f"--threads is {arguments.threads}; allowed: 1 or more")

    folder = arguments.model or folder_of(arguments.variant)
    made_by = "dvc get URL data/ort/static/student" if arguments.model else "dvc pull` or `make repro"
    classifier = OnnxClassifier(folder, arguments.threads, made_by)
    for query in arguments.query or map(str.rstrip, sys.stdin):
        answer = classifier(query)
        if arguments.json:
            print(json.dumps(answer._asdict()), flush=True)
        else:
            scope = "out of scope" if answer.out_of_scope else "in scope"
            print(f"{answer.intent}  {answer.score:.3f}  {scope}", flush=True)


if __name__ == "__main__":
    run_program(main)
