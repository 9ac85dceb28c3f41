"""quantize: a model with int8 weights, in PyTorch.

Call: python -m stages.quantize METHOD MODEL, with MODEL a folder of data/ and METHOD one of
      dynamic   activations quantized as they come;
      static    activations quantized within ranges seen on training queries;
      qat       activations quantized within the ranges that the stage qat trained the model with.
In:   data/clinc/, data/MODEL/ and its logits.
Out:  data/quantized/METHOD/ (config, tokenizer, int8 tensors as safetensors), its logits and figures.

Every query is answered by itself, as it would be served. In a batch, padded to the longest query, an int8 model may
answer otherwise: how many validation queries it does so for is among the figures.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.library import (
    artifacts,
    calibration,
    checkpoints,
    int8,
    logits,
    model_folder,
    out_of_scope,
    quality,
    settings,
    splits,
)
from stages.library.errors import PipelineError, run_program

CLINC = Path("data/clinc")
DATA = Path("data")
QUANTIZED = DATA / "quantized"
PARENTS = ("student", "qat")
BATCH = 32  # queries in the batches whose answers are held against those given one by one


@dataclass(frozen=True, kw_only=True)
class Static(int8.Scheme, calibration.Calibration):
    pass


def dynamic(parent: Path) -> PreTrainedModel:
    return int8.quantize(checkpoints.load_classifier(parent), settings.load(int8.Scheme, "quantize.dynamic"))


def static(parent: Path) -> PreTrainedModel:
    scheme = settings.load(Static, "quantize.static")
    model, tokenizer = checkpoints.load_classifier(parent), checkpoints.load_tokenizer(parent)
    texts = [row.text for row in splits.load(CLINC, "train")]
    layers = int8.linear_layers(model, scheme)
    return int8.quantize(model, scheme, calibration.calibrate(model, tokenizer, texts, layers, scheme, scheme.levels))


def qat(parent: Path) -> PreTrainedModel:
    return int8.quantize(checkpoints.load_classifier(parent), *calibration.load(parent, "dvc repro qat"))


# Each gives the int8 form of the model in a folder.
METHODS: dict[str, Callable[[Path], PreTrainedModel]] = {"dynamic": dynamic, "static": static, "qat": qat}


@torch.inference_mode()
def answers_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: list[splits.Row], batch_size: int
) -> np.ndarray:
    """Logits, shape (rows, labels), of the rows as they come, `batch_size` at a time, padded to the longest of them."""
    found = []
    for start in tqdm(range(0, len(rows), batch_size), desc="logits", unit="batch", leave=False):
        texts = [row.text for row in rows[start : start + batch_size]]
        batch = tokenizer(texts, truncation=True, padding=True, return_token_type_ids=False, return_tensors="pt")
        found.append(model(**batch).logits.numpy())
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("model")
    arguments = parser.parse_args()
    method, model_name = arguments.method, arguments.model
    if model_name not in PARENTS:
        raise PipelineError(f"`variants.torch.{method}` is {model_name!r}; allowed: {', '.join(PARENTS)}")
    variant, quantized, made_by = f"student-torch-{method}", QUANTIZED / method, f"dvc repro quantize@{method}"
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in ("validation", "test")}
    labels = {split: splits.labels(rows[split], intents) for split in rows}
    parent = artifacts.require(DATA / model_name, made_by)
    tokenizer = checkpoints.load_tokenizer(parent)

    with artifacts.new_folder(quantized) as folder:
        int8.save(METHODS[method](parent), folder)
        model_folder.save_tokenizer(folder, tokenizer)
        model = int8.load(folder, made_by)  # what is judged is what was saved
        answers = {split: answers_of(model, tokenizer, rows[split], batch_size=1) for split in rows}
        batched = answers_of(model, tokenizer, rows["validation"], BATCH)
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
    logits.save(variant, answers)
    theirs = logits.load(model_name, made_by)["validation"]
    quality.write(
        variant,
        figures
        | {
            "size_mb": artifacts.size_mib(quantized / int8.WEIGHTS),
            "parameters": checkpoints.load_classifier(parent).num_parameters(),
            "parity": quality.parity(model_name, theirs, answers["validation"]),
            "parity_in_padded_batches": quality.parity(variant, answers["validation"], batched),
        },
    )


if __name__ == "__main__":
    run_program(main)
