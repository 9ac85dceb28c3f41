"""evaluate's manifest, what else it writes when something changes, and what it writes when something is missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from by_hand import MODELS, ROWS, VARIANTS, answers, evaluated, file_of, weights
from conftest import compose, contents, run
from made import read
from safetensors.numpy import save_file

from intents.core import files
from intents.core.errors import PipelineError
from stages import evaluate


def test_the_manifest_has_the_file_its_size_and_its_digests(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in read("reports/manifest.json").items():
        path = Path("models") / name / file_of(name)
        model = next(model for model in sorted(MODELS, key=len, reverse=True) if name.startswith(model))
        assert row == {
            "folder": f"models/{name}",
            "file": path.name,
            "sha256": files.sha256(path.read_bytes()),
            "size_mb": pytest.approx(len(path.read_bytes()) / 2**20, abs=1e-6),
            "parameters": weights(model)[1],
            "logits_sha256": files.sha256(Path(f"data/logits/{name}.safetensors").read_bytes()),
        }


def test_another_rate_changes_no_byte_of_the_manifest(rows: dict[str, dict[str, Any]]) -> None:
    before = contents(Path("reports"))
    compose(*ROWS, "out_of_scope.rate=0.5")
    run(evaluate)
    after = contents(Path("reports"))
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"evaluation.json", "correct.csv"}


def change_weights() -> None:
    path = Path("models/half-onnx/model.onnx")
    path.write_bytes(path.read_bytes()[::-1])


def change_logits() -> None:
    save_file(answers(99), "data/logits/half-onnx.safetensors")


@pytest.mark.parametrize(
    ("change", "keys"), [(change_weights, {"sha256"}), (change_logits, {"logits_sha256"})], ids=["weights", "logits"]
)
@pytest.mark.usefixtures("rows")
def test_a_model_that_was_made_anew_is_another_in_the_manifest(change: Callable[[], None], keys: set[str]) -> None:
    before = read("reports/manifest.json")
    change()
    run(evaluate)
    after = read("reports/manifest.json")
    differing = {(name, key) for name in after for key in after[name] if after[name][key] != before[name][key]}
    assert differing == {("half-onnx", key) for key in keys}


@pytest.mark.usefixtures("rows")
def test_the_same_again_gives_the_same_bytes() -> None:
    before = contents(Path())
    run(evaluate)
    assert contents(Path()) == before


@pytest.mark.usefixtures("rows")
def test_what_is_left_of_a_variant_that_is_no_longer_declared_changes_nothing() -> None:
    """A technique that was given up leaves its folders behind."""
    compose(*ROWS, "prune=structured", "~variants.rows.onnx.structured")
    run(evaluate)
    fewer = contents(Path("reports"))
    names = list(evaluated())
    assert names == [name for name in VARIANTS if not name.startswith("half-structured-")]
    for name in ("half-structured-onnx", "half-structured-ort-static"):
        (Path("models") / name / "model.onnx").unlink()
        Path(f"data/logits/{name}.safetensors").unlink()
    run(evaluate)
    assert contents(Path("reports")) == fewer


@pytest.mark.usefixtures("rows")
def test_models_left_out_of_the_variants_are_left_out_of_every_file() -> None:
    compose(*ROWS, "~variants.rows.models.structured", "~variants.rows.onnx.structured")
    run(evaluate)
    left = [name for name in VARIANTS if not name.startswith("half-structured")]
    assert list(evaluated()) == list(read("reports/manifest.json")) == left
    assert Path("reports/correct.csv").read_text().splitlines()[0].split(",") == ["test_row", "intent", *left]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("data/clinc/test.jsonl", "data/clinc/test.jsonl not found; run `dvc repro fetch-clinc`"),
        ("data/logits/teacher-onnx.safetensors", "run `dvc repro onnx-export@teacher`"),
        ("data/logits/labels.safetensors", "run `dvc repro distill@labels`"),
        ("reports/models/half-structured.json", "half-structured.json not found; run `dvc repro prune@structured`"),
        ("models/teacher", "models/teacher/model.safetensors not found; run `dvc repro finetune-teacher@teacher`"),
        ("models/half-torch-dynamic/int8.safetensors", "int8.safetensors not found; run `dvc repro quantize@half-dyn"),
        ("models/half-ort-static/model.onnx", "model.onnx not found; run `dvc repro ort-quantize@half-static`"),
    ],
)
@pytest.mark.usefixtures("rows")
def test_without_what_it_needs_it_says_what_to_run_and_writes_nothing(
    tmp_path_factory: pytest.TempPathFactory, gone: str, message: str
) -> None:
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("rate: 0.2", "rate: 0.5"))  # else the same would be written again
    Path(gone).rename(tmp_path_factory.mktemp("elsewhere") / "gone")
    before = contents(Path())
    with pytest.raises(PipelineError, match=message):
        run(evaluate)
    assert contents(Path()) == before
