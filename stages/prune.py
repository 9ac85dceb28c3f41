"""prune: the student's encoder loses most of its weights, and goes on learning from the teacher with the rest.

Call: python -m stages.prune METHOD, with METHOD one of magnitude, movement, structured.
In:   data/clinc/, data/student/, the teacher's cached logits.
Out:  data/pruned-METHOD/ (a Hugging Face model folder), its logits and figures, the sparsity as it ran and what
      each layer lost.

magnitude and movement make single weights zero while training goes on. Zeros scattered over a matrix make it
compress well on disk, but not faster: a dense runtime multiplies by them all the same. structured cuts whole
heads and neurons out before training, so that the matrices themselves are smaller. The benchmark shows both.
"""

import argparse
import shutil
import zlib
from pathlib import Path

from stages.library import (
    artifacts,
    checkpoints,
    distillation,
    encoding,
    logits,
    out_of_scope,
    quality,
    settings,
    shrinking,
    splits,
    trained,
    training,
)
from stages.library.errors import run_program
from stages.library.pruning import METHODS
from stages.library.pruning.common import Lesson

CLINC = Path("data/clinc")
STUDENT = Path("data/student")
REPORTS = Path("reports")


def compressed_mib(path: Path) -> float:
    """The size in MiB of a file after zlib's default compression."""
    return len(zlib.compress(path.read_bytes())) / artifacts.MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    method = parser.parse_args().method
    prune = settings.load(METHODS[method], f"prune.{method}")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")
    variant = f"pruned-{method}"

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    teacher_logits = logits.load("teacher", "dvc repro finetune-teacher")
    training.seed_everything(run)
    student = artifacts.require(STUDENT, "dvc repro distill")
    model, tokenizer = checkpoints.load_classifier(student), checkpoints.load_tokenizer(student)
    train = encoding.encode(rows["train"], tokenizer, intents, teacher_logits["train"])
    plan = prune.plan(model, Lesson(train, tokenizer, run.seed), f"prune.{method}")

    scratch = training.scratch_folder(
        variant, prune, run, student / checkpoints.WEIGHTS, logits.path("teacher"), *splits.files(CLINC)
    )
    log = training.train(
        model,
        tokenizer,
        train,
        encoding.encode(rows["validation"], tokenizer, intents),
        schedule=prune,
        run=run,
        scratch=scratch,
        trainer=distillation.DistillationTrainer,
        arguments=distillation.DistillationArguments,
        alpha=prune.alpha,
        temperature=prune.temperature,
        **plan.options,
    )
    outcome = plan.finish(log)

    evaluated = {split: rows[split] for split in ("validation", "test")}
    _, figures = trained.save(variant, model, tokenizer, evaluated, intents, rule, load=shrinking.load_classifier)
    sizes = {
        "compressed_mb": compressed_mib(trained.DATA / variant / checkpoints.WEIGHTS),
        "compressed_mb_before": compressed_mib(STUDENT / checkpoints.WEIGHTS),
    }
    reached = {"encoder_sparsity": outcome.sparsity}
    quality.write(variant, figures | sizes | reached)
    artifacts.write_json(REPORTS / f"prune/{method}-layers.json", quality.rounded(outcome.layers))
    training.write_csv(REPORTS / f"prune/{method}-schedule.csv", outcome.schedule)
    training.write_csv(REPORTS / f"training/{variant}.csv", training.history(log))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
