"""prune: the zeros that are reported are in the saved weights, and the sizes are those of the files."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import contents
from made import LABELS, answers_one_by_one, figures, logits_of, matrices, pruning_schedule, read, saved, zeros
from transformers import AutoModelForSequenceClassification

from intents.models import encoder

METHODS = ("magnitude", "movement", "structured")


@pytest.mark.usefixtures("reading")
def test_each_layers_sparsity_is_the_share_of_zeros_in_its_saved_weights() -> None:
    found = {name: (weights == 0).mean() for name, weights in matrices("half-movement").items()}
    assert read("reports/pruning/half-movement-layers.json") == pytest.approx(found, abs=1e-6)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_the_whole_encoder_reaches_the_sparsity_asked_for(method: str) -> None:
    share, count = zeros(f"half-{method}")
    assert share == pytest.approx(0.8, abs=1 / count)
    assert figures(f"half-{method}")["encoder_sparsity"] == pytest.approx(share, abs=1e-6)


@pytest.mark.usefixtures("reading")
def test_structured_pruning_cuts_the_share_of_weights_that_it_reports() -> None:
    before, after = (sum(weights.size for weights in matrices(name).values()) for name in ("half", "half-structured"))
    assert figures("half-structured")["encoder_sparsity"] == pytest.approx(1 - after / before, abs=1e-6)
    assert 1 - after / before == pytest.approx(0.5, abs=0.05)
    for number, layer in enumerate(read("reports/pruning/half-structured-layers.json").values()):
        query = matrices("half-structured")[f"encoder.layer.{number}.attention.self.query"]
        neurons = matrices("half-structured")[f"encoder.layer.{number}.intermediate.dense"]
        assert (len(layer["heads"]), layer["neurons"]) == (len(query) / 16, len(neurons))


@pytest.mark.usefixtures("reading")
def test_movement_over_the_model_leaves_layers_unequally_sparse() -> None:
    assert np.std(list(read("reports/pruning/half-movement-layers.json").values())) > 0.01


@pytest.mark.usefixtures("reading")
def test_embeddings_and_head_stay_dense() -> None:
    tensors = saved("half-movement")
    for name in ("model.embeddings.word_embeddings.weight", "head.weight"):
        # Row 0 of the embeddings is the padding token's: BERT starts it at zero.
        assert (tensors[name][1:] == 0).mean() < 1e-3


@pytest.mark.usefixtures("reading")
def test_magnitude_and_movement_keep_other_weights() -> None:
    movement, magnitude = matrices("half-movement"), matrices("half-magnitude")
    kept = [np.mean((theirs != 0) & (movement[name] != 0)) for name, theirs in magnitude.items()]
    assert np.mean(kept) < 0.19  # of 20 % each: the same ones would be 0.2


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_the_schedule_rises_from_nothing_to_the_end_and_is_kept_to(method: str) -> None:
    rows = pruning_schedule(f"half-{method}")
    assert (rows[0]["due"], rows[0]["sparsity"]) == (0, 0)
    assert rows[-1]["due"] == 0.8
    assert [row["step"] for row in rows] == list(range(0, 30, 2))  # none after the last step: the ramp had ended
    reached = [row["sparsity"] for row in rows]
    assert reached == sorted(reached)
    for row in rows:
        assert row["sparsity"] == pytest.approx(row["due"], abs=1e-4)
        progress = min(1, max(0, (row["step"] / 30 - 0.1) / 0.6))
        assert row["due"] == pytest.approx(0.8 * (1 - (1 - progress) ** 3), abs=1e-5)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("method", METHODS)
def test_compressed_sizes_are_zlibs_of_the_files(method: str) -> None:
    found = figures(f"half-{method}")
    for key, model in (("compressed_mb", f"half-{method}"), ("compressed_mb_before", "half")):
        content = Path(f"models/{model}/model.safetensors").read_bytes()
        assert found[key] == pytest.approx(len(zlib.compress(content)) / 2**20, abs=1e-6)
    assert found["compressed_mb"] < found["compressed_mb_before"]


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("method", METHODS)
def test_accuracy_is_that_of_the_logits_on_validation(method: str) -> None:
    answers = logits_of(f"half-{method}")["validation"].argmax(axis=1)
    right = (answers == LABELS).mean()
    assert figures(f"half-{method}")["validation"] == pytest.approx({"accuracy": right})


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_the_folder_is_an_ordinary_model_and_gives_the_cached_logits(method: str) -> None:
    folder = Path(f"models/half-{method}")
    assert set(contents(folder)) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    student, pruned = (saved(name) for name in ("half", folder.name))
    assert {name: tensor.shape for name, tensor in pruned.items()} == {n: t.shape for n, t in student.items()}
    found = answers_one_by_one(AutoModelForSequenceClassification.from_pretrained(folder), folder, "test")
    np.testing.assert_allclose(logits_of(folder.name)["test"], found, atol=1e-5)


@pytest.mark.usefixtures("reading")
def test_the_folder_of_a_shrunk_model_gives_the_cached_logits() -> None:
    folder = Path("models/half-structured")
    found = answers_one_by_one(encoder.load_classifier(folder), folder, "test")
    np.testing.assert_allclose(logits_of(folder.name)["test"], found, atol=1e-5)
