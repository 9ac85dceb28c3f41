"""params: conf/ composed into params.yaml, which is what every stage and `dvc repro` read.

python -m stages.params           compose; `dvc exp run` does the same by itself, `dvc repro` never does
python -m stages.params --check   exit 1 if params.yaml is not what conf/ says, naming each difference
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.hydra import compose_and_dump
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from stages.library.artifacts import new_file
from stages.library.errors import PipelineError, run_program
from stages.library.settings import PARAMS

CONF = Path("conf")


def compose(target: Path, config: str = "config", overrides: Sequence[str] = ()) -> None:
    """Write what conf/CONFIG.yaml and its groups say to `target`, byte for byte as `dvc exp run` would.

    Args:
        overrides: in Hydra's grammar, such as distill.temperature=8.0 or prune=magnitude.

    Raises:
        PipelineError: the configuration does not compose.
    """
    if not (CONF / f"{config}.yaml").is_file():
        raise PipelineError(f"{CONF / config}.yaml not found in {Path.cwd()}; run from the project's root")
    try:
        with new_file(target) as scratch:
            # Whether it writes YAML goes by the ending of the file's name.
            written = scratch.with_suffix(".yaml")
            compose_and_dump(written, str(CONF.resolve()), None, config, "plugins", list(overrides))
            written.rename(scratch)
    except (DvcException, OmegaConfBaseException, YAMLError) as error:
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


def differences(config: str = "config") -> list[str]:
    """One line for each key in which params.yaml is not what conf/ composes to."""
    if not PARAMS.is_file():
        return [f"{PARAMS} does not exist"]
    with tempfile.TemporaryDirectory() as folder:
        composed = Path(folder) / "params.yaml"
        compose(composed, config)
        expected, found = (leaves(OmegaConf.to_container(OmegaConf.load(path))) for path in (composed, PARAMS))
        lines = [
            f"{key}: conf/ says {expected.get(key, 'nothing')}, {PARAMS} says {found.get(key, 'nothing')}"
            for key in sorted(expected.keys() | found.keys())
            if key not in expected or key not in found or expected[key] != found[key]
        ]
        if not lines and composed.read_bytes() != PARAMS.read_bytes():
            lines = [f"{PARAMS} has the values of conf/, but is written otherwise"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.params", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if they differ")
    parser.add_argument("--config", default="config", help="the file in conf/ to start from (default config)")
    parser.add_argument("override", nargs="*", help="as Hydra takes them: distill.temperature=8.0, prune=magnitude")
    arguments = parser.parse_args()
    if not arguments.check:
        compose(PARAMS, arguments.config, arguments.override)
    elif lines := differences(arguments.config):
        raise PipelineError(
            f"{PARAMS} is not what conf/ says ({'; '.join(lines)}): `make params` takes what conf/ says; "
            f"to keep what {PARAMS} says, write it into conf/ first"
        )


if __name__ == "__main__":
    run_program(main)
