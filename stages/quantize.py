"""quantize: the student with int8 weights, in PyTorch.

Call: python -m stages.quantize METHOD, with METHOD one of dynamic.
In:   data/clinc/, data/student/.
Out:  data/quantized/METHOD/ (config, tokenizer, int8 tensors as safetensors), its logits and figures. Every query is
      answered by itself, as it would be served: in a batch, dynamic quantization answers a little otherwise.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stages.library import artifacts, checkpoints, int8, logits, model_folder, out_of_scope, quality, settings, splits
from stages.library.errors import run_program

CLINC = Path("data/clinc")
STUDENT = Path("data/student")
QUANTIZED = Path("data/quantized")


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    per_row: bool  # a scale for each output row, else one for each matrix
    reduce_range: bool  # 7-bit activations, for CPUs without VNNI
    embeddings: bool  # quantize the word embeddings too


METHODS = {"dynamic": Dynamic}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    method = parser.parse_args().method
    quantize = settings.load(METHODS[method], f"quantize.{method}")
    variant, quantized = f"student-torch-{method}", QUANTIZED / method
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in ("validation", "test")}
    student = artifacts.require(STUDENT, "dvc repro distill")
    parent = checkpoints.load_classifier(student)
    parameters = parent.num_parameters()
    tokenizer = checkpoints.load_tokenizer(student)
    model = int8.quantize(parent, quantize.per_row, quantize.reduce_range, quantize.embeddings)

    with artifacts.new_folder(quantized) as folder:
        int8.save(model, folder)
        model_folder.save_tokenizer(folder, tokenizer)
        model = int8.load(folder, made_by=f"dvc repro quantize@{method}")  # what is judged is what was saved

        @torch.inference_mode()
        def answer(text: str) -> np.ndarray:
            batch = tokenizer(text, truncation=True, return_token_type_ids=False, return_tensors="pt")
            return model(**batch).logits[0].numpy()

        answers = {split: logits.one_by_one(answer, [row.text for row in rows[split]]) for split in rows}
        labels = {split: splits.labels(rows[split], intents) for split in rows}
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
    logits.save(variant, answers)
    parity = quality.parity("student", logits.load("student", "dvc repro distill")["validation"], answers["validation"])
    size = {"size_mb": artifacts.size_mib(quantized / int8.WEIGHTS), "parameters": parameters}
    quality.write(variant, figures | size | {"parity": parity})


if __name__ == "__main__":
    run_program(main)
