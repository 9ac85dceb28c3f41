"""The rows of the results table: which variants params.yaml declares."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intents.core import settings, variants
from intents.core.errors import PipelineError
from intents.core.variants import PEER, Form, Variant, parse

MAIN_STUDENT = "the name of a section of `student`, such as half, as conf/student/half.yaml sets it"


@dataclass(frozen=True, kw_only=True)
class Table:
    """The section `variants` of params.yaml: the rows of the table."""

    # The student that pruning, quantization-aware training and sensitivity work on.
    student: str = settings.text(MAIN_STUDENT)
    rows: dict[str, dict[str, str]]  # what the groups of conf/ add; the lists below are made of it
    teachers: dict[str, str]  # each with the section that has its settings
    answers: str  # the teacher whose answers students learn
    controls: dict[str, str]  # a student trained without the teacher: the student that it is compared with
    models: list[str]  # in float32; the teacher is among them
    onnx_models: list[str]  # those exported to ONNX
    onnx_methods: list[str]  # of int8 there
    torch_models: list[str]  # those brought to int8 in PyTorch
    torch_methods: list[str]  # of int8 there
    qat: list[str]  # the student of quantization-aware training, if any
    peers: list[str]  # made another way, to be compared with
    augmented: list[str]  # the teacher that answers unlabelled queries, where a student learns from them


def load() -> Table:
    return settings.load(Table, "variants")


def check_students(params: Mapping[str, Any]) -> None:
    """Look at the students of a params.yaml as a whole, before a stage runs for any of them.

    Raises:
        PipelineError: one has a name that no student can have, `variants.student` names none, or the teacher whose
            answers they learn does not answer the training queries.
    """
    for name in params.get("student") or ():
        variants.student(str(name))
    rows = params.get("variants", {})
    if rows.get("student", "") is None:
        raise PipelineError(f"`variants.student` is null, so there is none to prune; allowed: {MAIN_STUDENT}")
    section = rows.get("teachers", {}).get(rows.get("answers"))
    if params.get(section, {}).get("teaches") is False:
        raise PipelineError(
            f"`{section}.teaches` is false, and students learn the answers of {rows['answers']}, as `variants.answers` "
            f"says; allowed: `{section}.teaches=true`, or another teacher in `variants.answers`"
        )


def declared() -> list[Variant]:
    """Every variant of params.yaml, in the order of the table.

    Raises:
        PipelineError: a name in `variants` cannot be one, or a model is converted that is not made.
    """
    rows = load()
    for name in rows.models:
        if parse(name).form is not Form.TORCH:
            raise PipelineError(
                f"`variants.models` has {name!r}, the name of a conversion; allowed: teacher, STUDENT, STUDENT-METHOD"
            )
    for key in ("onnx_models", "torch_models"):
        if unknown := sorted(set(getattr(rows, key)) - set(rows.models)):
            raise PipelineError(f"`variants.{key}` has {unknown[0]!r}; allowed: {', '.join(rows.models)}")
    if unknown := sorted({*rows.controls, *rows.controls.values()} - set(rows.models)):
        raise PipelineError(f"`variants.controls` has {unknown[0]!r}; allowed: {', '.join(rows.models)}")
    if wrong := [name for name in rows.peers if parse(name).form is not Form.PEER]:
        raise PipelineError(f"`variants.peers` has {wrong[0]!r}; allowed: {PEER}-NAME")
    names = [
        *rows.models,
        *(f"{model}-torch-{method}" for model in rows.torch_models for method in rows.torch_methods),
        *(
            f"{model}-{form}"
            for model in rows.onnx_models
            for form in ("onnx", *(f"ort-{method}" for method in rows.onnx_methods))
        ),
        *rows.peers,
    ]
    return [parse(name) for name in names]
