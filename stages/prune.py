"""prune: a student's encoder loses most of its weights, and goes on learning from the teacher with the rest.

Call: python -m stages.prune METHOD, with METHOD a section of `prune`, which names the student.
In:   data/clinc/, models/STUDENT/, a teacher's cached logits.
Out:  models/STUDENT-METHOD/ (a Hugging Face model folder), its logits, the sparsity as it ran and what each layer lost.

magnitude and movement make single weights zero while training goes on. Zeros scattered over a matrix make it
compress well on disk, but not faster: a dense runtime multiplies by them all the same. structured cuts whole
heads and neurons out before training, so that the matrices themselves are smaller. The benchmark shows both.
"""

import shutil
import zlib
from pathlib import Path

from intents.core import files, paths, settings
from intents.core.errors import program
from intents.core.techniques import settings_of
from intents.core.variants import Variant
from intents.data import logits
from intents.data.corpus import Corpus
from intents.models import checkpoints, folder
from intents.pruning.common import Lesson
from intents.training import trainer
from intents.training.distillation import distil
from intents.training.encoding import encode


def compressed_mib(path: Path) -> float:
    """The size in MiB of a file after zlib's default compression."""
    return len(zlib.compress(path.read_bytes())) / files.MIB


def main(method: str) -> None:
    prune = settings.load(settings_of("intents.pruning", method), f"prune.{method}")
    run = settings.load(trainer.Run, "run")
    parent, name = Variant(prune.student), f"{prune.student}-{method}"

    data = Corpus()
    teacher_logits = logits.lesson(prune.answers, f"prune.{method}.answers")
    trainer.seed_everything(run)
    source = files.require(parent.folder, parent.made_by)
    model, tokenizer = checkpoints.load_classifier(source), checkpoints.load_tokenizer(source)
    lesson = Lesson(encode(data, "train", tokenizer, teacher_logits), tokenizer, run.seed)
    plan = prune.plan(model, lesson, f"prune.{method}")

    weights = source / checkpoints.WEIGHTS
    scratch = trainer.scratch_folder(name, prune, run, weights, Path(prune.answers), *data.learnt_from)
    log = distil(model, tokenizer, data, teacher_logits, prune, run, scratch, **plan.options)
    outcome = plan.finish(log)

    def facts(made: Path) -> dict[str, float]:
        return {
            "encoder_sparsity": outcome.sparsity,
            "compressed_mb": compressed_mib(made / checkpoints.WEIGHTS),
            "compressed_mb_before": compressed_mib(weights),
        }

    folder.publish(name, data, folder.trained(model, tokenizer, data, facts=facts))
    files.write_json(paths.PRUNING / f"{name}-layers.json", files.rounded(outcome.layers))
    files.write_csv(paths.PRUNING / f"{name}-schedule.csv", outcome.schedule)
    trainer.write_history(name, log)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    program(main, __doc__, trains=True)
