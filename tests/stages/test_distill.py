"""distill: the student starts from layers of the teacher or from a checkpoint, and learns from cached logits."""

import json
import shutil
from pathlib import Path

import interruption
import numpy as np
import pytest
from conftest import compose, contents, run
from made import LABELS, answers_one_by_one, figures, logits_of, saved
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intents.core.errors import PipelineError
from stages import distill

STUDENTS = ("half", "labels")  # the second learns from the labels alone
OUTPUTS = ("models", "data/logits", "reports/models", "reports/training")
TEACHERS_LOGITS = "data/logits/teacher.safetensors"


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    return {name: contents(folder / name) for name in OUTPUTS}


@pytest.fixture
def taught(built_once: Path, project: Path) -> Path:
    """A project with data, teacher and students, and nothing that was made of the students."""
    shutil.copytree(built_once / "data/clinc", project / "data/clinc")
    for name in ("teacher", *STUDENTS):
        shutil.copytree(built_once / "models" / name, project / "models" / name)
        files = (f"data/logits/{name}.safetensors", f"reports/models/{name}.json", f"reports/training/{name}.csv")
        for file in files:
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(built_once / file, project / file)
    return project


def test_a_student_from_a_checkpoint_cuts_queries_where_the_teacher_does(
    taught: Path, overrides: list[str], tiny_checkpoint: Path
) -> None:
    folder = taught / "models/teacher"
    AutoTokenizer.from_pretrained(folder, model_max_length=9).save_pretrained(folder)
    change = ("student.half.layers=null", f"student.half.checkpoint={tiny_checkpoint}", "distill.epochs=1")
    compose(*overrides, *change)
    run(distill, "half")
    assert json.loads((taught / "models/half/config.json").read_text())["num_hidden_layers"] == 4
    assert json.loads((taught / "models/half/tokenizer.json").read_text())["truncation"]["max_length"] == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["layers=null"], r"one of `student.half.layers`, .* must be given"),
        (["checkpoint=./models/teacher"], r"one of `student.half.layers`, .* must be given"),
        (["layers=[1,4]"], r"`student.half.layers` names layer 4, but the teacher has 4: allowed are 0 to 3"),
        (["layers=[-1]"], r"`student.half.layers` names layer -1"),
        (["layers=[3,1]"], r"`student.half.layers` is \[3, 1\]; allowed: .* in increasing order"),
        (["layers=[1,1]"], r"`student.half.layers` is \[1, 1\]; allowed: .* each once"),
        (["layers=[]"], r"`student.half.layers` is \[\]; allowed: one or more"),
        (["layers=null", "checkpoint=./nowhere"], r"checkpoint folder './nowhere' does not exist"),
        (["layers=null", "checkpoint=a/b"], r"'a/b' is no folder here, .* a revision must be given"),
        (["layers=null", "checkpoint=./models/teacher", "sha256=abc"], "expected abc"),
    ],
)
def test_after_a_wrong_student_everything_is_as_before(
    taught: Path, overrides: list[str], change: list[str], message: str
) -> None:
    before = outputs(taught)
    assert all(before.values())
    compose(*overrides, *(f"student.half.{setting}" for setting in change))
    with pytest.raises(PipelineError, match=message):
        run(distill, "half")
    assert outputs(taught) == before


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.usefixtures("reading")
def test_cached_logits_are_what_the_saved_student_gives(student: str) -> None:
    folder = Path("models") / student
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(contents(folder)) == names
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    cached = logits_of(student)
    assert set(cached) == {"validation", "test"}
    for split, logits in cached.items():
        np.testing.assert_allclose(logits, answers_one_by_one(model, folder, split), atol=1e-4)


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.usefixtures("reading")
def test_the_figure_is_the_accuracy_of_the_validation_logits_by_arg_max(student: str) -> None:
    right = logits_of(student)["validation"].argmax(axis=1) == LABELS
    assert figures(student) == {"validation": {"accuracy": pytest.approx(right.mean(), abs=1e-6)}}


@pytest.mark.usefixtures("reading")
def test_a_student_of_half_the_layers_has_fewer_parameters_by_those_of_the_others() -> None:
    student, teacher = saved("half"), saved("teacher")
    gone = [name for name in teacher if "layer.0." in name or "layer.2." in name]
    assert len(gone) == 2 * 16  # a layer has 16 tensors
    sizes = [sum(tensor.size for tensor in tensors.values()) for tensors in (student, teacher)]
    assert sizes[0] == sizes[1] - sum(teacher[name].size for name in gone)


def test_the_student_learns_what_the_cached_logits_say_not_the_labels(taught: Path, overrides: list[str]) -> None:
    """With alpha 0 and logits that always say "music", the student says so too."""
    logits = load_file(taught / TEACHERS_LOGITS)
    logits["train"] = np.tile(np.float32([0, 10, 0, 0]), (len(logits["train"]), 1))
    save_file(logits, taught / TEACHERS_LOGITS)
    # The Trainer keeps the epoch that is best on validation, where "music" is wrong: so one epoch.
    compose(*overrides, "distill.alpha=0.0", "distill.epochs=1", "distill.learning_rate=0.02")
    run(distill, "half")
    assert set(logits_of("half")["test"].argmax(axis=1)) == {1}


# A control student learns from the labels alone: its alpha is 1.


def test_a_control_is_what_the_student_becomes_with_alpha_one(
    taught: Path, overrides: list[str], built_once: Path
) -> None:
    assert contents(taught / "models/half") != contents(taught / "models/labels")
    compose(*overrides, "distill.alpha=1.0")
    run(distill, "half")
    assert contents(taught / "models/half") == contents(built_once / "models/labels")


def test_a_control_does_not_learn_what_the_cached_logits_say(taught: Path, built_once: Path) -> None:
    logits = load_file(taught / TEACHERS_LOGITS)
    logits["train"] = np.tile(np.float32([0, 10, 0, 0]), (len(logits["train"]), 1))
    save_file(logits, taught / TEACHERS_LOGITS)
    run(distill, "labels")
    assert contents(taught / "models/labels") == contents(built_once / "models/labels")


def test_a_student_with_a_seed_of_its_own_is_another_and_leaves_the_others_as_they_are(
    taught: Path, overrides: list[str]
) -> None:
    before = outputs(taught)
    compose(*overrides, "student.labels.seed=1")
    run(distill, "labels")
    after = outputs(taught)
    changed = {f"{name}/{file}" for name in OUTPUTS for file in after[name] if after[name][file] != before[name][file]}
    assert "models/labels/model.safetensors" in changed
    assert changed <= {
        *("models/labels/model.safetensors", "data/logits/labels.safetensors"),
        *("reports/models/labels.json", "reports/training/labels.csv"),
    }
    assert contents(taught / "data/.training") == {}


def test_a_seed_of_its_own_is_as_good_as_that_of_the_run(taught: Path, overrides: list[str]) -> None:
    found = []
    for change in ("student.half.seed=1", "run.seed=1"):
        compose(*overrides, change)
        run(distill, "half")
        found.append(contents(taught / "models/half"))
    assert found[0] == found[1]


# Interrupted runs.


def test_a_run_from_another_checkpoint_does_not_resume_this_ones(
    taught: Path, overrides: list[str], tiny_checkpoint: Path
) -> None:
    found = []
    shutil.copytree(tiny_checkpoint, taught / "own")
    compose(*overrides, "student.half.layers=null", "student.half.checkpoint=./own")
    for change in (0, 0, 1):
        tensors = load_file(taught / "own/model.safetensors")
        tensors["pooler.dense.bias"] += change
        save_file(tensors, taught / "own/model.safetensors", metadata={"format": "pt"})
        found.append(interruption.options_of_training(distill, "half")["scratch"])
    assert found[0] == found[1] != found[2]


def test_the_same_seed_gives_the_same_bytes_also_after_an_interruption(
    taught: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = outputs(taught)
    shutil.rmtree(taught / "models/half")
    with interruption.in_epoch(2), pytest.raises(KeyboardInterrupt):
        run(distill, "half")
    assert not (taught / "models/half").exists()
    with caplog.at_level("INFO"):
        run(distill, "half")
    assert any(message.startswith("resuming from data/.training/half-") for message in caplog.messages)
    assert outputs(taught) == before
    assert contents(taught / "data/.training") == {}
