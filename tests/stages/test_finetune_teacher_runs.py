"""finetune-teacher resumes the checkpoints of the same run alone: same settings, data and weights to start from."""

import shutil
from pathlib import Path

import pytest
from conftest import compose, run
from interruption import options_of_training
from safetensors.numpy import load_file, save_file

from stages import fetch_clinc, finetune_teacher


@pytest.fixture
def fetched(project: Path) -> Path:
    run(fetch_clinc)
    return project


def scratch_of_a_run() -> Path:
    """Where the stage would look for checkpoints to resume."""
    return options_of_training(finetune_teacher)["scratch"]


@pytest.mark.parametrize(
    "change",
    [
        "teacher.learning_rate=0.004",
        "teacher.epochs=9",
        "teacher.max_length=63",
        "teacher.out_of_scope_weight=2.0",
        "run.seed=1",
        "run.precision=fp32",
    ],
)
@pytest.mark.usefixtures("fetched")
def test_a_run_with_another_setting_does_not_resume_this_ones_checkpoints(overrides: list[str], change: str) -> None:
    before = scratch_of_a_run()
    assert scratch_of_a_run() == before
    compose(*overrides, change)
    assert scratch_of_a_run() != before


@pytest.mark.parametrize("change", ["out_of_scope.rate=0.1", "distill.temperature=8.0", "benchmark.calls=4"])
@pytest.mark.usefixtures("fetched")
def test_a_setting_that_no_training_of_the_teacher_reads_does_not_keep_it_from_resuming(
    overrides: list[str], change: str
) -> None:
    before = scratch_of_a_run()
    compose(*[line for line in overrides if line.partition("=")[0] != change.partition("=")[0]], change)
    assert scratch_of_a_run() == before


@pytest.mark.parametrize("split", ["train", "validation"])  # the best epoch is chosen on validation
def test_a_run_on_other_data_does_not_resume_this_ones_checkpoints(fetched: Path, split: str) -> None:
    before = scratch_of_a_run()
    path = fetched / f"data/clinc/{split}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert scratch_of_a_run() != before


def test_a_run_from_another_checkpoint_does_not_resume_this_ones(
    fetched: Path, overrides: list[str], tiny_checkpoint: Path
) -> None:
    shutil.copytree(tiny_checkpoint, fetched / "own")
    compose(*overrides, "teacher.checkpoint=./own")
    before = scratch_of_a_run()
    tensors = load_file(fetched / "own/model.safetensors")
    tensors["pooler.dense.bias"] += 1
    save_file(tensors, fetched / "own/model.safetensors", metadata={"format": "pt"})
    assert scratch_of_a_run() != before
