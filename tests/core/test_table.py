"""The rows of the table: what the groups of conf/ declare, in one order."""

from pathlib import Path

import pytest
from conftest import ROOT, compose
from core.mistakes import setting
from omegaconf import OmegaConf

from intents.core import table, variants
from intents.core.errors import PipelineError


def declared() -> list[str]:
    return [variant.name for variant in table.declared()]


@pytest.mark.usefixtures("project")
def test_float_models_come_first_then_int8_in_pytorch_then_each_exported_model() -> None:
    compose("student=[half,labels]", "prune=[movement]", "qat=none", "second_teacher=none")
    assert declared() == [
        *("teacher", "half", "labels", "half-movement", "half-torch-dynamic", "half-torch-static"),
        *("teacher-onnx", "teacher-ort-dynamic", "teacher-ort-static"),
        *("half-onnx", "half-ort-dynamic", "half-ort-static"),
        *("half-movement-onnx", "half-movement-ort-dynamic", "half-movement-ort-static"),
    ]


def test_every_name_of_the_project_is_parsed_and_composed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = table.declared()
    assert len({variant.name for variant in found}) == len(found) > 20
    for variant in found:
        assert variants.parse(variant.name) == variant


@pytest.mark.usefixtures("project")
def test_a_method_brings_a_row_for_each_model_that_is_converted() -> None:
    compose()
    before = declared()
    compose("quantize=[static]", "ort_quantize=[dynamic]")
    gone = [name for name in before if name.endswith(("-torch-dynamic", "-ort-static"))]
    assert gone
    assert declared() == [name for name in before if name not in gone]


@pytest.mark.usefixtures("project")
def test_a_student_beside_the_first_leaves_the_other_rows_as_they_are() -> None:
    compose("student=[half,labels]")
    before = declared()
    compose("student=[distilbert,half,labels]")
    new = [name for name in declared() if name not in before]
    assert sorted(new) == sorted(
        ["distilbert", *(f"distilbert-{form}" for form in ("onnx", "ort-dynamic", "ort-static"))]
        + [f"distilbert-torch-{method}" for method in ("dynamic", "static")]
    )
    assert [name for name in declared() if name in before] == before


@pytest.mark.usefixtures("project")
def test_pruning_and_training_for_int8_go_by_the_student_that_is_named_last() -> None:
    compose("student=[half,labels,distilbert]")
    models = table.load().models
    assert {"distilbert-movement", "distilbert-qat"} <= set(models)
    assert not {"half-movement", "half-qat"} & set(models)


@pytest.mark.usefixtures("project")
def test_unlabelled_queries_are_made_once_where_a_student_learns_from_them_and_not_otherwise() -> None:
    for students, expected in (("half,labels", []), ("half,narrow", ["teacher"]), ("half,narrow,slim", ["teacher"])):
        compose(f"student=[{students}]", "second_teacher=none")
        assert table.load().augmented == expected


@pytest.mark.usefixtures("project")
def test_the_second_teacher_is_a_row_and_students_learn_the_answers_of_the_teacher_that_is_named() -> None:
    for second, answers in (("none", "teacher"), ("mpnet", "teacher"), ("mpnet", "teacher-mpnet")):
        taught = ["second_teacher.teaches=true"] if answers == "teacher-mpnet" else []
        compose("student=[half,narrow]", f"second_teacher={second}", f"variants.answers={answers}", *taught)
        composed = OmegaConf.load("params.yaml")
        file = f"data/logits/{answers}.safetensors"
        found = [composed.student.half.answers, composed.prune.movement.answers, composed.qat.answers]
        assert found == [file] * 3
        assert table.load().augmented == ["teacher"]  # narrow students learn the levels of its logits better
        assert ("teacher-mpnet" in table.load().teachers) == (second == "mpnet")
        assert ("teacher-mpnet" in declared()) == (second == "mpnet")
        assert "teacher-mpnet-onnx" not in declared()  # it is timed, and not converted


@pytest.mark.usefixtures("project")
def test_a_student_that_learns_labels_is_not_given_queries_without_any() -> None:
    compose("student.half.answers=data/augmented", "student.half.objective=logits")
    with pytest.raises(PipelineError, match=r"`student\.half\.objective` is labels_and_divergence; allowed: logits, "):
        compose("student.half.answers=data/augmented")


@pytest.mark.parametrize("key", ["onnx_models", "torch_models"])
def test_a_conversion_of_a_model_that_is_not_made_is_refused(project: Path, key: str) -> None:
    setting(f"variants.{key}", ["teacher", "half-lottery"])(project)
    with pytest.raises(PipelineError, match=rf"`variants.{key}` has 'half-lottery'; allowed: teacher, half, "):
        table.declared()


@pytest.mark.parametrize("name", ["half-onnx", "half-torch-static", "half-ort-static"])
def test_a_model_that_has_the_name_of_a_conversion_is_refused(project: Path, name: str) -> None:
    """As a student or a technique that is called onnx would have."""
    setting("variants.models", ["teacher", "half", name])(project)
    with pytest.raises(PipelineError, match=rf"`variants.models` has '{name}'"):
        table.declared()
