"""A Hugging Face model folder: the model, its configuration and its tokenizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.library import artifacts
from stages.library.checkpoints import WEIGHTS, load_tokenizer


@contextmanager
def new(path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Iterator[Path]:
    """Save model and tokenizer in a folder that takes the place of `path` once the block ends well."""
    with artifacts.new_folder(path) as scratch:
        model.save_pretrained(scratch)
        save_tokenizer(scratch, tokenizer)
        yield scratch


def save_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Save the tokenizer without padding and with its truncation, however it was called before."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.enable_truncation(tokenizer.model_max_length)
    tokenizer.save_pretrained(folder)


def copy_tokenizer(source: Path, folder: Path) -> None:
    save_tokenizer(folder, load_tokenizer(source))


def figures(path: Path, model: PreTrainedModel) -> dict[str, Any]:
    """Size of the weights' file in MiB and the number of parameters."""
    return {
        "size_mb": artifacts.size_mib(path / WEIGHTS),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
