"""A project with a tiny checkpoint and the embedded sample, through which `dvc repro` has run once for all tests."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, once

from tools import params

TINY = {
    "defaults": [
        "config",
        {"override dataset": "sample"},
        {"override second_teacher": "none"},
        {"override student": ["half", "labels", "narrow"]},
        {"override prune": ["movement", "structured"]},
        {"override quantize": ["static"]},
        {"override ort_quantize": ["static"]},
        "_self_",
    ],
    "teacher": {"package": None, "revision": None, "sha256": None, "epochs": 1},
    "augment": {"number": 200},
    "student": {
        "half": {"layers": [1, 3]},
        "labels": {"layers": [1, 3]},
        "narrow": {"shape": {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 32}, "epochs": 1},
    },
    "distill": {"epochs": 1},
    "prune": {"movement": {"epochs": 1}, "structured": {"epochs": 1, "queries": 20, "multiple": 8}},
    "qat": {"queries": 20},
    "quantize": {"static": {"queries": 20}},
    "ort_quantize": {"static": {"min_agreement": 0.0, "queries": 20}},
    "sensitivity": {"queries": 5},
    "evaluate": {"bootstrap_samples": 200},
    "benchmark": {
        **{"calls": 2, "warmup": 1, "queries": 5, "batch_size": 4, "batches": 1, "starts": 0},
        "bootstrap_samples": 200,
    },
    "plot": {"dpi": 50},
}
PARTS = ("stages", "intents", "tools", "conf", "data/sample")
FILES = ("dvc.yaml", "LICENSE", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")


def lay_out(folder: Path, checkpoint: Path) -> None:
    """The project in `folder`, without what its stages make."""
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc/config.local").write_text("[hydra]\n    config_name = tiny\n")
    tiny = TINY | {"teacher": TINY["teacher"] | {"checkpoint": str(checkpoint)}}
    (folder / "conf/tiny.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))


def make(folder: Path, checkpoint: Path, warm: Path) -> None:
    """Lay out the project in `folder`, a Git repository, and run all its stages."""
    lay_out(folder, checkpoint)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        environment(monkeypatch, warm)
        subprocess.run(["git", "init", "--quiet"], check=True)
        params.compose(folder / "params.yaml", "tiny")
        done = subprocess.run([sys.executable, "-m", "dvc", "repro"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def environment(monkeypatch: pytest.MonkeyPatch, warm: Path) -> None:
    """That of a user in an activated environment, outside of any experiment; its `python` is the one in `warm`."""
    for folder in (Path(sys.executable).parent, warm):
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture(scope="session")
def run_once(shared: Path, tiny_checkpoint: Path, warm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project for the tests of this process."""
    source = once(shared / "pipeline", lambda folder: make(folder, tiny_checkpoint, warm))
    return Path(shutil.copytree(source, tmp_path_factory.mktemp("pipeline") / "project"))


@pytest.fixture
def repository(run_once: Path, warm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project as the current folder; a test leaves it as it was."""
    environment(monkeypatch, warm)
    monkeypatch.chdir(run_once)
    return run_once


@pytest.fixture
def copy(run_once: Path, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project as the current folder, to do with as one likes."""
    environment(monkeypatch, warm)
    shutil.copytree(run_once, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def compose_tiny(config: dict[str, Any] | None = None) -> dict[str, Any]:
    """params.yaml as a main file of conf/ composes it, that of the tiny project if none is given; nothing is run."""
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "conf"
        shutil.copytree(ROOT / "conf", conf)
        (conf / "tiny.yaml").write_text(yaml.safe_dump(config or TINY, sort_keys=False))
        params.compose(Path(folder) / "params.yaml", "tiny", conf=conf)
        return yaml.safe_load((Path(folder) / "params.yaml").read_text())


def commit(folder: Path) -> None:
    """Commit all that Git sees in `folder`, and what its parameters are composed from in DVC's committed settings."""
    config = folder / ".dvc/config"
    config.write_text(config.read_text().replace("enabled = true\n", "enabled = true\n    config_name = tiny\n"))
    (folder / ".dvc/config.local").unlink()
    commands = (["config", "user.name", "t"], ["config", "user.email", "t@example.com"], ["add", "--all"])
    for words in (*commands, ["commit", "--quiet", "--message", "run"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


def command(folder: Path, *words: str) -> str:
    """What `python -m WORDS` printed in `folder`, with the `python` on PATH, which must succeed."""
    done = subprocess.run(["python", "-m", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
