"""A student before its training: what it starts from, and the settings that are its own."""

import dataclasses
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from intents.core.errors import PipelineError
from intents.core.settings import at_least, between, seed_number
from intents.data.corpus import Corpus
from intents.models import checkpoints, encoder, families, pieces, reading, vocabulary
from intents.models.first_token import read_first_token
from intents.models.narrow import narrow, word_vectors
from intents.training.distillation import HOTTEST, Distillation
from intents.training.trainer import Run

Objective = Enum("Objective", ["labels_and_divergence", "logits"])
Others = Enum("Others", ["nearest", "spelt"])
OWN = ("answers", "alpha", "temperature", "epochs", "batch_size", "learning_rate", "warmup", "weight_decay")


@dataclass(kw_only=True)  # not frozen: OmegaConf fills a section within a section in place
class Shape:
    """Of a BERT encoder."""

    hidden: int = at_least(1)
    layers: int = at_least(1)
    heads: int = at_least(1)
    feed_forward: int = at_least(1)
    dropout: float = between(0, 1, open_high=True)


@dataclass(kw_only=True)
class Vocabulary:
    """What is kept of the teacher's word pieces (intents/models/vocabulary.py)."""

    seen: int = at_least(1)  # pieces that the training queries hold so often or more
    common: int = at_least(0)  # and so many of the most common words, seen in training or not
    others: Others  # how other pieces are read: as the nearest that is kept, or spelt with shorter ones


@dataclass(frozen=True, kw_only=True)
class Student:
    """A section of `student` in params.yaml. It starts from one of `layers`, `checkpoint` and `shape`."""

    layers: list[int] | None  # of the teacher, counted from 0
    checkpoint: str | None  # a local folder or a Hub id
    revision: str | None
    sha256: str | None
    shape: Shape | None  # a BERT from scratch, but for its word vectors: principal components of the teacher's
    vocabulary: Vocabulary | None  # with `shape`: the pieces to keep; null: all
    answers: str  # the file of a teacher's logits that it learns from, or data/augmented
    objective: Objective  # alpha · CE + (1 − alpha) · T² · KL, or the squared error of the logits
    emphasis: float = between(0, 100)  # with `logits`: once more with this weight, likely answers in front
    seed: int | None = seed_number()  # null: that of `run`
    # Each of these is null for the value of `distill`.
    alpha: float | None = between(0, 1)  # 1: it learns from the labels alone
    temperature: float | None = between(0, HOTTEST, open_low=True)
    epochs: int | None = at_least(1)
    batch_size: int | None = at_least(1)
    learning_rate: float | None = between(0, 1, open_low=True)
    warmup: float | None = between(0, 1, open_high=True)
    weight_decay: float | None = between(0, 10)

    def lesson(self, distillation: Distillation) -> Distillation:
        """How this student learns: as `distill` says, but for the values of its own."""
        own = {name: value for name in OWN if (value := getattr(self, name)) is not None}
        return dataclasses.replace(distillation, **own)

    def run(self, run: Run) -> Run:
        return run if self.seed is None else dataclasses.replace(run, seed=self.seed)


def check_start(student: Student, name: str) -> None:
    """Raise a PipelineError unless one of `layers`, `checkpoint` and `shape` is given, and no other."""
    given = [key for key in ("layers", "checkpoint", "shape") if getattr(student, key) is not None]
    if len(given) != 1:
        raise PipelineError(
            f"one of `student.{name}.layers`, `student.{name}.checkpoint` and `student.{name}.shape` must be given, "
            f"and the others be null; given: {', '.join(given) or 'none'}"
        )


def check(student: Student, name: str, teacher: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    """Look at whether the student can be made of a teacher, which need not be trained yet.

    Args:
        name: of its section, for errors to name.
        teacher: the configuration of its encoder.

    Raises:
        PipelineError: the student does not say what it starts from, or the teacher has not got it: the layers, word
            vectors as wide as the student, or a vocabulary that can be cut.
    """
    check_start(student, name)
    if student.layers is not None:
        encoder.check_layers(student.layers, int(teacher.num_hidden_layers), f"student.{name}.layers")
    if student.shape is None:
        return
    if student.vocabulary is not None and (found := vocabulary.kind(tokenizer)) != vocabulary.WORDPIECE:
        raise PipelineError(
            f"`student.{name}.vocabulary` is to cut the vocabulary of `teacher.checkpoint`, which is of the type "
            f"{found}; allowed: null, or a teacher with {vocabulary.WORDPIECE}, such as BERT"
        )
    hidden, heads = student.shape.hidden, student.shape.heads
    widest = int(getattr(teacher, "embedding_size", teacher.hidden_size))  # ELECTRA's word vectors are narrower
    if hidden > widest or hidden % heads:
        raise PipelineError(
            f"`student.{name}.shape.hidden` is {hidden}, with {heads} heads and word vectors of width {widest} to "
            f"start from; allowed: a multiple of `student.{name}.shape.heads`, up to {widest}"
        )


def source(student: Student, name: str, teacher: Path) -> Path:
    """The folder that the student starts from: the teacher's, or that of a checkpoint of its own.

    Args:
        name: of its section, for errors to name.

    Raises:
        PipelineError: none of `layers`, `checkpoint` and `shape` is given, or more than one.
    """
    check_start(student, name)
    if student.checkpoint is None:
        return teacher
    return checkpoints.locate(student.checkpoint, None, student.revision, student.sha256)


def initial(
    student: Student, name: str, teacher: Path, data: Corpus
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The student before training: layers of the teacher, a checkpoint with a fresh head, or a new BERT."""
    folder, tokenizer = source(student, name, teacher), checkpoints.load_tokenizer(teacher)
    if student.layers is not None:
        return encoder.keep_layers(encoder.load_classifier(folder), student.layers, f"student.{name}.layers"), tokenizer
    if student.shape is None:
        config, longest = reading.parsed(folder), tokenizer.model_max_length
        families.check_family(config, f"student.{name}.checkpoint")
        families.check_length(config, longest, "teacher.max_length", f"student.{name}.checkpoint")
        own = checkpoints.load_tokenizer(folder, longest)
        found = checkpoints.load_classifier(folder, data.intents)
        families.check_tokenizer(found, own, folder)
        return found, own
    model, shape = encoder.load_classifier(folder), student.shape
    tables = [pieces.looked_up(model)]
    if student.vocabulary is not None:
        tables.append(pieces.as_read(model, tokenizer))  # not for a vocabulary of many languages, which takes long
        kept = vocabulary.needed(tokenizer, data.texts("train"), student.vocabulary.seen, student.vocabulary.common)
        near = student.vocabulary.others is Others.nearest
        others = vocabulary.nearest(tokenizer, pieces.directions(tables), kept) if near else {}
        tables = [vocabulary.cut_rows(table, kept) for table in tables]
        tokenizer = vocabulary.cut_tokenizer(tokenizer, kept, others)
    words, padding = word_vectors(tables, shape.hidden), int(tokenizer.pad_token_id)
    made = narrow(
        dict(enumerate(data.intents.names)),
        **dataclasses.asdict(shape),
        words=words,
        padding=padding,
        positions=tokenizer.model_max_length,
    )
    return read_first_token(made), tokenizer
