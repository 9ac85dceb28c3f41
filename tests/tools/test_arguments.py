"""A value on a tool's command line that cannot be is one line that names it and what is allowed; nothing is begun."""

import importlib
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, contents, run_tool

from intents.core.errors import PipelineError, short
from tools import sweep
from tools.arguments import exists, number
from tools.search import sweeps

LONG = "x" * 5000
SWEEP = ("distill.alpha=0.1,0.5",)
# The tool, its words, and what the line says.
NUMBERS = [
    *(("review", ("--budget", value), "'; allowed: a number from 0 to 1;") for value in ("nan", "-0.1", "1.5", "1 %")),
    *(("review", ("--tolerance", value), "'; allowed: a number from 0 to 10;") for value in ("nan", "-1", "-2", "inf")),
    *(("load", ("--seconds", value), "'; allowed: a number above 0 to 3600;") for value in ("nan", "0", "-1", "1e400")),
    *(("load", ("--connections", value), "a whole number from 1 to 10000;") for value in ("0", "1.5", "9" * 5000)),
    *(("repro", ("--jobs", value), "a whole number from 1 to 1024;") for value in ("0", "two", "1.5", "9" * 5000)),
    *(("tune", ("--trials", value), "a whole number from 1 to 1000000;") for value in ("0", "-1", "1.5")),
    *(
        ("dataset.__main__", ("a.csv", "--name", "own", f"--{split}", value), "a number above 0 to 0.4;")
        for split in ("validation", "test")
        for value in ("0", "0.5", "nan", "half")
    ),
    *(
        ("dataset.__main__", ("a.csv", "--name", "own", "--seed", value), "a whole number from 0 to 4294967295;")
        for value in ("-1", "20251125034500")
    ),
    ("dataset.__main__", ("a.csv", "--name", "own", "--show", "-1"), "a whole number from 0 to 1000000;"),
]
NAMES = [
    ("load", ("--queries", "nowhere.txt"), "--queries nowhere.txt cannot be read: No such file or directory; allowed"),
    ("load", ("--queries", LONG), "allowed: a file of queries"),
    ("load", ("--queries", "conf"), "--queries conf cannot be read: Is a directory; allowed: a file of queries"),
    ("load", ("--queries", "latin-1.txt"), "--queries latin-1.txt cannot be read: it is not UTF-8; allowed: a file"),
    ("load", ("--queries", "empty.txt"), "--queries empty.txt is empty; allowed: a file of queries, one a line"),
    ("load", (), "data/sample/sample.json not found; run `git checkout data`"),
    ("params", ("--config", LONG), ".yaml not found in "),
    ("params", (f"dataset={LONG}",), "File name too long"),
    ("dataset.__main__", (LONG, "--name", "own"), "is no file and no folder here"),
    ("dataset.__main__", (f"train={LONG}", "--name", "own"), "is no file and no folder here"),
    *(("sweep", (*SWEEP, "--name", name), f"--name is {name[:40]!r}; allowed: ") for name in ("", "a b", "../x", LONG)),
    ("sweep", ("distill.alhpa=0.1,0.5",), "full_key: distill.alhpa"),
    ("sweep", ("student.half.layer=[0],[1,2]",), "full_key: student.half.layer"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with conf/ in which nothing may be run."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").touch()
    (tmp_path / "latin-1.txt").write_bytes("réserver\n".encode("latin-1"))
    (tmp_path / "empty.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "run", lambda *_: pytest.fail("queued"))
    return tmp_path


@pytest.mark.parametrize(("tool", "words", "message"), NUMBERS)
def test_a_number_that_cannot_be_ends_with_status_2(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tool: str,
    words: object,
    message: str,
) -> None:
    before = contents(here)
    with pytest.raises(SystemExit) as ended:
        run_tool(importlib.import_module(f"tools.{tool}"), monkeypatch, *words)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: argument {words[-2]}: {words[-1][:40]!r}; allowed: ")
    assert message in line
    assert len(line) < 400
    assert contents(here) == before


@pytest.mark.parametrize(("tool", "words", "message"), NAMES)
def test_a_name_that_cannot_be_is_refused_before_anything_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch, tool: str, words: tuple[str, ...], message: str
) -> None:
    before = contents(here)
    with pytest.raises(PipelineError) as error:
        run_tool(importlib.import_module(f"tools.{tool}"), monkeypatch, *words)
    line = short(str(error.value))  # as run_program prints it
    assert message in line
    assert "\n" not in line
    assert len(line) < 400
    assert contents(here) == before


def test_the_ends_of_a_range_are_in_it() -> None:
    read = number(float, 0, 1)
    assert [read(text) for text in ("0", "1", "5e-1")] == [0, 1, 0.5]
    assert number(int, 1, 3)("3") == 3


def test_a_name_too_long_for_a_file_has_none(tmp_path: Path) -> None:
    assert exists(tmp_path)
    assert not exists(tmp_path / LONG)


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("distill.alpha=0.1,0.5", "distill.alpha=0.1"),
        ("student.half.layers=[1,3,5],[0,2,4]", "student.half.layers=[1,3,5]"),
        ("prune=[magnitude,movement]", "prune=[magnitude,movement]"),
        ("distill.epochs=4", "distill.epochs=4"),
    ],
)
def test_of_the_values_of_a_key_the_first_stands_for_all(override: str, first: str) -> None:
    assert sweeps.first_of(override) == first
