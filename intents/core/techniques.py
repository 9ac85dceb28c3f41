"""Techniques found by name: a module of a package, whose `Settings` say what the technique is given and what it does.

So a technique is one module and one file of conf/, and dvc.yaml can name the module of each: a technique added beside
others changes nothing that they depend on.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from intents.core.errors import PipelineError


def settings_of(package: str, name: str) -> Any:
    """The class `Settings` of a technique.

    Args:
        package: such as intents.pruning.
        name: of the technique, and of its module there.

    Raises:
        PipelineError: there is no such technique.
    """
    allowed = names(package)
    if name not in allowed:
        raise PipelineError(f"{name!r} is no technique of {package}; allowed: {', '.join(allowed)}")
    return import_module(f"{package}.{name}").Settings


def names(package: str) -> list[str]:
    """The techniques of a package: the modules with a class `Settings` that none of the others is built upon."""
    folder = Path(str(import_module(package).__file__)).parent
    return sorted(
        path.stem
        for path in folder.glob("*.py")
        if path.stem != "common" and "\nclass Settings(" in path.read_text(encoding="utf-8")
    )
