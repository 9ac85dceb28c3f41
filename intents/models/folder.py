"""Model folders: written by every stage that makes a model, in the same way, and read back before they count."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from intents.core import files, paths
from intents.core.files import rounded
from intents.data import corpus, logits
from intents.data.corpus import Corpus
from intents.models import encoder, inference, vocabulary
from intents.models.checkpoints import load_tokenizer


class Made(NamedTuple):
    """What a stage has to say of the model that it wrote."""

    logits: Mapping[str, np.ndarray]  # by split, each (queries, intents + 1); validation and test are among them
    facts: Mapping[str, Any] = {}


def publish(variant: str, data: Corpus, make: Callable[[Path], Made]) -> None:
    """The end of every stage that makes a model: its folder, its logits and its figures.

    Writes models/VARIANT/, data/logits/VARIANT.safetensors, and reports/models/VARIANT.json: the accuracy on
    validation by arg-max, which needs no threshold, and the facts. If `make` raises,
    or a logit is not finite, none of them is touched.

    Args:
        make: writes the model into the folder that it is given, and answers the queries with what it wrote.
    """
    with files.new_folder(paths.MODELS / variant) as folder:
        made = make(folder)
        logits.check(variant, made.logits)
    logits.save(variant, made.logits)
    right = made.logits["validation"].argmax(axis=1) == data.labels("validation")
    figures = {"validation": {"accuracy": float(right.mean())}} | dict(made.facts)
    files.write_json(paths.MADE / f"{variant}.json", {variant: rounded(figures)})


def trained(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    data: Corpus,
    *,
    splits: tuple[str, ...] = corpus.JUDGED,
    bfloat16: bool = False,
    facts: Callable[[Path], Mapping[str, Any]] = lambda _: {},
) -> Callable[[Path], Made]:
    """What `publish` makes of a model that was trained. What answers is what was saved: it is read back.

    Args:
        splits: those whose queries it answers.
        bfloat16: as in `inference.logits_of`; not for a model that is converted, since its logits are what the
            conversion is compared with.
        facts: called with the folder.
    """

    def make(folder: Path) -> Made:
        model.save_pretrained(folder)
        save_tokenizer(folder, tokenizer)
        saved = encoder.load_classifier(folder)
        answers = {
            split: inference.logits_of(saved, tokenizer, data.texts(split), bfloat16=bfloat16) for split in splits
        }
        return Made(answers, facts(folder))

    return make


def save_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Save the tokenizer without padding and with its truncation, however it was called before."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.enable_truncation(tokenizer.model_max_length)
    for name in ("local_files_only", "is_local"):  # how it was loaded, which the file need not say
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(folder)
    vocabulary.write_all(tokenizer, folder)


def copy_tokenizer(source: Path, folder: Path) -> None:
    save_tokenizer(folder, load_tokenizer(source))
