"""prune: the zeros that are reported are in the saved weights, and the sizes are those of the files."""

import csv
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, contents, run
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages import prune
from stages.library import splits, training
from stages.library.errors import PipelineError

OUTPUTS = (
    "data/pruned-movement",
    "data/pruned-structured",
    "data/logits",
    "reports/quality",
    "reports/training",
    "reports/prune",
)
LINEAR = (
    *(f"attention.self.{name}" for name in ("query", "key", "value")),
    *("attention.output.dense", "intermediate.dense", "output.dense"),
)
ENCODER = [f"encoder.layer.{layer}.{name}" for layer in (0, 1) for name in LINEAR]


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    return {name: contents(folder / name) for name in OUTPUTS}


def read(path: Path) -> dict[str, float]:
    return json.loads(path.read_text())


def matrices(folder: Path, method: str = "movement") -> dict[str, np.ndarray]:
    """The encoder's weight matrices as saved."""
    tensors = load_file(folder / f"data/pruned-{method}/model.safetensors")
    return {name: tensors[f"bert.{name}.weight"] for name in ENCODER}


def schedule(folder: Path) -> list[dict[str, float]]:
    with (folder / "reports/prune/movement-schedule.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_each_layers_sparsity_is_the_share_of_zeros_in_its_saved_weights(built: Path) -> None:
    reported = read(built / "reports/prune/movement-layers.json")
    assert reported == pytest.approx({name: (w == 0).mean() for name, w in matrices(built).items()}, abs=1e-6)


def test_the_whole_encoder_reaches_the_sparsity_asked_for(built: Path) -> None:
    flat = np.concatenate([weights.ravel() for weights in matrices(built).values()])
    assert (flat == 0).mean() == pytest.approx(0.8, abs=1 / len(flat))
    figures = read(built / "reports/quality/pruned-movement.json")["pruned-movement"]
    assert figures["encoder_sparsity"] == pytest.approx((flat == 0).mean(), abs=1e-6)


def test_movement_over_the_model_leaves_layers_unequally_sparse(built: Path) -> None:
    assert np.std(list(read(built / "reports/prune/movement-layers.json").values())) > 0.01


def test_embeddings_pooler_and_classifier_stay_dense(built: Path) -> None:
    tensors = load_file(built / "data/pruned-movement/model.safetensors")
    for name in ("bert.embeddings.word_embeddings.weight", "bert.pooler.dense.weight", "classifier.weight"):
        # Row 0 of the embeddings is the padding token's: BERT starts it at zero.
        assert (tensors[name][1:] == 0).mean() < 1e-3


@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_within_each_layer_both_methods_reach_the_sparsity(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    compose(*overrides, *(f"prune.{method}.{key}" for key in ("scope=layer", "sparsity=0.6", "epochs=1")))
    run(prune, monkeypatch, method)
    for weights in matrices(built, method).values():
        assert (weights == 0).mean() == pytest.approx(0.6, abs=1 / weights.size)


def test_magnitude_and_movement_keep_other_weights(built: Path) -> None:
    movement = matrices(built)
    kept = [np.mean((theirs != 0) & (movement[name] != 0)) for name, theirs in matrices(built, "magnitude").items()]
    assert np.mean(kept) < 0.19  # of 20 % each: the same ones would be 0.2


def test_a_run_shorter_than_an_interval_is_pruned_all_the_same(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compose(*overrides, "prune.movement.epochs=1", "prune.movement.interval=1000", "prune.movement.sparsity=0.5")
    run(prune, monkeypatch, "movement")
    flat = np.concatenate([weights.ravel() for weights in matrices(built).values()])
    assert (flat == 0).mean() == pytest.approx(0.5, abs=1 / len(flat))
    assert read(built / "reports/quality/pruned-movement.json")["pruned-movement"]["encoder_sparsity"] == pytest.approx(
        0.5, abs=1e-4
    )


def test_the_schedule_rises_from_nothing_to_the_end_and_is_kept_to(built: Path) -> None:
    rows = schedule(built)
    assert (rows[0]["due"], rows[0]["sparsity"]) == (0, 0)
    assert rows[-1]["due"] == 0.8
    assert [row["step"] for row in rows] == list(range(0, 30, 2)) + ([30] if rows[-1]["step"] == 30 else [])
    reached = [row["sparsity"] for row in rows]
    assert reached == sorted(reached)
    for row in rows:
        assert row["sparsity"] == pytest.approx(row["due"], abs=1e-4)
        progress = min(1, max(0, (row["step"] / 30 - 0.1) / 0.6))
        assert row["due"] == pytest.approx(0.8 * (1 - (1 - progress) ** 3), abs=1e-5)


def test_compressed_sizes_are_zlibs_of_the_files(built: Path) -> None:
    figures = read(built / "reports/quality/pruned-movement.json")["pruned-movement"]
    for key, model in (("compressed_mb", "pruned-movement"), ("compressed_mb_before", "student")):
        content = (built / f"data/{model}/model.safetensors").read_bytes()
        assert figures[key] == pytest.approx(len(zlib.compress(content)) / 2**20, abs=1e-6)
    assert figures["compressed_mb"] < figures["compressed_mb_before"]
    assert figures["size_mb"] == pytest.approx(
        len((built / "data/pruned-movement/model.safetensors").read_bytes()) / 2**20
    )


def test_the_folder_is_an_ordinary_model_and_gives_the_cached_logits(built: Path) -> None:
    student, pruned = (load_file(built / f"data/{name}/model.safetensors") for name in ("student", "pruned-movement"))
    assert {name: tensor.shape for name, tensor in pruned.items()} == {n: t.shape for n, t in student.items()}
    model = AutoModelForSequenceClassification.from_pretrained(built / "data/pruned-movement")
    tokenizer = AutoTokenizer.from_pretrained(built / "data/pruned-movement")
    cached = load_file(built / "data/logits/pruned-movement.safetensors")
    with torch.inference_mode():
        for row, logits in zip(splits.load(built / "data/clinc", "test"), cached["test"], strict=True):
            found = model(**tokenizer(row.text, return_tensors="pt")).logits[0].numpy()
            np.testing.assert_allclose(logits, found, atol=1e-5)


@pytest.mark.parametrize("method", ["movement", "structured"])
def test_an_interrupted_run_goes_on_with_what_it_has_cut_and_ends_with_the_same_bytes(
    built: Path, built_once: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    count = iter((1, 2))

    def accuracy(prediction: object, original: object = training.accuracy) -> dict[str, float]:
        if next(count) == 2:
            raise KeyboardInterrupt
        return original(prediction)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(training, "accuracy", accuracy)
        with pytest.raises(KeyboardInterrupt):
            run(prune, interrupted, method)
    with caplog.at_level("INFO"):
        run(prune, monkeypatch, method)
    assert any(message.startswith(f"resuming from data/.training/pruned-{method}-") for message in caplog.messages)
    assert outputs(built) == outputs(built_once)


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.7, 0.1)])
def test_a_ramp_that_does_not_rise_is_refused(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch, start: float, end: float
) -> None:
    before = outputs(built)
    compose(*overrides, f"prune.movement.start={start}", f"prune.movement.end={end}")
    named = f"`prune.movement.start` is {start}; allowed: below `prune.movement.end`, which is {end}"
    with pytest.raises(PipelineError, match=named):
        run(prune, monkeypatch, "movement")
    assert outputs(built) == before


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("data/student", "data/student not found; run `dvc repro distill`"),
        ("data/logits/teacher.safetensors", "not found; run `dvc repro finetune-teacher`"),
    ],
)
def test_without_what_it_needs_it_says_what_to_run(
    built: Path, monkeypatch: pytest.MonkeyPatch, gone: str, message: str
) -> None:
    (built / gone).rename(built / "elsewhere")
    with pytest.raises(PipelineError, match=message):
        run(prune, monkeypatch, "movement")
