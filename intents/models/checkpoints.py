"""Pretrained checkpoints: found in a folder, an installed package or on the Hub, and checked by digest.

Only `model.safetensors` is ever read: a pickled checkpoint could run code, so a folder without safetensors
is refused. No remote code is trusted.
"""

import logging
from pathlib import Path

from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from intents.core import files
from intents.core.errors import PipelineError
from intents.data.corpus import Intents
from intents.models import carried, pooled, reading  # noqa: F401 (importing it makes transformers know the model)

WEIGHTS = reading.WEIGHTS
VOCABULARIES = sorted({name for group in reading.VOCABULARIES for name in group})
PATTERNS = [
    reading.CONFIG,
    WEIGHTS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    *VOCABULARIES,
]

log = logging.getLogger(__name__)
# Every fine-tuning would report "newly initialized" heads, which is what fine-tuning means.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def locate(checkpoint: str, package: str | None, revision: str | None, sha256: str | None) -> Path:
    """The folder of a pretrained checkpoint, its weights checked.

    Args:
        checkpoint: a local folder, or the id of a model on the Hub.
        package: of `carried.CARRIERS`, tried before the Hub.
        revision: the Hub commit to download.
        sha256: expected digest of model.safetensors; None for a folder of your own.

    Raises:
        PipelineError: the checkpoint is nowhere to be found, has no safetensors or no tokenizer, is damaged, or
            has another digest.
    """
    folder = _folder(checkpoint, package, revision)
    for name in ("config.json", WEIGHTS):
        if not (folder / name).is_file():
            raise PipelineError(f"checkpoint folder {folder} has no {name}; a Hugging Face model folder is expected")
    reading.check(folder)
    reading.check_tokenizer(folder)
    if sha256 is not None and (found := files.sha256_of_file(folder / WEIGHTS)) != sha256:
        raise PipelineError(f"{folder / WEIGHTS} has sha256 {found}, expected {sha256}")
    return folder


def _folder(checkpoint: str, package: str | None, revision: str | None) -> Path:
    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") != 1:
        raise PipelineError(f"checkpoint folder {checkpoint!r} does not exist in {Path.cwd()}")
    if package and (folder := carried.folder_of(package)):
        return folder
    if not revision:
        raise PipelineError(f"{checkpoint!r} is no folder here, and to fetch it from the Hub a revision must be given")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(checkpoint, revision=revision, allow_patterns=PATTERNS))
    except Exception as error:  # the Hub's client raises dozens of kinds; all mean: not from here
        reason = " ".join(str(error).split())[:160]
        raise PipelineError(
            f"{checkpoint!r} is no folder here, and the Hub did not give it at revision {revision}: {reason}"
        ) from None


def load_classifier(folder: Path, intents: Intents | None = None, attention: str = "sdpa") -> PreTrainedModel:
    """A sequence classifier in float32, in evaluation mode.

    With `intents`, a pretrained encoder gets a fresh head for them (drawn from torch's generator: seed it);
    without, the folder must be one that this project wrote, with its head.

    Raises:
        PipelineError: a file of the folder is missing or damaged, or the weights are not those of the configuration.
    """
    reading.check(folder)
    reading.parsed(folder)
    head = {}
    if intents is not None:
        head = {
            "num_labels": len(intents.names),
            "id2label": dict(enumerate(intents.names)),
            "label2id": {name: label for label, name in enumerate(intents.names)},
            "ignore_mismatched_sizes": True,  # a head for other labels gives way to the fresh one
        }
    try:
        model, found = AutoModelForSequenceClassification.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
            dtype="float32",
            output_loading_info=True,
            **head,
        )
    except (RuntimeError, ValueError, KeyError) as error:
        raise reading.damaged(folder / WEIGHTS, "file of this model's weights", error) from None
    lost = reading.lost(found)
    if intents is not None:
        lost = {name for name in lost if name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name}
    reading.check_loaded(model, folder, lost)
    return model.eval()


def load_tokenizer(folder: Path, max_length: int | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder; `max_length` (in tokens) is remembered by it when it is saved.

    Raises:
        PipelineError: the folder has none, or it is damaged.
    """
    reading.check_tokenizer(folder)
    limit = {"model_max_length": max_length} if max_length else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, **limit)
    except Exception as error:  # dozens of kinds, by the file that is wrong
        raise PipelineError(
            f"the tokenizer of {folder} cannot be read: {' '.join(str(error).split())[:160]}; {reading.remedy(folder)}"
        ) from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise PipelineError(f"the tokenizer of {folder} has no tokenizer.json, which serving without Python code needs")
    # The file that is saved, and that the `tokenizers` library alone reads at serving time, holds this state.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.enable_truncation(tokenizer.model_max_length)
    return tokenizer
