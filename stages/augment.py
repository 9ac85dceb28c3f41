"""augment: unlabelled queries made of the training queries, with the teacher's answers.

A small student learns the teacher's function better from many inputs than from the few that are labelled.

In:  data/clinc/ (the training queries alone), models/teacher/, the teacher's cached logits.
Out: data/augmented/ (the queries; the teacher's answers to them and to the training queries).
"""

from dataclasses import dataclass

from intents.core import files, settings
from intents.core.errors import program
from intents.core.settings import at_least
from intents.core.variants import TEACHER, Variant
from intents.data import augmented, logits
from intents.data.augment import augment
from intents.data.corpus import Corpus
from intents.models import checkpoints, encoder, inference


@dataclass(frozen=True, kw_only=True)
class Augment:
    number: int = at_least(1)  # of queries to make
    seed: int = at_least(0)
    recipe: dict[str, float]  # how often each kind is made: splice, shuffle, thin, swap


def main() -> None:
    chosen = settings.load(Augment, "augment")
    teacher = files.require(Variant(TEACHER).folder, Variant(TEACHER).made_by)

    texts = augment(Corpus().texts("train"), chosen.number, chosen.seed, chosen.recipe)
    model, tokenizer = encoder.load_classifier(teacher), checkpoints.load_tokenizer(teacher)
    answers = inference.logits_of(model, tokenizer, texts)

    augmented.save(texts, logits.load(TEACHER)["train"], answers)


if __name__ == "__main__":
    program(main, __doc__)
