"""finetune-teacher resumes the checkpoints of the same run alone: same settings, data and weights to start from."""

import shutil
from pathlib import Path

import pytest
from conftest import compose, run
from safetensors.numpy import load_file, save_file

from intents.training import trainer
from stages import fetch_clinc, finetune_teacher


@pytest.fixture
def fetched(project: Path) -> Path:
    run(fetch_clinc)
    return project


def scratch_of_a_run(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stage would look for checkpoints to resume, without training."""
    found = []

    def train(*_: object, scratch: Path, **__: object) -> None:
        found.append(scratch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "train", train)
        with pytest.raises(KeyboardInterrupt):
            run(finetune_teacher)
    return found[0]


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
def test_a_run_with_another_setting_does_not_resume_this_ones_checkpoints(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    before = scratch_of_a_run(monkeypatch)
    assert scratch_of_a_run(monkeypatch) == before
    compose(*overrides, change)
    assert scratch_of_a_run(monkeypatch) != before


@pytest.mark.parametrize("change", ["out_of_scope.rate=0.1", "distill.temperature=8.0", "benchmark.calls=4"])
@pytest.mark.usefixtures("fetched")
def test_a_setting_that_no_training_of_the_teacher_reads_does_not_keep_it_from_resuming(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    before = scratch_of_a_run(monkeypatch)
    compose(*[line for line in overrides if line.partition("=")[0] != change.partition("=")[0]], change)
    assert scratch_of_a_run(monkeypatch) == before


@pytest.mark.parametrize("split", ["train", "validation"])  # the best epoch is chosen on validation
def test_a_run_on_other_data_does_not_resume_this_ones_checkpoints(
    fetched: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    before = scratch_of_a_run(monkeypatch)
    path = fetched / f"data/clinc/{split}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert scratch_of_a_run(monkeypatch) != before


def test_a_run_from_another_checkpoint_does_not_resume_this_ones(
    fetched: Path, overrides: list[str], tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_checkpoint, fetched / "own")
    compose(*overrides, "teacher.checkpoint=./own")
    before = scratch_of_a_run(monkeypatch)
    tensors = load_file(fetched / "own/model.safetensors")
    tensors["pooler.dense.bias"] += 1
    save_file(tensors, fetched / "own/model.safetensors", metadata={"format": "pt"})
    assert scratch_of_a_run(monkeypatch) != before
