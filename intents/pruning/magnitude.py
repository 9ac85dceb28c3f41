"""Magnitude pruning (Zhu and Gupta, "To prune, or not to prune", 2017): the smallest weights become zero first."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from intents.pruning.common import Lesson, Plan
from intents.pruning.masks import MaskSettings, plan_masks


@dataclass(frozen=True, kw_only=True)
class Settings(MaskSettings):
    def plan(self, model: PreTrainedModel, lesson: Lesson, key: str) -> Plan:  # noqa: ARG002 (it needs no queries)
        return plan_masks(model, self, key)
