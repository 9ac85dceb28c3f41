"""Trainings in two processes make what they make in one, up to rounding, and the main process alone writes it.

The processes are started as a launcher starts them, by what their environment says. Rounding: a gradient is the mean of
two sums and not one sum. Models here compute in float32 and have no dropout, whose random numbers each process draws
for itself.
"""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import interruption
import numpy as np
import pandas
import pytest
from conftest import ROOT, compose, contents, run
from safetensors.numpy import load_file

from stages import distill, finetune_teacher, prune

LOGITS = 1e-3  # the most by which a logit may differ; logits here go up to 8
LOSS = 1e-3  # the most by which the loss of an epoch may, relatively
RUNS = {
    "teacher": ("finetune_teacher", "teacher"),
    "half": ("distill", "half"),
    "half-movement": ("prune", "movement"),
}
LIMIT_S = 300  # they take seconds; one that has lost the other would wait for it for half an hour
SHORT = ("run.precision=fp32", "teacher.epochs=2", "distill.epochs=1", "prune.movement.epochs=1")


def launched(folder: Path, python: Path, *words: str) -> list[tuple[int, str]]:
    """The status and standard error of two processes of `python -m WORDS` that know of each other, in `folder`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [python, "-m", *words],
            cwd=folder,
            env=environment | {"RANK": str(number), "LOCAL_RANK": str(number)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        told = [process.communicate(timeout=LIMIT_S)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, text) for process, text in zip(started, told, strict=True)]


def made(folder: Path, variant: str) -> Iterator[Path]:
    """What the stage that makes a variant writes."""
    yield from folder.glob(f"models/{variant}/*")
    yield folder / f"data/logits/{variant}.safetensors"
    yield from (folder / "reports").glob(f"*/{variant}.*")
    yield from (folder / "reports/pruning").glob(f"{variant}-[ls]*")  # layers and schedule


@pytest.fixture(scope="module")
def one(
    built_once: Path, overrides: list[str], tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project in which the models of RUNS were trained, each in one process."""
    folder = tmp_path_factory.mktemp("one") / "project"
    checkpoint = shutil.copytree(tiny_checkpoint, folder.parent / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (checkpoint / "config.json").write_text(json.dumps(config))
    shutil.copytree(built_once / "data/clinc", folder / "data/clinc")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        compose(*overrides, *SHORT, f"teacher.checkpoint={checkpoint}")
        run(finetune_teacher)
        run(distill, "half")
        run(prune, "movement")
    return folder


@pytest.fixture(scope="module", params=RUNS)
def pair(
    request: pytest.FixtureRequest, one: Path, warm: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """A variant, that project, and a copy of it in which the variant was made anew by two processes."""
    variant = request.param
    two = Path(shutil.copytree(one, tmp_path_factory.mktemp("two") / "project"))
    for path in made(two, variant):
        path.unlink()
    stage, word = RUNS[variant]
    for status, told in launched(two, warm / "python", f"stages.{stage}", word):
        assert status == 0, told
    return variant, one, two


def test_logits_are_those_of_one_process_up_to_rounding(pair: tuple[str, Path, Path]) -> None:
    variant, *folders = pair
    one, two = (load_file(folder / f"data/logits/{variant}.safetensors") for folder in folders)
    assert set(one) == set(two)
    for split, logits in one.items():
        np.testing.assert_allclose(two[split], logits, atol=LOGITS)


def test_so_is_the_history_of_the_training(pair: tuple[str, Path, Path]) -> None:
    variant, *folders = pair
    one, two = (pandas.read_csv(folder / f"reports/training/{variant}.csv") for folder in folders)
    exact = ["epoch", "learning_rate", "eval_accuracy"]
    pandas.testing.assert_frame_equal(two[exact], one[exact])
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=LOSS)


def test_the_same_files_are_written_by_the_main_process_alone(pair: tuple[str, Path, Path]) -> None:
    _, one, two = pair
    assert set(contents(two)) == set(contents(one))  # no lock, no checkpoint, nothing half-written


def test_an_interrupted_run_goes_on_in_two_processes_and_ends_with_the_same_bytes(
    built_once: Path, warm: Path, tmp_path: Path
) -> None:
    """With dropout: each process goes on with the random numbers of its own."""
    whole = tmp_path / "whole"
    for name in ("data/clinc", "data/logits", "models/teacher"):
        shutil.copytree(built_once / name, whole / name)
    shutil.copy(built_once / "params.yaml", whole)
    shutil.copy(interruption.__file__, whole)
    cut = Path(shutil.copytree(whole, tmp_path / "cut"))
    assert [status for status, _ in launched(whole, warm / "python", "stages.distill", "half")] == [0, 0]
    ends = launched(cut, warm / "python", "interruption")
    assert [status for status, _ in ends] == [130, 130]
    assert [told.count("interrupted; run the same command again") for _, told in ends] == [1, 0]
    assert not (cut / "models/half").exists()
    ends = launched(cut, warm / "python", "stages.distill", "half")
    assert [status for status, _ in ends] == [0, 0]
    assert "resuming from data/.training/half-" in ends[0][1]
    assert contents(cut) == contents(whole)
