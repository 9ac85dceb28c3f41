"""params: conf/ composed into params.yaml, which is what every stage and `dvc repro` read.

python -m tools.params              compose; `dvc exp run` does the same by itself, `dvc repro` never does
python -m tools.params --check      exit 1 if params.yaml is not what conf/ says, naming each difference
python -m tools.params --keep NAME  write what params.yaml says (after `dvc exp apply`, or an edit) as an experiment,
                                    conf/experiment/NAME.yaml, and choose it in the main file of conf/
"""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.utils.hydra import compose_and_dump
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError, safe_dump, safe_load

from intents.core import paths, table
from intents.core.errors import Parser, PipelineError, run_program
from intents.core.files import write_text
from intents.core.settings import PARAMS
from tools.arguments import exists

log = logging.getLogger(__name__)

CONF = Path("conf")
TECHNIQUES = ("student", "quantize", "prune", "ort_quantize")  # groups of which dvc.yaml needs one option or more
SIDE_BY_SIDE = (*TECHNIQUES, "peers")  # groups of which any number of options may be chosen
OPTIONAL = {"second_teacher": "mpnet", "qat": "simulated"}  # groups with an option `none`, and the other one
CHOSEN = re.compile(r"^( *- (?:override )?experiment: *)\S+", re.MULTILINE)  # in the defaults of a main file
UNLABELLED = "allowed: logits, since the queries that it learns from, data/augmented, have no labels"
EXPERIMENT = "DVC_EXP_NAME"  # set by `dvc exp run` for the commands that it runs


def main_config() -> str:
    """The file of conf/ that `dvc exp run` starts from: DVC's setting hydra.config_name."""
    return str(Config.from_cwd()["hydra"].get("config_name", "config"))


def compose(target: Path, config: str = "config", overrides: Sequence[str] = (), conf: Path = CONF) -> None:
    """Write what conf/CONFIG.yaml and its groups say to `target`, byte for byte as `dvc exp run` would.

    Args:
        overrides: in Hydra's grammar, such as distill.temperature=8.0 or prune=magnitude.
        conf: the folder of the configuration.

    Raises:
        PipelineError: the configuration does not compose, or a group of techniques is empty.
    """
    if not exists(conf / f"{config}.yaml"):
        raise PipelineError(f"{conf / config}.yaml not found in {Path.cwd()}; run from the project's root")
    try:
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / PARAMS  # whether it writes YAML goes by the ending of the file's name
            compose_and_dump(written, str(conf.resolve()), None, config, "plugins", list(overrides))
            chosen = _loaded(written)
            for group in [name for name in TECHNIQUES if (conf / name).is_dir()]:
                if not chosen.get(group):
                    names = ", ".join(path.stem for path in sorted((conf / group).glob("*.yaml")))
                    raise PipelineError(f"`{group}` names no technique; allowed: one or more of {names}")
            table.check_students(chosen)
            for name, one in (chosen.get("student") or {}).items():
                if one["answers"] == paths.AUGMENTED.as_posix() and one["objective"] != "logits":
                    raise PipelineError(f"`student.{name}.objective` is {one['objective']}; {UNLABELLED}")
            text = written.read_text(encoding="utf-8")
    except (
        DvcException,
        HydraException,
        OmegaConfBaseException,
        YAMLError,
        ValueError,
        OSError,  # a name that is too long for a file
    ) as error:  # all of them Hydra's
        reason = " ".join(str(error.__cause__ or error).split())
        raise PipelineError(f"{CONF}/ does not compose: {reason}") from None
    write_text(target, text)


def leaves(content: Any, prefix: str = "") -> dict[str, Any]:
    """{"distill.alpha": 0.2, ...}: a nested mapping as one level; lists and empty mappings are values."""
    if not isinstance(content, dict) or (prefix and not content):
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
    expected, found = leaves(composed(config)), leaves(_loaded(PARAMS))
    return [
        f"{key}: conf/ says {expected.get(key, 'nothing')}, {PARAMS} says {found.get(key, 'nothing')}"
        for key in differing(expected, found)
    ]


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The keys whose values differ, also in type: DVC takes 8 and 8.0 for two values."""
    return sorted(key for key in one.keys() | other.keys() if repr(one.get(key, ...)) != repr(other.get(key, ...)))


def composed(config: str, overrides: Sequence[str] = (), conf: Path = CONF) -> dict[str, Any]:
    """What conf/ composes to, as params.yaml would hold it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        compose(path, config, overrides, conf)
        return _loaded(path)


def _loaded(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} cannot be read: {' '.join(str(error).split())[:240]}") from None


def keep(name: str, config: str) -> list[Path]:
    """Make conf/ say what params.yaml says: by an experiment, conf/experiment/NAME.yaml, that the main file chooses.

    The experiment names the techniques and the values in which params.yaml differs from the rest of conf/.

    Args:
        config: the main file's name, such as config.

    Returns:
        The files written; none where conf/ says it already.

    Raises:
        PipelineError: no experiment says what params.yaml says, or it cannot have that name. Nothing is written then.
    """
    if not differences(config):
        return []
    path, main_file = CONF / "experiment" / f"{name}.yaml", CONF / f"{config}.yaml"
    if not re.fullmatch(r"[A-Za-z][\w-]*", name) or not isinstance(safe_load(name), str):
        raise PipelineError(
            f"--keep {name!r} cannot name an experiment; allowed: a letter, then letters, digits, - or _"
        )
    if path.exists():
        raise PipelineError(f"{path} exists; give the experiment another name")
    text = main_file.read_text(encoding="utf-8")
    if (several := len(CHOSEN.findall(text))) != 1:
        raise PipelineError(f"{main_file} must have one line `- experiment: ...` in its defaults; it has {several}")

    content = _loaded(PARAMS)
    wanted = leaves(content)
    with tempfile.TemporaryDirectory() as folder:
        conf = shutil.copytree(CONF, Path(folder) / CONF)
        write_text(conf / main_file.name, CHOSEN.sub(r"\1null", text))
        groups = _choices(composed(config, conf=conf), content)
        rest = leaves(composed(config, [f"{group}={options}" for group, options in groups.items()], conf))
        keys = differing(rest, wanted)
        if strange := [key for key in keys if key not in rest or key not in wanted]:
            raise PipelineError(f"conf/ and {PARAMS} do not both have `{strange[0]}`; write it into conf/ by hand")

        write_text(conf / main_file.name, CHOSEN.sub(rf"\g<1>{name}", text))

        def left(kept: list[str]) -> list[str]:
            """What conf/ would not say yet, with only these values in the experiment."""
            write_text(conf / path.relative_to(CONF), _experiment(name, groups, {key: wanted[key] for key in kept}))
            return differing(leaves(composed(config, conf=conf)), wanted)

        if unsaid := left(keys):
            raise PipelineError(f"no experiment can set `{unsaid[0]}`, which {main_file} sets itself; edit it by hand")
        for key in tuple(keys):  # interpolations: what follows from another value goes unsaid
            fewer = [other for other in keys if other != key]
            if not left(fewer):
                keys = fewer
    write_text(path, _experiment(name, groups, {key: wanted[key] for key in keys}))
    write_text(main_file, CHOSEN.sub(rf"\g<1>{name}", text))
    return [path, main_file]


def _choices(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """The options of params.yaml, {group: options as YAML}, for the groups in which they are others than before.

    Raises:
        PipelineError: params.yaml has a technique that is no option.
    """
    found = {}
    for group in SIDE_BY_SIDE:
        options = list(after.get(group) or {})
        if unknown := [option for option in options if not (CONF / group / f"{option}.yaml").is_file()]:
            raise PipelineError(
                f"{PARAMS} has `{group}.{unknown[0]}`, but there is no {CONF / group / unknown[0]}.yaml"
            )
        if options != list(before.get(group) or {}):
            found[group] = f"[{', '.join(options)}]"
    for group, option in OPTIONAL.items():
        if bool(after.get(group)) != bool(before.get(group)):
            found[group] = option if after.get(group) else "none"
    return found


def _experiment(name: str, groups: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """The text of conf/experiment/NAME.yaml."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = key.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    lines = ["# @package _global_", f"# Written by `make keep NAME={name}`: dvc exp run -S experiment={name}"]
    if groups:
        lines += ["defaults:", *(f"  - override /{group}: {options}" for group, options in groups.items())]
    return "\n".join(lines) + "\n" + (safe_dump(nested, sort_keys=False) if nested else "")


def main() -> None:
    parser = Parser("tools.params", __doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; fail if they differ")
    mode.add_argument("--keep", metavar="NAME", help="write what params.yaml says into conf/, as experiment NAME")
    parser.add_argument("--config", help="the file of conf/ to start from (default: DVC's hydra.config_name, config)")
    parser.add_argument("override", nargs="*", help="as Hydra takes them: distill.temperature=8.0, prune=magnitude")
    arguments = parser.parse_args()
    config = arguments.config or main_config()
    if arguments.override and (arguments.check or arguments.keep):
        parser.error("overrides are for composing, not for --check or --keep")
    if arguments.keep is not None:
        written = keep(arguments.keep, config)
        print("\n".join(f"wrote {path}" for path in written) or f"conf/ says what {PARAMS} says already")
    elif not arguments.check:
        compose(PARAMS, config, arguments.override)
    elif os.environ.get(EXPERIMENT):
        log.info("an experiment composes %s from conf/ and its own -S: nothing to check", PARAMS)
    elif lines := differences(config):
        raise PipelineError(
            f"{PARAMS} is not what conf/ says ({'; '.join(lines)}): `make params` takes what conf/ says; "
            f"`make keep NAME=...` writes what {PARAMS} says into conf/"
        )


if __name__ == "__main__":
    run_program(main)
