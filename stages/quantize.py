"""quantize: the student with int8 weights, in PyTorch.

In:  data/clinc/, data/student/.
Out: data/quantized/ (config, tokenizer, int8 tensors as safetensors), its logits and figures. Every query is
     answered by itself, as it would be served: in a batch, dynamic quantization answers a little otherwise.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch

from stages.library import artifacts, checkpoints, int8, logits, model_folder, out_of_scope, quality, settings, splits
from stages.library.errors import run_program

CLINC = Path("data/clinc")
STUDENT = Path("data/student")
QUANTIZED = Path("data/quantized")
VARIANT = "student-torch-int8"

Method = Enum("Method", ["dynamic"])


@dataclass(frozen=True, kw_only=True)
class Quantize:
    method: Method
    per_row: bool  # a scale for each output row, else one for each matrix
    reduce_range: bool  # 7-bit activations, for CPUs without VNNI
    embeddings: bool  # quantize the word embeddings too


def main() -> None:
    quantize = settings.load(Quantize, "quantize")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in ("validation", "test")}
    student = artifacts.require(STUDENT, "dvc repro distill")
    parent = checkpoints.load_classifier(student)
    parameters = parent.num_parameters()
    tokenizer = checkpoints.load_tokenizer(student)
    model = int8.quantize(parent, quantize.per_row, quantize.reduce_range, quantize.embeddings)

    with artifacts.new_folder(QUANTIZED) as folder:
        int8.save(model, folder)
        model_folder.save_tokenizer(folder, tokenizer)
        model = int8.load(folder, made_by="dvc repro quantize")  # what is judged is what was saved

        @torch.inference_mode()
        def answer(text: str) -> np.ndarray:
            batch = tokenizer(text, truncation=True, return_token_type_ids=False, return_tensors="pt")
            return model(**batch).logits[0].numpy()

        answers = {split: logits.one_by_one(answer, [row.text for row in rows[split]]) for split in rows}
        labels = {split: splits.labels(rows[split], intents) for split in rows}
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
    logits.save(VARIANT, answers)
    parity = quality.parity("student", logits.load("student", "dvc repro distill")["validation"], answers["validation"])
    size = {"size_mb": artifacts.size_mib(QUANTIZED / int8.WEIGHTS), "parameters": parameters}
    quality.write(VARIANT, figures | size | {"parity": parity})


if __name__ == "__main__":
    run_program(main)
