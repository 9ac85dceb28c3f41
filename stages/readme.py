"""readme: the result table of README.md, taken from reports/benchmark.json, so that it never says anything else.

python -m stages.readme           write it
python -m stages.readme --check   exit 1 if README.md has another
"""

import argparse
from pathlib import Path

from stages.library import artifacts, report
from stages.library.errors import PipelineError, run_program

README = Path("README.md")
BENCHMARK = Path("reports/benchmark.json")
START, END = "<!-- results: written by `make repro` -->\n", "<!-- end of results -->"


def updated(text: str) -> str:
    """`text` with what stands between the markers replaced by the table of today's reports."""
    if text.count(START) != 1 or text.count(END) != 1:
        raise PipelineError(f"{README} must hold each of the markers {START.strip()!r} and {END!r} once")
    before, rest = text.split(START)
    _, after = rest.split(END)
    return before + START + report.summary(artifacts.read_json(BENCHMARK, "dvc repro")) + END + after


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.readme", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table is another")
    check = parser.parse_args().check
    text = artifacts.require(README, "git checkout").read_text(encoding="utf-8")
    if text == updated(text):
        return
    if check:
        raise PipelineError(f"{README}'s table is not that of {BENCHMARK}; `python -m stages.readme` writes it")
    artifacts.write_text(README, updated(text))


if __name__ == "__main__":
    run_program(main)
