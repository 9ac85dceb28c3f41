"""Static int8 in PyTorch: the range of a layer's inputs is fixed, by calibration or by quantization-aware training."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from intents.core import variants
from intents.core.errors import PipelineError
from intents.data.corpus import Corpus
from intents.int8 import calibration, common, kernels
from intents.models import checkpoints, encoder


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings, calibration.Calibration):
    def int8_form(self, parent: Path, data: Corpus) -> PreTrainedModel:
        """The int8 form of the model in a folder, which may bring the ranges and the scheme of its training."""
        model = encoder.load_classifier(parent)
        if (parent / calibration.RANGES).is_file():
            return kernels.quantize(model, *calibration.load(parent))
        if variants.parse(parent.name).technique == variants.QAT:  # calibrated, it would pass for what training saw
            raise PipelineError(f"{parent / calibration.RANGES} not found; run `{variants.parse(parent.name).made_by}`")
        layers = kernels.linear_layers(model, self)
        tokenizer = checkpoints.load_tokenizer(parent)
        ranges = calibration.calibrate(model, tokenizer, data.texts("train"), layers, self, self.levels)
        return kernels.quantize(model, self, ranges)
