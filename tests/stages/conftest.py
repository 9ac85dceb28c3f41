"""What the tests of the stages share."""

from pathlib import Path

import pytest


@pytest.fixture
def reading(built_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny project with every stage run, as the current folder; not to be changed."""
    monkeypatch.chdir(built_once)
    return built_once
