"""The files of a model folder, looked at before they are loaded: of a damaged one, a line says what to do.

The libraries that load them fail in dozens of ways, some of them silently: a folder without tokenizer files gets a
tokenizer of a few special tokens, and weights of another model give way to random ones.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from intents.core import paths, variants
from intents.core.errors import PipelineError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
POINTER = b"version https://git-lfs"
# Any of these is a vocabulary: of the tokenizers library, of BERT, of byte-level BPE, of SentencePiece.
VOCABULARIES = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("sentencepiece.bpe.model",),
    ("spiece.model",),
    ("spm.model",),
    ("tokenizer.model",),
)


def remedy(folder: Path) -> str:
    """What to do if a file of the folder is damaged: for a folder of this project, the command that makes it."""
    if folder.parent == paths.MODELS:
        return f"`{variants.parse(folder.name).made_by}` makes it again"
    return "fetch the checkpoint again"


def damaged(path: Path, kind: str, error: object, to_do: str | None = None) -> PipelineError:
    reason = " ".join(str(error).split())[:160]
    return PipelineError(f"{path} is no {kind} that can be read: {reason}; {to_do or remedy(path.parent)}")


def require(path: Path, to_do: str | None = None) -> Path:
    """`path`, if it is there.

    Raises:
        PipelineError: it is not, or is what Git LFS keeps in the place of a file that was not fetched.
    """
    if not path.is_file():
        raise PipelineError(f"{path} not found; {to_do or remedy(path.parent)}")
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise PipelineError(f"{path} is a pointer of Git LFS and not the file itself; run `git lfs pull` there")
    return path


def config(folder: Path) -> dict[str, Any]:
    """What config.json says.

    Raises:
        PipelineError: it is not there, or no JSON object.
    """
    path = require(folder / CONFIG)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(path, "JSON", error) from None
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise damaged(path, "configuration of a model", "an object with a model_type is expected")
    return content


def parsed(folder: Path) -> PreTrainedConfig:
    """The configuration that config.json is.

    Raises:
        PipelineError: it is not there, no JSON, or of no model that transformers knows.
    """
    config(folder)
    try:
        found: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # a dozen kinds, by the key that is wrong
        raise damaged(folder / CONFIG, "configuration of a model", error) from None
    return found


def check_weights(path: Path, to_do: str | None = None) -> None:
    """Raise a PipelineError if a safetensors file is not whole."""
    require(path, to_do)
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise damaged(path, "safetensors file", error, to_do) from None


def check_tokenizer(folder: Path) -> None:
    """Raise a PipelineError if a folder has no tokenizer's vocabulary, or a tokenizer.json that is damaged."""
    found = [group for group in VOCABULARIES if all((folder / name).is_file() for name in group)]
    if not found:
        groups = ", ".join(" and ".join(group) for group in VOCABULARIES)
        raise PipelineError(f"{folder} has no tokenizer, without which no query can be read; allowed: one of {groups}")
    for name in found[0]:
        require(folder / name)
    for path in sorted(folder.glob("*.json")):
        if path.name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise damaged(path, "JSON", error) from None
    if found[0] == ("tokenizer.json",):
        try:
            Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # a plain Exception, whatever is wrong
            raise damaged(folder / "tokenizer.json", "tokenizer", error) from None


def check(folder: Path) -> None:
    """Raise a PipelineError if the configuration or the weights of a folder are missing or damaged."""
    config(folder)
    check_weights(folder / WEIGHTS)


def lost(found: dict[str, Any]) -> set[str]:
    """The parameters that a file did not hold, or in another shape, of what `from_pretrained` says of its loading."""
    mismatched = {key if isinstance(key, str) else key[0] for key in found.get("mismatched_keys", ())}
    return {*found.get("missing_keys", ()), *mismatched}


def check_loaded(model: nn.Module, folder: Path, lost: Iterable[str]) -> None:
    """Look at a model that was read.

    Args:
        lost: names of parameters that its file does not hold, or in another shape, and that were drawn at random; the
            head of a model that is to get a fresh one is not among them.

    Raises:
        PipelineError: there are some, or a weight is not finite.
    """
    if names := sorted(lost):
        raise PipelineError(
            f"{folder / WEIGHTS} does not fit {folder / CONFIG}: of {len(names)} tensors of the model it has none or "
            f"another shape, such as {names[0]}; {remedy(folder)}"
        )
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            raise PipelineError(f"{folder / WEIGHTS} has weights that are not finite, in {name}; {remedy(folder)}")
