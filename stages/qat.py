"""qat: quantization-aware training. A student is fine-tuned with int8 rounding simulated, before it is quantized.

In:  data/clinc/, models/STUDENT/ (`qat.student`), a teacher's cached logits.
Out: models/STUDENT-qat/ (a Hugging Face model folder, its weights in float32, and ranges.json: what of it is to become
     int8 and the range of each layer's inputs) and its logits. `quantize` with the method static makes it int8.

The logits are those of the float model in the folder. What training saw, quantized weights and inputs, is what the
int8 model gives; for that it computes in float32, whatever `run.precision` says.
"""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from intents.core import files, settings
from intents.core.errors import program
from intents.core.settings import between
from intents.core.variants import QAT, Variant
from intents.data import logits
from intents.data.corpus import Corpus
from intents.int8 import calibration, fake, kernels
from intents.models import checkpoints, folder
from intents.training import trainer
from intents.training.distillation import Distillation, distil


@dataclass(frozen=True, kw_only=True)
class QuantizationAwareTraining(Distillation, kernels.Scheme, calibration.Calibration):
    student: str  # a section of `student`
    range_learning_rate: float = between(0, 1, open_low=True)  # of the ends of the ranges


def main() -> None:
    qat = settings.load(QuantizationAwareTraining, "qat")
    # bfloat16 has 8 significant bits: it would round the integers' multiples once more, by up to half a step of int8.
    run = dataclasses.replace(settings.load(trainer.Run, "run"), precision=trainer.Precision.fp32)
    parent, name = Variant(qat.student), f"{qat.student}-{QAT}"

    data = Corpus()
    teacher_logits = logits.lesson(qat.answers, "qat.answers")
    trainer.seed_everything(run)
    source = files.require(parent.folder, parent.made_by)
    model, tokenizer = checkpoints.load_classifier(source), checkpoints.load_tokenizer(source)
    layers = kernels.linear_layers(model, qat)
    ranges = calibration.calibrate(model, tokenizer, data.texts("train"), layers, qat, qat.levels)
    quantizer = fake.FakeQuantizer.attach(model, qat, ranges)
    optimizer = trainer.adamw(model, qat, fake.is_range, qat.range_learning_rate)

    weights = source / checkpoints.WEIGHTS
    scratch = trainer.scratch_folder(name, qat, run, weights, Path(qat.answers), *data.learnt_from)
    log = distil(model, tokenizer, data, teacher_logits, qat, run, scratch, optimizer=optimizer)
    ranges = quantizer.finish()

    make = folder.trained(model, tokenizer, data)

    def with_ranges(target: Path) -> folder.Made:
        calibration.save(target, qat, ranges)
        return make(target)

    folder.publish(name, data, with_ranges)
    trainer.write_history(name, log)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    program(main, __doc__, trains=True)
