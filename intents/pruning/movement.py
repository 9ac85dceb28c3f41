"""Movement pruning (Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020): scores are learnt."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from intents.core.settings import between
from intents.pruning.common import Lesson, Plan
from intents.pruning.masks import MaskSettings, plan_masks


@dataclass(frozen=True, kw_only=True)
class Settings(MaskSettings):
    score_learning_rate: float = between(0, 1000, open_low=True)

    def plan(self, model: PreTrainedModel, lesson: Lesson, key: str) -> Plan:  # noqa: ARG002 (it needs no queries)
        return plan_masks(model, self, key, self.score_learning_rate)
