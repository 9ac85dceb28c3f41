"""The names of variants: composed and parsed here, and nowhere else.

A variant is a model in one of its forms. Its name is that of its folder, its logits, its figures and its row:

    MODEL                 float32 in PyTorch      teacher, teacher-mpnet, half, half-movement
    MODEL-torch-METHOD    int8 in PyTorch         half-torch-dynamic
    MODEL-onnx            float32 as ONNX         half-onnx
    MODEL-ort-METHOD      int8 in ONNX Runtime    half-movement-ort-static
    peer-PEER             made another way        peer-tfidf

MODEL is `teacher`, `teacher-NAME` for the second teacher, a student (a section of `student`), or a student with what
was done to it: STUDENT-METHOD for a section of `prune`, STUDENT-qat after quantization-aware training.
"""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from intents.core import paths
from intents.core.errors import PipelineError

TEACHER = "teacher"
QAT = "qat"
STUDENT = re.compile(r"[a-z0-9_]+")
PEER = "peer"
NAME = re.compile(r"(?P<model>[a-z0-9_]+(-[a-z0-9_]+)??)(-(?P<onnx>onnx)|-(?P<int8>torch|ort)-(?P<method>[a-z0-9_]+))?")


class Form(Enum):
    TORCH = "PyTorch float32"
    TORCH_INT8 = "PyTorch int8"
    ONNX = "ONNX float32"
    ORT = "ONNX int8"
    PEER = "peer"


@dataclass(frozen=True)
class Variant:
    model: str
    form: Form = Form.TORCH
    method: str | None = None  # of int8

    @property
    def name(self) -> str:
        match self.form:
            case Form.TORCH | Form.PEER:
                return self.model
            case Form.TORCH_INT8:
                return f"{self.model}-torch-{self.method}"
            case Form.ONNX:
                return f"{self.model}-onnx"
            case Form.ORT:
                return f"{self.model}-ort-{self.method}"

    @property
    def student(self) -> str:
        """The student that the model is or was made from; the teacher's own name for the teacher."""
        return self.model.partition("-")[0]

    @property
    def technique(self) -> str | None:
        """What was done to the student: a method of pruning, or `qat`; None for a student as it is.

        Of the second teacher, and of a peer: its name.
        """
        return self.model.partition("-")[2] or None

    @property
    def parent(self) -> "Variant | None":
        """The variant that this one is a conversion of; None for a model that was trained."""
        match self.form:
            case Form.TORCH | Form.PEER:
                return None
            case Form.TORCH_INT8 | Form.ONNX:
                return Variant(self.model)
            case Form.ORT:
                return Variant(self.model, Form.ONNX)

    @property
    def deployable(self) -> bool:
        """Whether it runs without torch and transformers."""
        return self.form in (Form.ONNX, Form.ORT)

    @property
    def folder(self) -> Path:
        return paths.MODELS / self.name

    @property
    def weights(self) -> Path:
        """The file that a user would deploy; of a peer, the folder."""
        match self.form:
            case Form.PEER:
                return self.folder
            case Form.TORCH:
                return self.folder / "model.safetensors"
            case Form.TORCH_INT8:
                return self.folder / "int8.safetensors"
            case Form.ONNX | Form.ORT:
                return self.folder / "model.onnx"

    @property
    def made_by(self) -> str:
        """The command that makes it."""
        match self.form:
            case Form.PEER:
                return f"dvc repro peers@{self.technique}"
            case Form.TORCH_INT8:
                return f"dvc repro quantize@{self.model}-{self.method}"
            case Form.ONNX:
                return f"dvc repro onnx-export@{self.model}"
            case Form.ORT:
                return f"dvc repro ort-quantize@{self.model}-{self.method}"
        if self.student == TEACHER:
            return f"dvc repro finetune-teacher@{self.model}"
        if self.technique is None:
            return f"dvc repro distill@{self.student}"
        return f"dvc repro qat@{self.student}" if self.technique == QAT else f"dvc repro prune@{self.technique}"


def parse(name: str) -> Variant:
    """The variant of that name.

    Raises:
        PipelineError: no variant can have it.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise PipelineError(f"{name[:80]!r} is no variant's name; allowed: MODEL[-onnx | -torch-METHOD | -ort-METHOD]")
    if name.startswith(f"{PEER}-"):
        if found["onnx"] or found["int8"]:
            raise PipelineError(f"{name!r} is a conversion of a peer; allowed: {PEER}-NAME, which is converted no more")
        return Variant(name, Form.PEER)
    if found["onnx"]:
        return Variant(found["model"], Form.ONNX)
    if found["int8"]:
        return Variant(found["model"], Form.ORT if found["int8"] == "ort" else Form.TORCH_INT8, found["method"])
    return Variant(found["model"])


def student(name: str) -> Variant:
    """The student of that name, a section of `student`.

    Raises:
        PipelineError: it would be taken for the name of another variant, or can be none.
    """
    if not STUDENT.fullmatch(name) or name == TEACHER:
        raise PipelineError(
            f"`student` has a section {name[:80]!r}; allowed: lower-case letters, digits and _, and not {TEACHER!r}, "
            "since a - in a variant's name comes before what was done to the student"
        )
    return Variant(name)


def model(name: str) -> Variant:
    """The model of that name, in float32.

    Raises:
        PipelineError: it is the name of a conversion, or of nothing.
    """
    variant = parse(name)
    if variant.form is not Form.TORCH:
        raise PipelineError(f"{name!r} is the name of a conversion; allowed: that of a model, such as {variant.model}")
    return variant
