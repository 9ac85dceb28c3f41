"""Files and folders are written whole or not at all."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import contents

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


def test_what_a_killed_run_left_is_not_taken_over(old: Path) -> None:
    (old / ".folder.part").mkdir()
    (old / ".folder.part/half.txt").write_text("half")
    with files.new_folder(old / "folder") as scratch:
        (scratch / "new.txt").write_text("new")
    assert set(contents(old)) == {"folder/new.txt"}


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
    with pytest.raises(PipelineError, match=r"file.json is not valid JSON: .*; `dvc repro evaluate` makes it anew"):
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
