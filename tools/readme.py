"""readme: the results in README.md, taken from reports/benchmark.json, so that it never says anything else.

python -m tools.readme           write it
python -m tools.readme --check   exit 1 if README.md has another
"""

from pathlib import Path

from intents.core import files, paths, reading
from intents.core.errors import Parser, PipelineError, run_program
from intents.reports.results import readme_summary

README = Path("README.md")
START, END = "<!-- results: written by `make repro` -->\n", "<!-- end of results -->"


def updated(text: str) -> str:
    """`text` with what stands between the markers replaced by what today's reports say."""
    if text.count(START) != 1 or text.count(END) != 1:
        raise PipelineError(f"{README} must hold each of the markers {START.strip()!r} and {END!r} once")
    before, rest = text.split(START)
    _, after = rest.split(END)
    return before + START + readme_summary(reading.benchmark(paths.BENCHMARK, "dvc repro")) + END + after


def main() -> None:
    parser = Parser("tools.readme", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if README.md has another")
    check = parser.parse_args().check
    text = files.require(README, "git checkout").read_text(encoding="utf-8")
    if text == updated(text):
        return
    if check:
        raise PipelineError(f"{README}'s results are not those of {paths.BENCHMARK}; `make repro` writes them")
    files.write_text(README, updated(text))


if __name__ == "__main__":
    run_program(main)
