"""Pages as Markdown: templates (templates/*.md.j2) that one can edit, tables, and how numbers are written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column left-aligned, the others right-aligned.

    Cells are not padded to a common width: a new row then changes one line of a page, and no other.

    Raises:
        ValueError: a row has more or fewer cells than the header.
    """
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"each row of the table needs {len(header)} cells, one for each of {list(header)}")
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float, digits: int = 2) -> str:
    """A share (0 to 1) in per cent."""
    return f"{100 * value:.{digits}f} %"


def points(value: float, interval: Sequence[float]) -> str:
    """A difference of accuracies (-1 to 1) in percentage points, with its interval (low, high)."""
    low, high = interval
    return f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def logit_difference(value: float) -> str:
    """Two digits; the reports keep six decimals, so a smaller one is there as 0."""
    return f"{value:.2g}" if value else "< 1e-06"


def number(value: float, digits: int = 2) -> str:
    """A number with that many decimals, and commas between thousands."""
    return f"{value:,.{digits}f}"


def general(value: float) -> str:
    """A number as short as it can be: 1, 0.25, 0.0008815."""
    return f"{value:.4g}"


def minus(text: str) -> str:
    """A number, already written out, with a minus sign in place of the hyphen."""
    return text.replace("-", "−")


def count(value: float, noun: str) -> str:
    """A number with its noun in singular or plural: 1 thread, 2 threads, 0.5 points."""
    return f"{value:,.10g} {noun}{'' if value == 1 else 's'}"


FILTERS = {filter.__name__: filter for filter in (percent, points, logit_difference, number, general, minus, count)}


def environment(folder: Path) -> Environment:
    """Where templates are found and how they are read: an undefined name is an error, a tag leaves no empty line.

    Args:
        folder: of the templates; those of this package, which others may include, are found after its own.
    """
    found = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown for a repository, from our own figures
    )
    found.filters.update(FILTERS)
    return found


def render(template: str, folder: Path = TEMPLATES, **values: Any) -> str:
    """A template as text.

    Args:
        template: its name, such as report.md.j2.
        folder: where it lies.
        values: what the template names.

    Raises:
        jinja2.UndefinedError: the template names what is not among the values.
        jinja2.TemplateNotFound: there is no such template.
    """
    return environment(folder).get_template(template).render(**values)
