"""The programs of this project: each module that ends with a call of its main; tools.safe_dvc is DVC's own."""

from conftest import ROOT

PROGRAMS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in ("stages", "tools", "intents")
    for path in sorted((ROOT / package).rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text() and path.stem != "safe_dvc"
]
