"""Files and folders are written whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, contents

from intents.core import files
from intents.core.errors import PipelineError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a file, written before."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old.txt").write_text("old")
    return tmp_path


def test_a_new_folder_takes_the_old_ones_place(old: Path) -> None:
    with files.new_folder(old / "folder") as scratch:
        (scratch / "new.txt").write_text("new")
        assert (old / "folder/old.txt").read_text() == "old"  # until the block has ended
    assert set(contents(old)) == {"folder/new.txt"}


def test_a_folder_that_fails_leaves_the_old_one(old: Path) -> None:
    before = contents(old)
    with pytest.raises(KeyboardInterrupt), files.new_folder(old / "folder") as scratch:  # noqa: PT012
        (scratch / "new.txt").write_text("new")
        raise KeyboardInterrupt
    assert contents(old) == before
    assert [path.name for path in old.iterdir()] == ["folder"]


# A program that begins to write what its argument names, says so, and goes on when it hears of it.
WRITER = """
import sys
from pathlib import Path
from intents.core import files
with getattr(files, sys.argv[1])(Path(sys.argv[2])) as scratch:
    place = scratch / "theirs.txt" if sys.argv[1] == "new_folder" else scratch
    scratch.is_dir() and (scratch / "half.txt").write_text("half")
    print(flush=True)
    sys.stdin.readline()
    place.write_text("theirs")
"""


@contextlib.contextmanager
def another(kind: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the midst of writing `path`."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "\n"
        yield process


@pytest.mark.parametrize("kind", ["new_folder", "new_file"])
def test_what_a_killed_run_left_is_not_taken_over_and_goes(tmp_path: Path, kind: str) -> None:
    with another(kind, tmp_path / "made") as process:
        process.kill()
    (tmp_path / ".made.other-host-1.part").touch()  # a run on another machine, of which nothing is known here
    with getattr(files, kind)(tmp_path / "made") as scratch:
        (scratch / "new.txt" if kind == "new_folder" else scratch).write_text("new")
    assert set(contents(tmp_path)) == {
        ".made.other-host-1.part",
        "made/new.txt" if kind == "new_folder" else "made",
    }


@pytest.mark.parametrize("kind", ["new_folder", "new_file"])
def test_of_two_that_write_the_same_each_writes_its_own_and_the_last_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "made"
    with another(kind, path) as process:
        with getattr(files, kind)(path) as scratch:
            (scratch / "ours.txt" if kind == "new_folder" else scratch).write_text("ours")
        assert next(iter(contents(path if path.is_dir() else tmp_path))) in ("ours.txt", "made")
        process.communicate("\n", timeout=30)
        assert process.returncode == 0
    if kind == "new_folder":
        assert set(contents(tmp_path)) == {"made/half.txt", "made/theirs.txt"}
    else:
        assert path.read_text() == "theirs"
        assert set(contents(tmp_path)) == {"made"}


def test_a_folder_that_is_a_link_stays_one(old: Path) -> None:
    """Such as data/clinc on another disk."""
    (old / "link").symlink_to("folder")
    with files.new_folder(old / "link") as scratch:
        (scratch / "new.txt").write_text("new")
    assert (old / "link").is_symlink()
    assert {path.name for path in (old / "folder").iterdir()} == {"new.txt"}
    assert {path.name for path in old.iterdir()} == {"folder", "link"}


def test_a_file_that_is_a_link_leaves_what_it_leads_to(old: Path) -> None:
    """DVC may link a file to its cache, whose objects must not change."""
    (old / "link").symlink_to("folder/old.txt")
    files.write_text(old / "link", "new")
    assert not (old / "link").is_symlink()
    assert (old / "link").read_text() == "new"
    assert (old / "folder/old.txt").read_text() == "old"


@pytest.mark.parametrize(
    "refusal",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors has it
        RuntimeError("[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed writing file data/0"),
    ],
)
@pytest.mark.parametrize("write", [files.new_file, files.new_folder])
def test_a_disk_that_refuses_is_one_line_that_names_the_file(old: Path, write: Any, refusal: Exception) -> None:
    before = contents(old)
    path = old / "folder" if write is files.new_folder else old / "folder/old.txt"
    with pytest.raises(PipelineError, match=rf"{path} cannot be read or written: (No space|Permission)"), write(path):
        raise refusal
    assert contents(old) == before


def test_a_defect_while_a_file_is_written_stays_one(old: Path) -> None:
    with pytest.raises(FileNotFoundError), files.new_file(old / "file"):
        (old / "nowhere").read_text()


def test_of_a_copy_what_cannot_be_written_is_named(old: Path) -> None:
    with pytest.raises(PipelineError, match=rf"^{old / 'folder'} cannot be"), files.new_folder(old / "folder") as part:
        raise OSError(errno.ENOSPC, "No space left on device", "source.txt", None, str(part / "source.txt"))


def test_what_cannot_be_read_for_a_file_is_what_is_named(old: Path) -> None:
    with pytest.raises(PipelineError, match=r"^source.txt cannot be read"), files.new_file(old / "file"):
        raise PermissionError(errno.EACCES, "Permission denied", "source.txt")


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "a/b/c") as scratch:
        (scratch / "new.txt").touch()
    assert set(contents(tmp_path)) == {"a/b/c/new.txt"}


def test_a_file_that_fails_leaves_the_old_one(old: Path) -> None:
    before = contents(old)
    with pytest.raises(ZeroDivisionError), files.new_file(old / "folder/old.txt") as scratch:  # noqa: PT012
        scratch.write_text("new")
        raise ZeroDivisionError
    assert contents(old) == before


def test_json_diffs_well_and_comes_back(tmp_path: Path) -> None:
    content = {"b": [1, 2.5], "a": {"é": None}}
    files.write_json(tmp_path / "sub/file.json", content)
    text = (tmp_path / "sub/file.json").read_text(encoding="utf-8")
    assert text == '{\n  "a": {\n    "é": null\n  },\n  "b": [\n    1,\n    2.5\n  ]\n}\n'
    assert files.read_json(tmp_path / "sub/file.json", "make") == content


def test_json_keeps_an_order_that_says_something(tmp_path: Path) -> None:
    files.write_json(tmp_path / "file.json", {"b": 1, "a": 2}, sort_keys=False)
    assert list(json.loads((tmp_path / "file.json").read_text())) == ["b", "a"]


def test_a_file_that_is_not_there_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"file.json not found; run `dvc repro evaluate`"):
        files.read_json(tmp_path / "file.json", "dvc repro evaluate")


def test_a_file_that_is_no_json_says_what_makes_it(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text("{")
    with pytest.raises(PipelineError, match=r"file.json is not valid JSON: .*; `dvc repro evaluate` makes it again"):
        files.read_json(tmp_path / "file.json", "dvc repro evaluate")


def test_floats_are_rounded_wherever_they_stand() -> None:
    content = {"a": 1 / 3, "b": [np.float64(2 / 3), {"c": 1e-9}], "d": 3, "e": None, "f": True, "g": "0.1234567"}
    expected = {"a": 0.333333, "b": [0.666667, {"c": 0.0}], "d": 3, "e": None, "f": True, "g": "0.1234567"}
    assert files.rounded(content) == expected


def test_csv_has_six_significant_digits(tmp_path: Path) -> None:
    files.write_csv(tmp_path / "file.csv", [{"step": 1, "loss": 1 / 3}, {"step": 20000000, "loss": 1e-7}])
    assert (tmp_path / "file.csv").read_text() == "step,loss\n1,0.333333\n2e+07,1e-07\n"


def test_digest_and_size_are_those_of_the_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1024
    (tmp_path / "file").write_bytes(content)
    assert files.sha256_of_file(tmp_path / "file") == files.sha256(content) == hashlib.sha256(content).hexdigest()
    assert files.size_mib(tmp_path / "file") == 0.25
