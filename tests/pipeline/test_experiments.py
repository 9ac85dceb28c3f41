"""Experiments, the lock, and models shared through a remote."""

import csv
import subprocess
from pathlib import Path

import pytest
from conftest import contents, run_tool
from pipeline.conftest import command, commit

from intents.core.errors import PipelineError
from tools import lock


@pytest.mark.parametrize("here", [True, False])
def test_a_lock_that_is_not_that_of_the_code_is_refused_with_the_models_here_or_not(
    copy: Path, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    commit(copy)
    if not here:  # a fresh clone: what Git has, and none of what DVC keeps
        subprocess.run(["git", "clone", "--quiet", str(copy), str(copy.parent / "clone")], check=True)
        monkeypatch.chdir(copy.parent / "clone")
    run_tool(lock, monkeypatch)
    for file, stale in (("stages/fetch_clinc.py", "fetch-clinc"), ("stages/primer.py", "primer")):
        original = Path(file).read_text()
        Path(file).write_text(f"{original}\n# changed\n")
        with pytest.raises(PipelineError, match=rf"not those of the code .* \(not in step: {stale}\); `make repro`"):
            run_tool(lock, monkeypatch)
        Path(file).write_text(original)


def test_a_sweep_of_six_goes_through_the_queue_and_leaves_the_workspace(copy: Path) -> None:
    commit(copy)
    before = contents(copy / "models"), (copy / "params.yaml").read_bytes()
    values = ("distill.temperature=2.0,4.0,8.0", "distill.alpha=0.1,0.5")
    command(copy, "tools.sweep", "--name", "kd", *values)
    with (copy / "reports/sweep/kd/sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["distill.temperature"], row["distill.alpha"]) for row in rows] == [
        (temperature, alpha) for temperature in ("2.0", "4.0", "8.0") for alpha in ("0.1", "0.5")
    ]
    assert {row["experiment"] for row in rows} == {f"kd-{number}" for number in range(1, 7)}
    assert all(0 <= float(row["half.validation.accuracy"]) <= 1 for row in rows)
    assert (contents(copy / "models"), (copy / "params.yaml").read_bytes()) == before
    listed = subprocess.run(["git", "status", "--porcelain"], cwd=copy, capture_output=True, text=True, check=True)
    assert listed.stdout == "?? reports/sweep/\n"


def test_who_pulls_from_a_remote_has_nothing_to_run(copy: Path, tmp_path: Path) -> None:
    command(copy, "dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    commit(copy)
    command(copy, "dvc", "push")
    colleague = tmp_path / "colleague"
    subprocess.run(["git", "clone", "--quiet", str(copy), str(colleague)], check=True)
    assert not (colleague / "models/half").exists()
    assert command(colleague, "intents.serving", "where is my card").strip().endswith("scope")  # release/ is in Git
    command(colleague, "dvc", "pull")
    assert "Data and pipelines are up to date" in command(colleague, "dvc", "repro")
    for folder in ("data", "models", "release"):
        assert contents(colleague / folder) == contents(copy / folder)
    command(tmp_path, "dvc", "get", str(copy), "release", "--out", "deployed")
    assert contents(tmp_path / "deployed") == contents(copy / "release")
