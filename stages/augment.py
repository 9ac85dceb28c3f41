"""augment: unlabelled queries made of the training queries, with the teacher's answers.

A small student learns the teacher's function better from many inputs than from the few that are labelled.

Call: python -m stages.augment TEACHER, with TEACHER the variant that answers.
In:  data/clinc/ (the training queries alone), models/TEACHER/, its cached logits.
Out: data/augmented/ (the queries; the teacher's answers to them and to the training queries).
"""

from dataclasses import dataclass

import numpy as np

from intents.core import files, settings, variants
from intents.core.errors import program
from intents.core.settings import at_least, between, seed_number
from intents.data import augmented, logits
from intents.data.augment import augment
from intents.data.corpus import Corpus
from intents.models import checkpoints, encoder, inference
from intents.models.near_words import near_words
from intents.training import trainer


@dataclass(frozen=True, kw_only=True)
class Augment:
    number: int = at_least(1)  # of queries to make
    seed: int = seed_number()
    recipe: dict[str, float]  # how often each kind is made: splice, shuffle, thin, swap, substitute
    out_of_scope: float = between(0, 1)  # share of the queries that are made of out-of-scope ones first of all


def main(name: str) -> None:
    chosen = settings.load(Augment, "augment")
    run = settings.load(trainer.Run, "run")
    teacher = variants.model(name)
    source = files.require(teacher.folder, teacher.made_by)

    data = Corpus()
    queries = data.texts("train")
    outside = [queries[row] for row in np.flatnonzero(data.labels("train") == data.intents.out_of_scope)]
    model, tokenizer = encoder.load_classifier(source), checkpoints.load_tokenizer(source)
    near = near_words(model, tokenizer, queries)
    texts = augment(queries, chosen.number, chosen.seed, chosen.recipe, outside, chosen.out_of_scope, near)
    answers = inference.logits_of(model, tokenizer, texts, bfloat16=trainer.in_bfloat16(run))

    logits.check(name, {"unlabelled": answers})
    augmented.save(texts, logits.lesson(logits.path(name).as_posix(), "variants.augmented"), answers)


if __name__ == "__main__":
    program(main, __doc__)
