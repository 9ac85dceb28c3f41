"""qat: the student learns to live with int8, before it is quantized (quantization-aware training).

In:  data/clinc/, data/student/, the teacher's cached logits.
Out: data/qat/ (a Hugging Face model folder, its weights in float32, and ranges.json: what of it is to become int8
     and the range of each layer's inputs), its logits and figures. `quantize qat` makes the int8 model.

The logits and figures are those of the float model in the folder. What training saw, quantized weights and inputs,
is what the int8 model gives; for that it computes in float32, whatever `run.precision` says.
"""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from stages.library import (
    calibration,
    checkpoints,
    distillation,
    encoding,
    fake_quantization,
    int8,
    logits,
    out_of_scope,
    quality,
    settings,
    splits,
    trained,
    training,
)
from stages.library.artifacts import require
from stages.library.errors import run_program
from stages.library.settings import above, between

CLINC = Path("data/clinc")
STUDENT = Path("data/student")
HISTORY = Path("reports/training/qat.csv")


@dataclass(frozen=True, kw_only=True)
class QuantizationAwareTraining(training.Schedule, int8.Scheme, calibration.Calibration):
    range_learning_rate: float = above(0)  # of the ends of the ranges
    alpha: float = between(0, 1)
    temperature: float = above(0)


def main() -> None:
    qat = settings.load(QuantizationAwareTraining, "quantize.qat")
    # bfloat16 has 8 significant bits: it would round the integers' multiples once more, by up to half a step of int8.
    run = dataclasses.replace(settings.load(training.Run, "run"), precision=training.Precision.fp32)
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    teacher_logits = logits.load("teacher", "dvc repro finetune-teacher")
    training.seed_everything(run)
    student = require(STUDENT, "dvc repro distill")
    model, tokenizer = checkpoints.load_classifier(student), checkpoints.load_tokenizer(student)
    texts = [row.text for row in rows["train"]]
    ranges = calibration.calibrate(model, tokenizer, texts, int8.linear_layers(model, qat), qat, qat.levels)
    quantizer = fake_quantization.FakeQuantizer.attach(model, qat, ranges)

    scratch = training.scratch_folder(
        "qat", qat, run, student / checkpoints.WEIGHTS, logits.path("teacher"), *splits.files(CLINC)
    )
    log = training.train(
        model,
        tokenizer,
        encoding.encode(rows["train"], tokenizer, intents, teacher_logits["train"]),
        encoding.encode(rows["validation"], tokenizer, intents),
        schedule=qat,
        run=run,
        scratch=scratch,
        trainer=distillation.DistillationTrainer,
        arguments=distillation.DistillationArguments,
        optimizer=training.adamw(model, qat, fake_quantization.is_range, qat.range_learning_rate),
        alpha=qat.alpha,
        temperature=qat.temperature,
    )
    ranges = quantizer.finish()

    evaluated = {split: rows[split] for split in ("validation", "test")}

    def with_ranges(folder: Path) -> None:
        calibration.save(folder, qat, ranges)

    _, figures = trained.save("qat", model, tokenizer, evaluated, intents, rule, beside=with_ranges)
    quality.write("qat", figures)
    training.write_csv(HISTORY, training.history(log))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
