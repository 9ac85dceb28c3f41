"""Typed settings: a section of params.yaml becomes a frozen dataclass, or an error that names the key.

Values live in conf/ alone (composed into params.yaml), so the dataclasses of the stages have no defaults:
a field says its type and, through `between` or `at_least`, what is allowed.
"""

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from intents.core.errors import PipelineError

PARAMS = Path("params.yaml")
PLAIN = {  # what a type allows, in words
    "bool": "true or false",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "dict[str, float]": "a number for each key",
    "list[int]": "a list of whole numbers",
    "list[str]": "a list of texts",
}
LONGEST_SHOWN = 80  # characters of a value in an error
LARGEST_SEED = 2**32 - 1  # NumPy's: its generators take 32 bits
SECTIONS = (
    *(
        "run",
        "launch",
        "dataset",
        "teacher",
        "second_teacher",
        "augment",
        "student",
        "distill",
        "prune",
        "qat",
        "quantize",
        "onnx_export",
        "ort_quantize",
        "peers",
    ),
    *("variants", "out_of_scope", "evaluate", "sensitivity", "benchmark", "select", "plot", "must_pass"),
)

Settings = TypeVar("Settings")


def between(low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> Any:
    """A numeric field that must lie in [low, high]; an open end excludes its bound."""
    return dataclasses.field(metadata={"range": (low, high, open_low, open_high)})


def at_least(low: float) -> Any:
    """A numeric field that must be `low` or more."""
    return between(low, float("inf"))


def above(low: float) -> Any:
    """A numeric field that must be greater than `low`."""
    return between(low, float("inf"), open_low=True)


def seed_number() -> Any:
    """A whole number that seeds every generator, NumPy's included."""
    return between(0, LARGEST_SEED)


def text(allowed: str) -> Any:
    """A field that must be a text.

    Args:
        allowed: what it is the name of, for errors to say.
    """
    return dataclasses.field(metadata={"allowed": allowed})


def load(kind: type[Settings], section: str, path: Path = PARAMS, *, part: bool = False) -> Settings:
    """The section of params.yaml called `section`, as an instance of the dataclass `kind`.

    Args:
        section: its name; with a dot, a section in a section, such as prune.movement.
        part: leave aside the keys that `kind` has not: another stage owns the section and checks them.

    Raises:
        PipelineError: the file or section is missing, a key is missing or unknown, or a value has the
            wrong type or lies outside the range allowed; the message names the key, the value and what
            is allowed.
    """
    params = _params(path)
    try:
        values = OmegaConf.select(params, section)
        OmegaConf.to_container(params, resolve=True)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0][:200]
        raise PipelineError(f"`{error.full_key or section}` in {path} cannot be read: {reason}") from None
    if values is None:
        raise PipelineError(f"{path} has no section `{section}`; `make params` composes it from conf/")
    if not isinstance(values, DictConfig):
        names = ", ".join(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
        raise PipelineError(f"`{section}` in {path} is {_shown(values)}; allowed: a section with the keys {names}")
    if part:
        values = OmegaConf.masked_copy(values, [field.name for field in dataclasses.fields(kind)])  # type: ignore[arg-type]
    return parse(kind, values, section)


def ahead(kind: type[Settings], group: str, path: Path = PARAMS) -> dict[str, Settings]:
    """The sections of a group, {name: settings}, for a stage that looks at what later stages will be asked to do.

    DVC is not told that the stage reads them: they may decide whether it begins, and nothing of what it writes.

    Raises:
        PipelineError: as `load`; there is no such group.
    """
    if not isinstance(names := OmegaConf.select(_params(path), group), DictConfig):
        raise PipelineError(f"{path} has no section `{group}`; `make params` composes it from conf/")
    return {name: load(kind, f"{group}.{name}", path) for name in map(str, names)}


def parse(kind: type[Settings], values: Any, section: str) -> Settings:
    """`values` (a mapping) as an instance of the dataclass `kind`; errors name keys as `section.key`."""
    schema = OmegaConf.structured(kind)
    for name, hint in get_type_hints(kind).items():
        inner: list[Any] = [one for one in get_args(hint) if dataclasses.is_dataclass(one)]
        items: Any = OmegaConf.select(values, name) if inner and OmegaConf.is_dict(values) else None
        if OmegaConf.is_list(items):  # OmegaConf does not say which item of a list an error is of
            for place, item in enumerate(items):
                if not OmegaConf.is_dict(item):
                    keys = ", ".join(one.name for one in dataclasses.fields(inner[0]))
                    raise PipelineError(
                        f"`{section}.{name}[{place}]` is {_shown(item)}; allowed: a section with the keys {keys}"
                    )
                parse(inner[0], item, f"{section}.{name}[{place}]")
    try:
        merged = OmegaConf.merge(schema, values)
    except ConfigKeyError as error:
        key = error.full_key or str(error.key)
        *parents, _ = key.split(".")
        known = ", ".join(field.name for field in dataclasses.fields(_inner(kind, parents)))
        raise PipelineError(
            f"unknown key `{section}.{key}` in params.yaml; `{'.'.join([section, *parents])}` has: {known}"
        ) from None
    except OmegaConfBaseException as error:
        key = error.full_key or str(error.key)
        value = OmegaConf.select(OmegaConf.create(values), key)
        raise PipelineError(f"`{section}.{key}` is {_shown(value)}; allowed: {_allowed(_field(kind, key))}") from None
    if missing := OmegaConf.missing_keys(merged):
        raise PipelineError(f"params.yaml has no `{section}.{min(missing)}`; `make params` composes it from conf/")
    settings = OmegaConf.to_object(merged)
    _check_ranges(settings, section)
    return settings  # type: ignore[return-value]


def _params(path: Path) -> DictConfig:
    """A params.yaml, if it can be read and has no key at its top that is not known."""
    if not path.is_file():
        raise PipelineError(f"{path} not found in {Path.cwd()}; run from the project's root, after `make params`")
    try:
        params = OmegaConf.load(path)
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path} is not UTF-8: {error.reason} at byte {error.start}; save it as UTF-8") from None
    except YAMLError as error:
        raise PipelineError(f"{path} is not valid YAML: {' '.join(str(error).split())[:240]}") from None
    if not isinstance(params, DictConfig):
        raise PipelineError(f"{path} holds no sections; `make params` composes it from conf/")
    if unknown := sorted(set(params) - set(SECTIONS)):
        raise PipelineError(f"{path} has an unknown key `{unknown[0]}`; allowed at the top are: {', '.join(SECTIONS)}")
    return params


def _check_ranges(settings: Any, section: str) -> None:
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            _check_ranges(value, f"{section}.{field.name}")
        elif (found := _not_finite(value, f"{section}.{field.name}")) is not None:
            key, number = found
            allowed = _allowed(field).replace("a number", "a finite number")
            raise PipelineError(f"`{key}` is {number!r}; allowed: {allowed}")
        elif "range" in field.metadata and value is not None and not _within(value, field.metadata["range"]):
            raise PipelineError(f"`{section}.{field.name}` is {_shown(value)}; allowed: {_allowed(field)}")


def _shown(value: Any) -> str:
    """A value as an error shows it; of a long one, how it begins."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _not_finite(value: Any, key: str) -> tuple[str, float] | None:
    """The key of the first number in `value` that is infinite or none (nan), and that number."""
    if isinstance(value, float) and not math.isfinite(value):
        return key, value
    within: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return next((found for name, one in within if (found := _not_finite(one, f"{key}.{name}")) is not None), None)


def _inner(kind: Any, keys: list[str]) -> Any:
    """The dataclass that is reached from `kind` through fields that are dataclasses themselves, or None."""
    for key in keys:
        types = get_type_hints(kind)[key.split("[")[0]]
        kind = next(one for one in (*get_args(types), types) if dataclasses.is_dataclass(one))
    return kind


def _field(kind: Any, key: str) -> Any:
    """The field of a dotted key; of a key in a list or a mapping, the field that holds it."""
    name, _, rest = key.split("[")[0].partition(".")
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    nested = [one for one in (*get_args(field.type), field.type) if dataclasses.is_dataclass(one)]
    return _field(nested[0], rest) if nested and rest else field


def _within(value: float, bounds: tuple[float, float, bool, bool]) -> bool:
    low, high, open_low, open_high = bounds
    return (low < value if open_low else low <= value) and (value < high if open_high else value <= high)


def _allowed(field: dataclasses.Field) -> str:  # type: ignore[type-arg]
    if "allowed" in field.metadata:
        return str(field.metadata["allowed"])
    kind = field.type
    optional = [one for one in get_args(kind) if one is not type(None)] if type(None) in get_args(kind) else []
    if len(optional) == 1 and isinstance(optional[0], type):
        plain = dataclasses.field(metadata=dict(field.metadata))
        plain.type = optional[0]
        return f"{_allowed(plain)}, or null"
    if dataclasses.is_dataclass(kind):
        return f"a section with the keys {', '.join(one.name for one in dataclasses.fields(kind))}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(kind.__members__)
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    if "range" not in field.metadata:
        return PLAIN.get(name, name)
    low, high, open_low, open_high = field.metadata["range"]
    number = "a whole number" if name.startswith("int") else "a number"
    lower = f"{'above' if open_low else 'from'} {_written(low)}"
    upper = "" if high == float("inf") else f" {'to below' if open_high else 'to'} {_written(high)}"
    return f"{number} {lower}{upper}" if upper or open_low else f"{number}, {_written(low)} or more"


def _written(bound: float) -> str:
    """A bound of a range, a whole number with all its digits."""
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"
