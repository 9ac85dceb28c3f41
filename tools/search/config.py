"""What is searched, and how: conf/tune.yaml, every value checked; and how such a file is read."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import Trial
from yaml import YAMLError

from intents.core import files, settings
from intents.core.errors import PipelineError
from intents.core.settings import Settings, above, at_least, between, seed_number
from intents.training.distillation import HOTTEST

CONFIG = Path("conf/tune.yaml")


@dataclass(frozen=True, kw_only=True)
class Search:
    trials: int = at_least(1)
    seed: int = seed_number()
    study: str
    storage: str
    heartbeat: int = at_least(1)  # seconds
    startup: int = at_least(1)


@dataclass(frozen=True, kw_only=True)
class Pruner:
    keep: float = between(0, 100)  # per cent
    warmup: float = between(0, 1)  # share of a trial's training


@dataclass(frozen=True, kw_only=True)
class Epochs:
    low: int = at_least(1)
    high: int = at_least(1)
    step: int = at_least(1)


@dataclass(frozen=True, kw_only=True)
class Alpha:
    low: float = between(0, 1)
    high: float = between(0, 1)
    step: float = above(0)


@dataclass(frozen=True, kw_only=True)
class Temperature:
    low: float = between(0, HOTTEST, open_low=True)
    high: float = between(0, HOTTEST, open_low=True)
    step: float = above(0)


@dataclass(frozen=True, kw_only=True)
class Space:
    epochs: Epochs
    alpha: Alpha
    temperature: Temperature

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether `values`, one for each parameter, lie within the ends."""
        return all(getattr(self, name).low <= value <= getattr(self, name).high for name, value in values.items())

    def draw(self, trial: Trial) -> dict[str, Any]:
        """The values of a trial; rounded, since 57 steps of 0.01 are 0.5700000000000001."""
        epochs, alpha, temperature = self.epochs, self.alpha, self.temperature
        return {
            "epochs": trial.suggest_int("epochs", epochs.low, epochs.high, step=epochs.step),
            "alpha": round(trial.suggest_float("alpha", alpha.low, alpha.high, step=alpha.step), 6),
            "temperature": round(
                trial.suggest_float("temperature", temperature.low, temperature.high, step=temperature.step), 6
            ),
        }


PARAMETERS = tuple(field.name for field in dataclasses.fields(Space))


def load(**overrides: Any) -> tuple[Search, Space, Pruner]:
    """conf/tune.yaml, every value checked.

    Args:
        overrides: of its section `search`.

    Raises:
        PipelineError: a value cannot be, a key is missing or unknown, or a range has its ends the wrong way round.
    """
    file = File(CONFIG, ["search", "space", "pruner"])
    space = Space(**file.ranges({"epochs": Epochs, "alpha": Alpha, "temperature": Temperature}))
    return file.search(overrides), space, file.section(Pruner, "pruner")


class File:
    """A file of conf/ that says what a search does: its sections, checked as they are asked for.

    Args:
        path: conf/NAME.yaml; errors name its keys NAME.SECTION.KEY.
        sections: all that it must have.

    Raises:
        PipelineError: it is not there, not YAML, or has other sections.
    """

    def __init__(self, path: Path, sections: Sequence[str]) -> None:
        self.path = path
        files.require(path, f"git checkout {path}")
        try:
            self._content = OmegaConf.load(path)
        except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
            raise PipelineError(f"{path} is not valid YAML: {' '.join(str(error).split())[:240]}") from None
        self._require_keys(self._content, sections, "the file")

    def section(self, kind: type[Settings], name: str) -> Settings:
        """The section called `name` (with a dot: a section in a section), as an instance of the dataclass `kind`."""
        return self._parsed(kind, self.value(name), name)

    def value(self, name: str) -> Any:
        """What is written there, unchecked."""
        return OmegaConf.select(self._content, name)

    def search(self, overrides: Mapping[str, Any]) -> Search:
        """The section `search`, with some values replaced."""
        written = self.section(Search, "search")
        return self._parsed(Search, OmegaConf.create(dataclasses.asdict(written) | dict(overrides)), "search")

    def ranges(self, kinds: Mapping[str, type[Any]], others: Sequence[str] = ()) -> dict[str, Any]:
        """The ranges in the section `space`, by name.

        Args:
            kinds: their dataclasses, each with `low` and `high`.
            others: further keys of the section.
        """
        self._require_keys(self._content.space, [*kinds, *others], "space")
        found = {name: self.section(kind, f"space.{name}") for name, kind in kinds.items()}
        for name, ends in found.items():
            if ends.low > ends.high:
                raise PipelineError(
                    f"`{self.path.stem}.space.{name}.low` is {ends.low}; allowed: up to `high`, {ends.high}"
                )
        return found

    def _parsed(self, kind: type[Settings], values: Any, name: str) -> Settings:
        self._require_keys(values, [field.name for field in dataclasses.fields(kind)], name)  # type: ignore[arg-type]
        return settings.parse(kind, values, f"{self.path.stem}.{name}")

    def _require_keys(self, values: Any, keys: Sequence[str], name: str) -> None:
        found = set(values) if isinstance(values, DictConfig) else set()
        if wrong := sorted(found ^ set(keys), key=str):
            state = "has no" if wrong[0] in keys else "does not know"
            raise PipelineError(f"{self.path}: {name} {state} `{wrong[0]}`; its keys are: {', '.join(keys)}")
