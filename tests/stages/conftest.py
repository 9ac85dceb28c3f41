"""What the tests of the stages share."""

import shutil
from pathlib import Path
from typing import Any

import by_hand as hand
import pytest
from conftest import run

from stages import evaluate


@pytest.fixture
def reading(built_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny project with every stage run, as the current folder; not to be changed."""
    monkeypatch.chdir(built_once)
    return built_once


@pytest.fixture(scope="module")
def lent(built_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that project for the tests of a file; each leaves it as it was."""
    return Path(shutil.copytree(built_once, tmp_path_factory.mktemp("lent") / "project"))


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project made by hand, before and after evaluate."""
    before, after = (tmp_path_factory.mktemp(name) for name in ("before", "after"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(before)
        hand.lay_out()
        shutil.copytree(before, after, dirs_exist_ok=True)
        monkeypatch.chdir(after)
        run(evaluate)
    return before, after


@pytest.fixture
def by_hand(projects: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project made by hand as the current folder."""
    monkeypatch.chdir(shutil.copytree(projects[0], tmp_path / "project"))
    return Path.cwd()


@pytest.fixture
def rows(projects: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The rows of its evaluation, and the project after it as the current folder."""
    monkeypatch.chdir(shutil.copytree(projects[1], tmp_path / "project"))
    return hand.evaluated()
