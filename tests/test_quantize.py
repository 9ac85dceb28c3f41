"""quantize: int8 tensors in a safetensors file; what is reported of them is what the files say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, contents, run
from safetensors import safe_open
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from stages import quantize
from stages.library import int8, splits
from stages.library.errors import PipelineError

WEIGHTS = Path("data/quantized/dynamic/int8.safetensors")
EMBEDDINGS = "bert.embeddings.word_embeddings"


def figures(folder: Path) -> dict[str, float]:
    return json.loads((folder / "reports/quality/student-torch-dynamic.json").read_text())["student-torch-dynamic"]


def test_the_folder_holds_all_that_a_user_needs(built: Path) -> None:
    names = {"config.json", "int8.safetensors", "tokenizer.json", "tokenizer_config.json", "classifier.json"}
    assert set(contents(built / "data/quantized/dynamic")) == names


@pytest.mark.usefixtures("built")
def test_every_linear_layer_and_the_word_embeddings_are_int8() -> None:
    tensors = load_file(WEIGHTS)
    student = load_file("data/student/model.safetensors")
    matrices = [name.removesuffix(".weight") for name, weight in student.items() if weight.ndim == 2]
    small = ("position_embeddings", "token_type_embeddings")
    assert {name.removesuffix(".weight_int8") for name, tensor in tensors.items() if tensor.dtype == np.int8} == {
        name for name in matrices if not name.endswith(small)
    }
    for name in (EMBEDDINGS, "classifier", "bert.encoder.layer.0.attention.self.query"):
        weight = student[f"{name}.weight"]
        restored = tensors[f"{name}.weight_int8"] * tensors[f"{name}.scales"]
        assert (np.abs(restored - weight) <= np.abs(weight).max(axis=1, keepdims=True) / 127 * 0.501).all()


def test_size_and_parameters_are_those_of_the_file_and_of_the_student(built: Path) -> None:
    assert figures(built)["size_mb"] == pytest.approx(WEIGHTS.stat().st_size / 2**20, abs=1e-6)
    student = json.loads((built / "reports/quality/student.json").read_text())["student"]
    assert figures(built)["parameters"] == student["parameters"]
    assert figures(built)["size_mb"] < student["size_mb"] / 3


def test_parity_is_that_of_the_logits_files(built: Path) -> None:
    theirs, ours = (load_file(f"data/logits/{name}.safetensors") for name in ("student", "student-torch-dynamic"))
    difference = np.abs(theirs["validation"] - ours["validation"])
    assert figures(built)["parity"] == pytest.approx(
        {
            "parent": "student",
            "queries": 40,
            "max_logit_difference": difference.max(),
            "mean_logit_difference": difference.mean(),
            "agreement": (theirs["validation"].argmax(axis=1) == ours["validation"].argmax(axis=1)).mean(),
        },
        abs=1e-6,
    )
    assert difference.max() > 0


def test_accuracy_is_that_of_the_logits_file(built: Path) -> None:
    answers = load_file("data/logits/student-torch-dynamic.safetensors")["test"].argmax(axis=1)
    assert figures(built)["accuracy"] == pytest.approx((answers == np.repeat([0, 1, 3, 2], 10)).mean())


def test_cached_logits_are_what_the_saved_model_gives_one_query_at_a_time(built: Path) -> None:
    folder = built / "data/quantized/dynamic"
    model, tokenizer = int8.load(folder, ""), AutoTokenizer.from_pretrained(folder)
    cached = load_file("data/logits/student-torch-dynamic.safetensors")
    assert set(cached) == {"validation", "test"}
    with torch.inference_mode():
        for row, logits in zip(splits.load(built / "data/clinc", "test"), cached["test"], strict=True):
            found = model(**tokenizer(row.text, return_tensors="pt")).logits[0].numpy()
            np.testing.assert_array_equal(logits, found)


def test_the_same_again_gives_the_same_bytes(built: Path, built_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(quantize, monkeypatch, "dynamic", "student")
    for name in ("data/quantized", "data/logits", "reports/quality"):
        assert contents(built / name) == contents(built_once / name)


@pytest.mark.usefixtures("built")
def test_the_settings_reach_the_file(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with safe_open(WEIGHTS, "np") as file:
        assert file.metadata()["reduce_range"] == "false"
    assert len(np.unique(load_file(WEIGHTS)["bert.pooler.dense.scales"])) == 32
    compose(
        *overrides,
        "quantize.dynamic.per_row=false",
        "quantize.dynamic.embeddings=false",
        "quantize.dynamic.reduce_range=true",
    )
    run(quantize, monkeypatch, "dynamic", "student")
    tensors = load_file(WEIGHTS)
    assert len(np.unique(tensors["bert.pooler.dense.scales"])) == 1
    assert tensors[f"{EMBEDDINGS}.weight"].dtype == np.float32
    with safe_open(WEIGHTS, "np") as file:
        assert file.metadata()["reduce_range"] == "true"


def test_without_a_student_it_says_what_to_run_and_writes_nothing(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (built / "data/student").rename(built / "elsewhere")
    before = contents(built)
    with pytest.raises(PipelineError, match="data/student not found; run `dvc repro quantize@dynamic`"):
        run(quantize, monkeypatch, "dynamic", "student")
    assert contents(built) == before
