"""The project's own code, compared by what it does: comments, docstrings and layout aside."""

import ast
import sys
from pathlib import Path

from intents.core import files

PACKAGES = ("intents", "stages", "tools")


def meaning(code: str) -> str:
    """The syntax tree of a module in words, its docstrings removed: equal for two texts that do the same."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return ast.dump(tree)


def loaded() -> dict[str, str]:
    """The modules of this project that the running program has loaded: {name: digest of their meaning}, sorted.

    The program's own module is among them, by the name that it was run under.
    """
    digests = {}
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        known = spec.name if spec else name  # `python -m stages.distill` loads it as __main__
        path = getattr(module, "__file__", None)
        if path and known.split(".")[0] in PACKAGES:
            text = Path(path).read_text(encoding="utf-8")
            digests[known] = files.sha256(meaning(text).encode())
    return dict(sorted(digests.items()))
