"""How every stage that trains a model ends: the model as a folder, the logits it gives, its threshold, its figures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.library import checkpoints, inference, logits, model_folder, out_of_scope, quality, splits

DATA = Path("data")


def answers_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: Mapping[str, list[splits.Row]]
) -> dict[str, np.ndarray]:
    """The model's logits per split, (queries, intents + 1)."""
    return {split: inference.logits_of(model, tokenizer, [row.text for row in rows[split]]) for split in rows}


def save(
    variant: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Mapping[str, list[splits.Row]],
    intents: splits.Intents,
    rule: out_of_scope.OutOfScope,
    *,
    load: Callable[[Path], PreTrainedModel] = checkpoints.load_classifier,
    beside: Callable[[Path], None] = lambda _: None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Write data/VARIANT/ and data/logits/VARIANT.safetensors. What is judged is what was saved: it is read back.

    Args:
        rows: of the splits to answer; validation and test are among them.
        load: reads the model of a folder.
        beside: writes what else belongs into the folder.

    Returns:
        The logits per split, (queries, intents + 1), and the variant's figures, for `quality.write`.
    """
    with model_folder.new(DATA / variant, model, tokenizer) as folder:
        beside(folder)
        saved = load(folder)
        answers = answers_of(saved, tokenizer, rows)
        labels = {split: splits.labels(rows[split], intents) for split in rows}
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
    logits.save(variant, answers)
    return answers, figures | model_folder.figures(DATA / variant, saved)
