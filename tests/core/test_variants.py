"""A variant has one name, and everything else about it follows from the name."""

import pytest
from conftest import ROOT
from dvc.repo import Repo

from intents.core import paths, table, variants
from intents.core.errors import PipelineError
from intents.core.variants import Form, Variant, parse
from intents.data import logits

# Name: the variant, its student, what was done to the student, the name of its parent, its file.
NAMES = {
    "teacher": (Variant("teacher"), "teacher", None, None, "model.safetensors"),
    "half": (Variant("half"), "half", None, None, "model.safetensors"),
    "half-movement": (Variant("half-movement"), "half", "movement", None, "model.safetensors"),
    "half-qat": (Variant("half-qat"), "half", "qat", None, "model.safetensors"),
    "half-torch-dynamic": (Variant("half", Form.TORCH_INT8, "dynamic"), "half", None, "half", "int8.safetensors"),
    "half-qat-torch-static": (
        Variant("half-qat", Form.TORCH_INT8, "static"),
        *("half", "qat", "half-qat", "int8.safetensors"),
    ),
    "teacher-onnx": (Variant("teacher", Form.ONNX), "teacher", None, "teacher", "model.onnx"),
    "half-movement-onnx": (Variant("half-movement", Form.ONNX), "half", "movement", "half-movement", "model.onnx"),
    "half-ort-static": (Variant("half", Form.ORT, "static"), "half", None, "half-onnx", "model.onnx"),
    "half-movement-ort-dynamic": (
        Variant("half-movement", Form.ORT, "dynamic"),
        *("half", "movement", "half-movement-onnx", "model.onnx"),
    ),
    "peer-tfidf": (Variant("peer-tfidf", Form.PEER), "peer", "tfidf", None, ""),
    "my_student2-lottery_ticket-ort-qdq": (
        Variant("my_student2-lottery_ticket", Form.ORT, "qdq"),
        *("my_student2", "lottery_ticket", "my_student2-lottery_ticket-onnx", "model.onnx"),
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_parsed_and_composed_again(name: str) -> None:
    expected = NAMES[name][0]
    assert parse(name) == expected
    assert expected.name == name


@pytest.mark.parametrize("name", NAMES)
def test_what_it_was_made_from_follows_from_the_name(name: str) -> None:
    variant, student, technique, parent, file = NAMES[name]
    assert (variant.student, variant.technique) == (student, technique)
    assert (variant.parent.name if variant.parent else None) == parent
    assert variant.folder == paths.MODELS / name
    assert variant.weights == paths.MODELS / name / file


@pytest.mark.parametrize("name", ["peer-tfidf-onnx", "peer-tfidf-ort-static"])
def test_a_peer_is_not_converted(name: str) -> None:
    with pytest.raises(PipelineError, match="is a conversion of a peer; allowed: peer-NAME"):
        parse(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_runs_in_onnx_runtime_is_deployable(name: str) -> None:
    assert NAMES[name][0].deployable == ("-onnx" in name or "-ort-" in name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Half", "half!", "half ", "half/onnx", "../half", "half-", "-onnx", "half--onnx", "half-ort-"),
        *("half-movement-magnitude", "half-onnx-onnx-onnx", "half-torch-static-more", "half-ort-static-", "half\n"),
    ],
)
def test_what_no_variant_can_be_called_is_refused(name: str) -> None:
    with pytest.raises(PipelineError, match=r"is no variant's name; allowed: MODEL\[") as error:
        parse(name)
    assert repr(name) in str(error.value)


def test_the_command_that_makes_a_variant_is_a_stage_that_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with Repo(config={"core": {"no_scm": True}}) as repo:
        written = {stage.addressing: {str(out) for out in stage.outs} for stage in repo.index.stages}
    for variant in table.declared():
        command, _, stage = variant.made_by.rpartition(" ")
        assert command == "dvc repro"
        outs = {variant.folder, logits.path(variant.name), paths.MADE / f"{variant.name}.json"}
        assert {out.as_posix() for out in outs} <= written[stage]


def test_a_training_is_of_a_float_model_and_a_conversion_of_another_variant() -> None:
    for variant, _, _, parent, _ in NAMES.values():
        assert (variant.form in (Form.TORCH, Form.PEER)) == (parent is None)
        assert variant.parent is None or variants.parse(variant.parent.name) == variant.parent
