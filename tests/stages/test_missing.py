"""A stage without one of the files that it reads names it and the command that makes it, and writes nothing."""

import shutil
from importlib import import_module
from pathlib import Path

import pytest
from conftest import contents

from intents.core.errors import PipelineError

TEACHER, HALF = ("models/teacher", "finetune-teacher@teacher"), ("models/half", "distill@half")
TEACHERS, HALFS = ("data/logits/teacher.safetensors", TEACHER[1]), ("data/logits/half.safetensors", HALF[1])
LEARNT = (TEACHERS, ("data/clinc/train.jsonl", "fetch-clinc"))
CONVERTED = (
    *(("models/half-onnx", "onnx-export@half"), ("data/logits/half-onnx.safetensors", "onnx-export@half")),
    ("data/clinc", "fetch-clinc"),
)
# Of a stage with its words, each file or folder, and what makes it.
NEEDED = {
    "distill half": (TEACHER, TEACHERS),
    "distill labels": (TEACHERS,),
    "prune movement": (HALF, *LEARNT),
    "qat": (HALF, *LEARNT),
    "quantize half dynamic": (HALF,),
    "quantize half static": (HALF,),
    "quantize teacher dynamic": (TEACHER,),
    "quantize half-qat static": (("models/half-qat", "qat@half"),),
    "quantize half-structured static": (("models/half-structured", "prune@structured"),),
    "onnx_export half": (HALF, HALFS, ("data/clinc", "fetch-clinc")),
    "ort_quantize half dynamic": CONVERTED,
    "sensitivity static": CONVERTED,
    "primer": (
        *(TEACHERS, HALFS, ("data/clinc/validation.jsonl", "fetch-clinc"), ("reports/latency.json", "benchmark")),
        ("models/half/model.safetensors", "distill@half"),
        ("models/half-torch-dynamic/int8.safetensors", "quantize@half-dynamic"),
        ("models/half-movement/model.safetensors", "prune@movement"),
    ),
}


@pytest.mark.parametrize(
    ("command", "gone", "maker"), [(command, *needed) for command, files in NEEDED.items() for needed in files]
)
def test_without_what_it_needs_a_stage_says_what_to_run_and_writes_nothing(
    lent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, gone: str, maker: str
) -> None:
    stage, *words = command.split()
    monkeypatch.chdir(lent)
    shutil.move(gone, tmp_path / "gone")
    try:
        before = contents(lent)
        with pytest.raises(PipelineError, match=rf"{gone}\S* not found; run `dvc repro {maker}`"):
            import_module(f"stages.{stage}").main(*words)
        assert contents(lent) == before
    finally:
        shutil.move(tmp_path / "gone", gone)
