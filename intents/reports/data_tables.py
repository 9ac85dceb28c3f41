"""The tables of the data set in the report, as Markdown."""

from collections.abc import Mapping
from typing import Any

from intents.reports.markdown import table


def data(description: Mapping[str, Any]) -> str:
    """Sizes and token lengths of the splits, from reports/data.json."""
    names = [name for name in ("train", "validation", "test") if name in description]
    rows = [
        [
            name,
            f"{description[name]['in_scope']:,}",
            f"{description[name]['out_of_scope']:,}",
            *(str(length) for length in description[name]["tokens"].values()),
        ]
        for name in names
    ]
    header = ["split", "in scope", "out of scope", *(f"tokens {p}" for p in description[names[0]]["tokens"])]
    return table(header, rows)


def overlaps(description: Mapping[str, Any]) -> str:
    """The duplicates and leaks that were found, from reports/data.json."""
    found = {name.replace("_", " "): number for name, number in description["overlaps"].items() if number}
    return "; ".join(f"{name}: {number}" for name, number in found.items()) or "none"
