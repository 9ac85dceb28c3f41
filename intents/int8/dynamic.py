"""Dynamic int8 in PyTorch: the range of a layer's inputs is found in each call."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from intents.data.corpus import Corpus
from intents.int8 import common, kernels
from intents.models import encoder


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    def int8_form(self, parent: Path, data: Corpus) -> PreTrainedModel:  # noqa: ARG002 (it calibrates nothing)
        return kernels.quantize(encoder.load_classifier(parent), self)
