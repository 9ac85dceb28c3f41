"""trainer: a run goes on where it was cut off, unless anything that it depends on has changed, its code included."""

import json
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import interruption
import pytest
import torch
from conftest import ROOT, contents, program
from core.mistakes import setting

from intents.core import source
from intents.core.errors import PipelineError
from intents.core.settings import parse
from intents.training import trainer
from intents.training.trainer import Run, Schedule

RUN = {"seed": 0, "device": "auto", "precision": "auto"}


def of(**settings: object) -> Run:
    return parse(Run, RUN | settings, "run")


# Where a run keeps its checkpoints.


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that counts as one of this project and is loaded."""
    path = tmp_path / "code_of_mine.py"
    path.write_text("LIMIT = 3\n")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    monkeypatch.setattr(source, "PACKAGES", (*source.PACKAGES, path.stem))
    monkeypatch.setitem(sys.modules, path.stem, module_from_spec(spec))
    return path


def test_the_same_run_has_the_same_folder_and_one_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("weights")
    inputs = (of(), tmp_path / "weights")
    folder = trainer.scratch_folder("half", *inputs)
    assert folder == trainer.scratch_folder("half", *inputs)
    assert folder.parent == Path("data/.training")
    assert folder.name.startswith("half-")
    assert folder != trainer.scratch_folder("labels", *inputs)


def test_another_setting_is_another_run() -> None:
    assert trainer.scratch_folder("half", of()) != trainer.scratch_folder("half", of(seed=1))


def test_another_input_is_another_run_and_its_name_does_not_count(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for path, content in ((one, "weights"), (same, "weights"), (other, "other weights")):
        path.write_text(content)
    folders = [trainer.scratch_folder("half", path) for path in (one, same, other)]
    assert folders[0] == folders[1] != folders[2]


@pytest.mark.parametrize("text", ["LIMIT = 3  # how many\n", '"""What it is."""\n\nLIMIT = (\n    3\n)\n'])
def test_a_comment_or_a_docstring_is_no_other_run(code: Path, text: str) -> None:
    before = trainer.scratch_folder("half", of())
    code.write_text(text)
    assert trainer.scratch_folder("half", of()) == before


def test_other_code_is_another_run(code: Path) -> None:
    before = trainer.scratch_folder("half", of())
    code.write_text("LIMIT = 4\n")
    assert trainer.scratch_folder("half", of()) != before


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers"])
def test_another_version_of_a_library_is_another_run(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    before = trainer.scratch_folder("half", of())
    installed = trainer.version
    monkeypatch.setattr(trainer, "version", lambda name: "0.0.1" if name == library else installed(name))
    assert trainer.scratch_folder("half", of()) != before


# A stage of the project, cut off, then its code edited.


@pytest.fixture(scope="module")
def interrupted(built_once: Path, warm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with code of its own, in which `distill` was cut off after its first epoch."""
    folder = tmp_path_factory.mktemp("interrupted") / "project"
    for name in ("data/clinc", "models/teacher"):
        shutil.copytree(built_once / name, folder / name)
    (folder / "data/logits").mkdir()
    shutil.copy(built_once / "data/logits/teacher.safetensors", folder / "data/logits")
    shutil.copy(built_once / "params.yaml", folder)
    for name in ("intents", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(interruption.__file__, folder)
    done = program(folder, "interruption", python=warm / "python", PYTHONPATH=str(folder))
    assert done.returncode == 130, done.stderr
    (checkpoint,) = (folder / "data/.training").glob("half-*/checkpoint-*")
    assert json.loads((checkpoint / "trainer_state.json").read_text())["epoch"] == 1
    assert not (folder / "models/half").exists()
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("edited", ["a comment", "code"])
def test_after_an_edit_of_its_code_a_run_begins_anew_and_after_a_comment_it_goes_on(
    interrupted: Path, warm: Path, tmp_path: Path, edited: str
) -> None:
    folder = Path(shutil.copytree(interrupted, tmp_path / "project"))
    setting("student.labels.seed", 3)(folder)  # another student's
    loss = "return temperature**2 * F"
    if edited == "a comment":
        edit(folder / "intents/training/distillation.py", loss, f"# Hinton's.\n    {loss}")
        edit(folder / "stages/distill.py", "import shutil\n", "import shutil  # to tidy up\n")
    else:
        edit(folder / "intents/training/distillation.py", loss, loss.replace("**2", "**2.0"))
    done = program(folder, "stages.distill", "half", python=warm / "python", PYTHONPATH=str(folder))
    assert done.returncode == 0, done.stderr
    assert ("resuming from data/.training/half-" in done.stderr) == (edited == "a comment")
    assert contents(folder / "models/half")


# What a cut-off run left.


def checkpoint(folder: Path, step: int, state: str | None = None) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}) if state is None else state)
    return path


def test_the_newest_checkpoint_is_resumed_by_its_number_not_by_its_name(tmp_path: Path) -> None:
    checkpoint(tmp_path, 90)
    newest = checkpoint(tmp_path, 120)
    checkpoint(tmp_path, 30)
    assert trainer.last_checkpoint(tmp_path) == newest


@pytest.mark.parametrize("state", ["", '{"global_step": 12', "{}"])
def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path, state: str) -> None:
    whole = checkpoint(tmp_path, 90)
    checkpoint(tmp_path, 120, state)
    (tmp_path / "checkpoint-150").mkdir()
    assert trainer.last_checkpoint(tmp_path) == whole


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert trainer.last_checkpoint(tmp_path) is None
    assert trainer.last_checkpoint(tmp_path / "nowhere") is None


# Where it runs, and in which precision.


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_device_is_a_gpu_where_there_is_one_and_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch, asked: str, found: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    assert trainer.device(of(device=asked)).type == expected


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PipelineError, match=r"`run.device` is cuda, but torch finds no GPU; allowed here: auto, cpu"):
        trainer.device(of(device="cuda"))


@pytest.mark.parametrize(
    ("asked", "flags", "expected"),
    [
        *(("auto", flags, False) for flags in ([], ["avx2", "avx512_vnni"])),
        *(("auto", flags, True) for flags in (["avx512_bf16"], ["amx_bf16"])),
        *(("fp32", ["amx_bf16"], False), ("bf16", [], True)),
    ],
)
def test_a_cpu_trains_in_bfloat16_where_it_computes_in_it_or_is_told_to(
    monkeypatch: pytest.MonkeyPatch, asked: str, flags: list[str], expected: bool
) -> None:
    monkeypatch.setattr(trainer.cpuinfo, "get_cpu_info", lambda: {"flags": flags})
    assert trainer.in_bfloat16(of(device="cpu", precision=asked)) is expected


# The optimizer, and what is kept of the log.


def test_matrices_decay_and_biases_and_parameters_of_their_own_do_not() -> None:
    model = torch.nn.ModuleDict({"inner": torch.nn.Linear(3, 2), "scores": torch.nn.Linear(3, 2, bias=False)})
    schedule = Schedule(epochs=1, batch_size=1, learning_rate=0.1, warmup=0.0, weight_decay=0.01)
    found = trainer.adamw(model, schedule, lambda name: name.startswith("scores"), 0.5).param_groups
    expected = [("inner.weight", 0.01, 0.1), ("inner.bias", 0.0, 0.1), ("scores.weight", 0.0, 0.5)]
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert [
        (names[parameter], group["weight_decay"], group["lr"]) for group in found for parameter in group["params"]
    ] == expected


def test_a_history_is_a_row_per_epoch_in_order_without_the_clock() -> None:
    log = [
        {"epoch": 2.0, "loss": 0.2, "learning_rate": 0.1, "grad_norm": 3.0},
        {"epoch": 1.0, "loss": 0.5, "learning_rate": 0.2},
        {"epoch": 1.0, "eval_loss": 0.6, "eval_accuracy": 0.7, "eval_runtime": 12.0},
        {"epoch": 2.0, "train_runtime": 60.0},
    ]
    assert trainer.history(log) == [
        {"epoch": 1.0, "loss": 0.5, "learning_rate": 0.2, "eval_loss": 0.6, "eval_accuracy": 0.7},
        {"epoch": 2.0, "loss": 0.2, "learning_rate": 0.1},
    ]


def test_a_history_is_written_by_the_name_of_the_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trainer.write_history("half-movement", [{"epoch": 1.0, "loss": 1 / 3, "train_runtime": 60.0}])
    assert Path("reports/training/half-movement.csv").read_text() == "epoch,loss\n1,0.333333\n"
