"""What the techniques of int8 in PyTorch have in common."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from intents.data.corpus import Corpus
from intents.int8.kernels import Scheme


@dataclass(frozen=True, kw_only=True)
class Settings(Scheme):
    """The settings that every technique has; each adds its own, and says how it quantizes."""

    def int8_form(self, parent: Path, data: Corpus) -> PreTrainedModel:
        """The int8 form of the model in a folder.

        Args:
            data: whose training queries it may calibrate on.
        """
        raise NotImplementedError
