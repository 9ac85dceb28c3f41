"""What all trials of a search over shapes have in common, from params.yaml."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intents.core import files, paths, settings
from intents.core.errors import PipelineError
from intents.core.techniques import settings_of
from intents.core.variants import TEACHER, Variant
from intents.evaluation.threshold import OutOfScope
from intents.models import reading
from intents.models.families import encoder_of
from intents.training import trainer
from intents.training.distillation import Distillation
from intents.training.student import Objective, Shape, Student
from intents.training.unlabelled import Unlabelled
from stages.benchmark import Benchmark
from stages.distill import lessons
from stages.onnx_export import OnnxExport
from tools.search import candidate, trials
from tools.search.space import PARAMETERS, Base, ShapeSpace


@dataclass(frozen=True)
class Task:
    """Of a study: the student to start from, and the settings of all that is done to it."""

    base: Base
    student: Student
    run: trainer.Run
    distillation: Distillation
    conversion: candidate.Conversion
    rule: OutOfScope

    @classmethod
    def load(cls, base: Base) -> "Task":
        """That of the student which `base` names.

        Raises:
            PipelineError: it is not trained from scratch on unlabelled queries.
        """
        name, method = base.student, base.int8
        chosen = settings.load(Student, f"student.{name}")
        for key in ("shape", "vocabulary"):
            if getattr(chosen, key) is None:
                raise PipelineError(f"`student.{name}.{key}` is null; allowed in a search over shapes: a section")
        if chosen.objective is not Objective.logits or Path(chosen.answers) != paths.AUGMENTED:
            raise PipelineError(
                f"`student.{name}` has the objective {chosen.objective.name} and the answers {chosen.answers}; allowed "
                f"in a search over shapes: {Objective.logits.name} and {paths.AUGMENTED}"
            )
        conversion = candidate.Conversion(
            settings.load(settings_of("intents.onnx", method), f"ort_quantize.{method}"),
            method,
            settings.load(OnnxExport, "onnx_export").opset,
            settings.load(Benchmark, "benchmark").threads,
        )
        run = chosen.run(settings.load(trainer.Run, "run"))
        trainer.device(run)  # a device that is not there is no trial's fault
        return cls(
            base,
            dataclasses.replace(chosen, epochs=base.epochs),
            run,
            settings.load(Distillation, "distill"),
            conversion,
            settings.load(OutOfScope, "out_of_scope"),
        )

    @property
    def current(self) -> dict[str, Any]:
        """The searched values as params.yaml has them."""
        shape, words = self.student.shape, self.student.vocabulary
        assert shape is not None
        assert words is not None
        found = dataclasses.asdict(shape) | {"common": words.common}
        found["learning_rate"] = self.student.lesson(self.distillation).learning_rate
        return {name: found[name] for name in PARAMETERS}

    def drawn(self, values: Mapping[str, Any]) -> Student:
        """The student with the values that a trial drew."""
        shape, words = self.student.shape, self.student.vocabulary
        assert shape is not None
        assert words is not None
        sizes = {name: values[name] for name in ("hidden", "layers", "heads", "feed_forward")}
        return dataclasses.replace(
            self.student,
            shape=Shape(**sizes, dropout=shape.dropout),
            vocabulary=dataclasses.replace(words, common=values["common"]),
            learning_rate=values["learning_rate"],
        )

    def lessons(self) -> tuple[np.ndarray, Unlabelled]:
        """The teacher's answers to the training queries, and as many of the unlabelled ones as a trial learns from.

        Raises:
            PipelineError: there are not so many.
        """
        answers, found, _ = lessons(self.student, self.base.student)
        assert found is not None
        wanted = self.base.unlabelled
        if wanted > len(found.texts):
            raise PipelineError(
                f"`shapes.base.unlabelled` is {wanted}; allowed: up to {len(found.texts)}, the queries of "
                f"{paths.AUGMENTED}"
            )
        rows = np.sort(np.random.default_rng(self.run.seed).permutation(len(found.texts))[:wanted])
        return answers, Unlabelled([found.texts[row] for row in rows], found.logits[rows])

    def inputs(self, space: ShapeSpace) -> dict[str, str]:
        """What a trial depends on besides what is searched: files by their digest, settings in words."""
        return {
            **trials.read(self.student, self.base.student),
            "setting of run": repr(self.run),
            "setting of student": repr(self.student),
            "setting of distill": repr(self.distillation),
            "setting of the conversion": repr(self.conversion),
            "setting of out_of_scope": repr(self.rule),
            "base": repr(self.base),
            "search space": repr(space),
        }

    def check_width(self, space: ShapeSpace) -> None:
        """Raise a PipelineError if a hidden size is larger than the teacher's, whose word vectors a student cuts."""
        folder = files.require(Variant(TEACHER).folder, Variant(TEACHER).made_by)
        width = int(encoder_of(reading.parsed(folder)).hidden_size)
        if space.hidden.high > width:
            raise PipelineError(
                f"`shapes.space.hidden.high` is {space.hidden.high}; allowed: up to {width}, the teacher's"
            )
