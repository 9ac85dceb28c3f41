"""reading: a damaged model folder is said in a line that names the file and what to do, and nothing is made up."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from intents.core.errors import PipelineError
from intents.data.corpus import Intents
from intents.int8 import calibration, kernels
from intents.int8.static import Settings as Static
from intents.models import checkpoints, encoder, folder, pooled, reading

INTENTS = Intents.of({"daily": ["alarm", "music"]})
SCHEME = {"per_row": True, "reduce_range": False, "embeddings": True, "float_layers": []}


@pytest.fixture
def own(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "own")).relative_to(tmp_path)


@pytest.fixture
def made(own: Path) -> Path:
    """A model of ours, as distill writes it."""
    target = Path("models/half")
    checkpoints.load_classifier(own, INTENTS).save_pretrained(target)
    folder.copy_tokenizer(own, target)
    return target


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def without_tokenizer(own: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (own / name).unlink(missing_ok=True)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(PipelineError) as error:
        call()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 400
    return str(error.value)


def test_a_checkpoint_without_tokenizer_files_is_refused(own: Path) -> None:
    """transformers makes up a vocabulary of its special tokens (huggingface/transformers#878)."""
    without_tokenizer(own)
    found = refused(lambda: checkpoints.locate("./own", None, None, None))
    assert found.startswith(
        "own has no tokenizer, without which no query can be read; allowed: one of tokenizer.json, "
    )
    assert refused(lambda: checkpoints.load_tokenizer(own)) == found


def test_byte_level_bpe_needs_its_merges(own: Path) -> None:
    without_tokenizer(own)
    (own / "vocab.json").write_text("{}")
    assert "vocab.json and merges.txt" in refused(lambda: reading.check_tokenizer(own))


@pytest.mark.parametrize(
    "name",
    [
        *("vocab.txt", "vocab.json", "merges.txt", "tokenizer.json", "sentencepiece.bpe.model", "spiece.model"),
        *("spm.model", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "tokenizer_config.json"),
    ],
)
def test_the_hub_is_asked_for_every_file_that_a_tokenizer_may_need(name: str) -> None:
    assert name in checkpoints.PATTERNS


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("model.safetensors", encoder.load_classifier),
        ("config.json", encoder.load_classifier),
        ("config.json", encoder.skeleton),
        ("tokenizer.json", checkpoints.load_tokenizer),
    ],
)
def test_a_truncated_file_names_itself_and_the_stage_that_makes_it(
    made: Path, name: str, load: Callable[[Path], object]
) -> None:
    truncate(made / name)
    found = refused(lambda: load(made))
    assert found.startswith(f"models/half/{name} is no ")
    assert found.endswith("; `dvc repro distill@half` makes it again")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_of_a_checkpoint_of_ones_own_it_is_said_before_training(own: Path, name: str) -> None:
    truncate(own / name)
    assert refused(lambda: checkpoints.locate("./own", None, None, None)).startswith(f"own/{name} is no ")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_said_to_be_one(own: Path, name: str) -> None:
    (own / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    found = refused(lambda: checkpoints.locate("./own", None, None, None))
    assert found == f"own/{name} is a pointer of Git LFS and not the file itself; run `git lfs pull` there"


@pytest.mark.parametrize("content", ["[]", "{}", '{"model_type": 5}', '{"model_type": "no-such"}', "\ufeff{"])
def test_a_configuration_of_no_model_is_refused(own: Path, content: str) -> None:
    (own / "config.json").write_text(content)
    assert refused(lambda: reading.parsed(own)).startswith("own/config.json is no ")


def change(path: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(edit(load_file(path)), path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "load",
    [
        lambda own: checkpoints.load_classifier(own, INTENTS),
        lambda own: pooled.PooledClassifier.from_encoder(own, num_labels=3),
    ],
    ids=["its own classifier", "pooled"],
)
@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda held: {f"other.{name}": tensor for name, tensor in held.items()}, "does not fit own/config.json: of "),
        (
            lambda held: {name: tensor for name, tensor in held.items() if "layer.3.output.dense" not in name},
            "such as ",
        ),
        (
            lambda held: {name: tensor * float("nan") for name, tensor in held.items()},
            "has weights that are not finite",
        ),
    ],
    ids=["another model's", "a layer missing", "not finite"],
)
def test_weights_that_are_not_the_models_are_refused_and_not_drawn_at_random(
    own: Path, load: Callable[[Path], object], edit: Any, words: str
) -> None:
    change(own / "model.safetensors", edit)
    found = refused(lambda: load(own))
    assert found.startswith("own/model.safetensors ")
    assert words in found


def test_a_head_that_is_missing_is_drawn_for_new_intents_alone(own: Path, made: Path) -> None:
    assert checkpoints.load_classifier(own, INTENTS)
    change(
        made / "model.safetensors", lambda held: {name: one for name, one in held.items() if "classifier" not in name}
    )
    assert "such as classifier." in refused(lambda: encoder.load_classifier(made))


# int8.


def test_a_truncated_int8_file_names_the_stage(made: Path) -> None:
    target = Path("models/half-torch-dynamic")
    target.mkdir()
    model = encoder.load_classifier(made)
    kernels.save(kernels.quantize(model, kernels.Scheme(**SCHEME)), target)
    truncate(target / "int8.safetensors")
    found = refused(lambda: kernels.load(target, "dvc repro quantize@half-dynamic"))
    assert found.startswith("models/half-torch-dynamic/int8.safetensors is no safetensors file that can be read: ")
    assert found.endswith("; `dvc repro quantize@half-dynamic` makes it again")


def test_without_its_ranges_a_qat_model_is_not_calibrated_instead(made: Path) -> None:
    """It would be another model than the one that training saw, and nothing would say so."""
    qat = made.rename("models/half-qat")
    settings = Static(**SCHEME, range=calibration.Method.min_max, percentile=99.0, queries=2, draw_seed=0)
    found = refused(lambda: settings.int8_form(qat, None))  # type: ignore[arg-type]
    assert found == "models/half-qat/ranges.json not found; run `dvc repro qat@half`"


@pytest.mark.parametrize("content", ['{"scheme": {}}', "[]", json.dumps({"scheme": SCHEME, "inputs": {"a": 5}}), "{"])
def test_ranges_that_are_none_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "ranges.json").write_text(content)
    assert "ranges.json is no" in refused(lambda: calibration.load(tmp_path))
