"""params: conf/ composed into params.yaml, which is what every stage and `dvc repro` read.

python -m stages.params           compose; `dvc exp run` does the same by itself, `dvc repro` never does
python -m stages.params --check   exit 1 if params.yaml is not what conf/ says, naming each difference
python -m stages.params --promote write what params.yaml says (after `dvc exp apply`, or an edit) into conf/
"""

import argparse
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.utils.hydra import compose_and_dump
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from yaml import YAMLError

from stages.library.artifacts import new_file, write_text
from stages.library.errors import PipelineError, run_program
from stages.library.settings import PARAMS

log = logging.getLogger(__name__)

CONF = Path("conf")
TECHNIQUES = ("quantize", "prune", "ort_quantize")  # groups of which dvc.yaml needs one option or more
EXPERIMENT = "DVC_EXP_NAME"  # set by `dvc exp run` for the commands that it runs


def main_config() -> str:
    """The file of conf/ that `dvc exp run` starts from: DVC's setting hydra.config_name."""
    return str(Config.from_cwd()["hydra"].get("config_name", "config"))


def compose(target: Path, config: str = "config", overrides: Sequence[str] = ()) -> None:
    """Write what conf/CONFIG.yaml and its groups say to `target`, byte for byte as `dvc exp run` would.

    Args:
        overrides: in Hydra's grammar, such as distill.temperature=8.0 or prune=magnitude.

    Raises:
        PipelineError: the configuration does not compose, or a group of techniques is empty.
    """
    if not (CONF / f"{config}.yaml").is_file():
        raise PipelineError(f"{CONF / config}.yaml not found in {Path.cwd()}; run from the project's root")
    try:
        with new_file(target) as scratch:
            # Whether it writes YAML goes by the ending of the file's name.
            written = scratch.with_suffix(".yaml")
            try:
                compose_and_dump(written, str(CONF.resolve()), None, config, "plugins", list(overrides))
                for group in [name for name in TECHNIQUES if (CONF / name).is_dir()]:
                    if not _loaded(written).get(group):
                        names = ", ".join(path.stem for path in sorted((CONF / group).glob("*.yaml")))
                        raise PipelineError(f"`{group}` names no technique; allowed: one or more of {names}")
                written.rename(scratch)
            finally:
                written.unlink(missing_ok=True)
    except (DvcException, HydraException, OmegaConfBaseException, YAMLError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise PipelineError(f"{CONF}/ does not compose: {reason}") from None


def leaves(content: Any, prefix: str = "") -> dict[str, Any]:
    """{"distill.alpha": 0.2, ...}: a nested mapping as one level; lists are values."""
    if not isinstance(content, dict):
        return {prefix: content}
    return {
        key: leaf
        for name, value in content.items()
        for key, leaf in leaves(value, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def differences(config: str) -> list[str]:
    """One line for each key in which params.yaml is not what conf/ composes to."""
    if not PARAMS.is_file():
        return [f"{PARAMS} does not exist"]
    expected, found = _composed(config), leaves(_loaded(PARAMS))
    return [
        f"{key}: conf/ says {expected.get(key, 'nothing')}, {PARAMS} says {found.get(key, 'nothing')}"
        for key in differing(expected, found)
    ]


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The keys whose values differ, also in type: DVC takes 8 and 8.0 for two values."""
    return sorted(
        key
        for key in one.keys() | other.keys()
        if key not in one or key not in other or (type(one[key]), one[key]) != (type(other[key]), other[key])
    )


def _composed(config: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        compose(path, config, overrides)
        return leaves(_loaded(path))


def _loaded(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OSError) as error:
        raise PipelineError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def edit(path: Path, values: dict[str, Any]) -> None:
    """Set keys of a YAML file, each named by the dotted path to it; its comments and the rest of its text stay."""
    editor = YAML()
    editor.width = 120
    editor.indent(mapping=2, sequence=4, offset=2)
    editor.representer.add_representer(
        type(None), lambda dump, _: dump.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = editor.load(path)
    for key, value in values.items():
        *parents, name = key.split(".")
        inner = content
        for parent in parents:
            inner = inner.setdefault(parent, CommentedMap())
        if isinstance(value, list):
            value = CommentedSeq(value)
            value.fa.set_flow_style()
        inner[name] = value
    with new_file(path) as scratch:
        editor.dump(content, scratch)


class Choice(NamedTuple):
    """What the main file's defaults choose of a group: `- prune: [movement]` or `- student: half`."""

    text: str  # as it stands there: `[movement]`, `half`
    options: list[str]
    several: bool  # whether the group's options stand side by side, each in a section of its own


def choices(main_file: Path) -> dict[str, Choice]:
    lines = re.finditer(r"^ *- (\w+): (\[.*?\]|\w+)", main_file.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        line[1]: Choice(line[2], re.findall(r"\w+", line[2]), several=line[2].startswith("["))
        for line in lines
        if (CONF / line[1]).is_dir()
    }


def promote() -> list[str]:
    """Make conf/ say what params.yaml says; returns a line for each file changed.

    A group whose options stand side by side gets those that params.yaml has; any other takes the option that comes
    nearest. What still differs is written into the option's file, whose comments stay. No more than that is touched.
    """
    wanted = leaves(_loaded(PARAMS))
    config = main_config()
    main_file = CONF / f"{config}.yaml"
    composed = _composed(config)
    sections = {key.split(".")[0] for key in differing(composed, wanted)}
    chosen = choices(main_file)
    if strange := sorted(sections - chosen.keys()):
        raise PipelineError(f"`{strange[0]}` is no group of conf/; write it there by hand")

    lines = []
    for section in sorted(sections, key=list(chosen).index, reverse=True):  # techniques first: they bring variants
        options = _nearest(config, section, chosen[section], wanted)
        if options != chosen[section].options:
            new = f"[{', '.join(options)}]" if chosen[section].several else options[0]
            old, text = chosen[section].text, main_file.read_text(encoding="utf-8")
            write_text(main_file, text.replace(f"- {section}: {old}", f"- {section}: {new}"))
            lines.append(f"{main_file}: {section}: {new} (was {old})")
    composed = _composed(config)
    for section in sorted(sections):
        keys = [key for key in differing(composed, wanted) if key.split(".")[0] == section]
        for option in _nearest(config, section, chosen[section], wanted):
            path = CONF / section / f"{option}.yaml"
            prefix = f"{section}.{option}." if chosen[section].several else f"{section}."
            ours = [key for key in keys if key.startswith(prefix)]
            if odd := [key for key in ours if key not in wanted or key not in composed]:
                raise PipelineError(f"`{odd[0]}` cannot be promoted; write it into {path} by hand")
            if ours:
                whole = path.read_text(encoding="utf-8").startswith("# @package _global_")
                edit(path, {key if whole else key.removeprefix(prefix): wanted[key] for key in ours})
                lines += [f"{path}: {key.removeprefix(prefix)}: {wanted[key]} (was {composed[key]})" for key in ours]
    if rest := differences(config):
        raise PipelineError(f"conf/ still composes to something else ({'; '.join(rest)})")
    return lines


def _nearest(config: str, section: str, choice: Choice, wanted: dict[str, Any]) -> list[str]:
    """The options of a group that bring conf/ nearest to what is wanted."""
    if choice.several:
        return list(dict.fromkeys(key.split(".")[1] for key in wanted if key.startswith(f"{section}.")))
    current = choice.options[0]

    def left(option: str) -> int:
        keys = differing(_composed(config, [f"{section}={option}"]), wanted)
        return sum(key.split(".")[0] == section for key in keys)

    options = [path.stem for path in sorted((CONF / section).glob("*.yaml"))]
    return [min(options, key=lambda option: (left(option), option != current))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.params", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if they differ")
    parser.add_argument("--promote", action="store_true", help="write what params.yaml says into conf/")
    parser.add_argument("--config", help="the file of conf/ to start from (default: DVC's hydra.config_name, config)")
    parser.add_argument("override", nargs="*", help="as Hydra takes them: distill.temperature=8.0, prune=magnitude")
    arguments = parser.parse_args()
    config = arguments.config or main_config()
    if arguments.promote:
        print("\n".join(promote()) or f"conf/ says what {PARAMS} says already")
    elif not arguments.check:
        compose(PARAMS, config, arguments.override)
    elif os.environ.get(EXPERIMENT):
        log.info("an experiment composes %s from conf/ and its own -S: nothing to check", PARAMS)
    elif lines := differences(config):
        raise PipelineError(
            f"{PARAMS} is not what conf/ says ({'; '.join(lines)}): `make params` takes what conf/ says; "
            f"`make promote` writes what {PARAMS} says into conf/"
        )


if __name__ == "__main__":
    run_program(main)
