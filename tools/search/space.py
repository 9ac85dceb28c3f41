"""What the search over shapes draws, and how its trials are made: conf/shapes.yaml, every value checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from optuna.trial import Trial

from intents.core import settings
from intents.core.errors import PipelineError
from intents.core.settings import at_least, between
from tools.search.config import File, Search

CONFIG = Path("conf/shapes.yaml")


@dataclass(frozen=True, kw_only=True)
class Base:
    """The student that the search starts from, and how long a trial learns."""

    student: str
    int8: str
    epochs: int = at_least(1)
    unlabelled: int = at_least(0)  # queries


@dataclass(frozen=True, kw_only=True)
class Timing:
    blocks: int = at_least(1)
    queries: int = at_least(1)  # in each block
    warmup: int = at_least(0)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    low: int = at_least(1)
    high: int = at_least(1)
    step: int = at_least(1)

    @property
    def values(self) -> range:
        return range(self.low, self.high + 1, self.step)


@dataclass(frozen=True, kw_only=True)
class Words(Sizes):
    low: int = at_least(0)
    high: int = at_least(0)


@dataclass(frozen=True, kw_only=True)
class Rate:
    low: float = between(0, 1, open_low=True)
    high: float = between(0, 1, open_low=True)


@dataclass(frozen=True, kw_only=True)
class Heads:
    heads: list[int]


@dataclass(frozen=True, kw_only=True)
class ShapeSpace:
    hidden: Sizes
    layers: Sizes
    feed_forward: Sizes
    common: Words
    learning_rate: Rate
    heads: list[int]

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial can draw `values`, one for each parameter."""
        rate = self.learning_rate
        return (
            all(values[name] in getattr(self, name).values for name in WHOLE)
            and values["heads"] in self.heads
            and rate.low <= values["learning_rate"] <= rate.high
        )

    def draw(self, trial: Trial) -> dict[str, Any]:
        """The values of a trial."""
        rate = self.learning_rate
        for name in WHOLE:
            one: Sizes = getattr(self, name)
            trial.suggest_int(name, one.values[0], one.values[-1], step=one.step)
        trial.suggest_categorical("heads", self.heads)
        trial.suggest_float("learning_rate", rate.low, rate.high, log=True)
        return values(trial.params)


WHOLE = ("hidden", "layers", "feed_forward", "common")
PARAMETERS = ("hidden", "layers", "heads", "feed_forward", "common", "learning_rate")  # in the order shown
SHAPE = PARAMETERS[:-1]  # those that latency and size depend on


def values(params: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial is made with, from Optuna's parameters: the learning rate has four digits."""
    return {name: params[name] for name in SHAPE} | {"learning_rate": float(f"{params['learning_rate']:.3e}")}


class Config(NamedTuple):
    search: Search
    base: Base
    space: ShapeSpace
    timing: Timing


def load(**overrides: Any) -> Config:
    """conf/shapes.yaml, every value checked.

    Args:
        overrides: of its section `search`.

    Raises:
        PipelineError: a value cannot be, a key is missing or unknown, a range has its ends the wrong way round, or a
            hidden size is no multiple of a number of heads.
    """
    file = File(CONFIG, ["search", "base", "space", "timing"])
    kinds = {"hidden": Sizes, "layers": Sizes, "feed_forward": Sizes, "common": Words, "learning_rate": Rate}
    ranges = file.ranges(kinds, others=["heads"])
    # Not a section of its own: written as heads: [4, 8].
    heads = settings.parse(Heads, OmegaConf.create({"heads": file.value("space.heads")}), "shapes.space").heads
    for one in heads or [0]:
        if wrong := [hidden for hidden in ranges["hidden"].values if one < 1 or hidden % one]:
            raise PipelineError(
                f"`shapes.space.heads` is {heads}; allowed: numbers that divide each hidden size, {wrong[0]} among them"
            )
    space = ShapeSpace(**ranges, heads=heads)
    return Config(file.search(overrides), file.section(Base, "base"), space, file.section(Timing, "timing"))
