"""readme: the results in README.md, taken from reports/, so that it never says anything else.

python -m tools.readme           write it
python -m tools.readme --check   exit 1 if README.md has another
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from intents.core import files, paths, reading
from intents.core.errors import Parser, PipelineError, run_program
from intents.reports import markdown
from intents.reports.findings import findings
from intents.reports.results import readme_headline, readme_summary
from tools import durations

README = Path("README.md")
MADE_BY = "dvc repro"


def shown(benchmark: Mapping[str, Any]) -> str:
    """What the run shows, from the answers to each test query too."""
    return findings(benchmark, pd.read_csv(files.require(paths.CORRECT, MADE_BY)))


BLOCKS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "headline": readme_headline,
    "results": readme_summary,
    "findings": shown,
}


def markers(block: str) -> tuple[str, str]:
    """What stands before and after a block."""
    return f"<!-- {block}: written by `make repro` -->\n", f"<!-- end of {block} -->"


def updated(text: str) -> str:
    """`text` with what stands between each pair of markers replaced by what today's reports say."""
    benchmark = reading.benchmark(paths.BENCHMARK, MADE_BY)
    for block, write in BLOCKS.items():
        text = replaced(text, block, write(benchmark))
    if whole := durations.load().get("whole"):
        text = replaced(text, "duration", duration(whole))
    return text


def replaced(text: str, block: str, content: str) -> str:
    """`text` with `content` between the markers of a block.

    Raises:
        PipelineError: there are no such markers, or more than one pair.
    """
    start, end = markers(block)
    if text.count(start) != 1 or text.count(end) != 1:
        raise PipelineError(f"{README} must hold each of the markers {start.strip()!r} and {end!r} once")
    before, rest = text.split(start)
    _, after = rest.split(end)
    return before + start + content + end + after


def duration(whole: Mapping[str, Any]) -> str:
    """How long the last run took that made every stage.

    Args:
        whole: as `durations.load` gives it.
    """
    counted = markdown.count(whole["jobs"], "stage"), markdown.count(whole["cores"], "core")
    return (
        f"`make repro` took {whole['seconds'] / 60:.0f} minutes the first time, with {counted[0]} at once on "
        f"{counted[1]}.\nAfter that it runs only what a change touches.\n"
    )


def main() -> None:
    parser = Parser("tools.readme", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if README.md has another")
    check = parser.parse_args().check
    text = files.require(README, "git checkout").read_text(encoding="utf-8")
    if text == updated(text):
        return
    if check:
        raise PipelineError(
            f"{README}'s results are not those of {paths.BENCHMARK} or {durations.FILE}; `make repro` writes them"
        )
    files.write_text(README, updated(text))


if __name__ == "__main__":
    run_program(main)
