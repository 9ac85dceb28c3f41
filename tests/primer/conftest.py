"""What the tests of the primer share: what the stage reads, made once, and the page that it writes from it."""

import shutil
from pathlib import Path

import pytest
from conftest import once, run_in_copy
from primer.inputs import make

from stages import primer


@pytest.fixture(scope="session")
def inputs_once(shared: Path, tiny_checkpoint: Path) -> Path:
    return once(shared / "primer", lambda folder: make(folder, tiny_checkpoint))


@pytest.fixture
def inputs(inputs_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the current folder; a copy, so a test may change it."""
    shutil.copytree(inputs_once, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture(scope="session")
def written_once(inputs_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_in_copy(inputs_once, tmp_path_factory.mktemp("written") / "project", primer)


@pytest.fixture
def page(written_once: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page, with the folder that it was written in as the current one; a test leaves that as it was."""
    monkeypatch.chdir(written_once)
    return Path("reports/primer/README.md").read_text()
