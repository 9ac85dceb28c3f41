"""markdown: tables, numbers as they are written, and templates in which an undefined name is an error."""

from pathlib import Path
from typing import Any

import jinja2
import pytest

from intents.primer import page
from intents.reports import markdown, results, tables


def test_a_table_has_its_first_column_on_the_left_and_the_others_on_the_right() -> None:
    assert markdown.table(["a", "b", "c"], [["x", "1", "2"]]) == "| a | b | c |\n| --- | ---: | ---: |\n| x | 1 | 2 |"


@pytest.mark.parametrize("row", [["x"], ["x", "1", "2"]])
def test_a_row_that_does_not_fit_its_header_is_refused(row: list[str]) -> None:
    with pytest.raises(ValueError, match="needs 2 cells"):
        markdown.table(["a", "b"], [["y", "1"], row])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 0.12345 | percent }}", "12.35 %"),
        ("{{ 0.12345 | percent(0) }}", "12 %"),
        ("{{ -0.0123 | points([-0.02, 0.001]) }}", "-1.23 [-2.00, +0.10]"),
        ("{{ 0.0361 | logit_difference }}", "0.036"),
        ("{{ 0.0 | logit_difference }}", "< 1e-06"),
        ("{{ 1234.567 | number }}", "1,234.57"),
        ("{{ 1234.567 | number(0) }}", "1,235"),
        ("{{ 0.00088152 | general }}", "0.0008815"),
        ("{{ 1.0 | general }}", "1"),
        ("{{ -1.5 | number(1) | minus }}", "−1.5"),
        ("{{ 1 | count('thread') }}", "1 thread"),
        ("{{ 1.0 | count('point') }}", "1 point"),
        ("{{ 0.5 | count('point') }}", "0.5 points"),
        ("{{ 3100 | count('answer') }}", "3,100 answers"),
    ],
)
def test_numbers_in_a_template(tmp_path: Path, template: str, expected: str) -> None:
    (tmp_path / "page.md.j2").write_text(template)
    assert markdown.render("page.md.j2", tmp_path) == expected


@pytest.mark.parametrize(
    "template", ["{{ here }}", "{{ here.there }}", "{% if here %}x{% endif %}", "{{ given.here }}"]
)
def test_an_undefined_name_is_an_error(tmp_path: Path, template: str) -> None:
    (tmp_path / "page.md.j2").write_text(template)
    with pytest.raises(jinja2.UndefinedError, match="here"):
        markdown.render("page.md.j2", tmp_path, given={"there": 1})


def test_a_template_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(jinja2.TemplateNotFound, match="page"):
        markdown.render("page.md.j2", tmp_path)


def test_a_template_may_include_those_of_the_reports(tmp_path: Path, benchmark: dict[str, Any]) -> None:
    (tmp_path / "page.md.j2").write_text('before\n{% include "reading.md.j2" %}\nafter\n')
    values = {"machine": benchmark["machine"], "variants": benchmark["variants"], "teacher_onnx": "teacher-onnx"}
    text = markdown.render("page.md.j2", tmp_path, **values, tables=tables)
    assert text.startswith("before\nAccuracy is over all queries")
    assert text.endswith("\nafter\n")


@pytest.mark.parametrize("folder", [markdown.TEMPLATES, page.TEMPLATES])
def test_tags_leave_no_empty_lines_and_values_are_not_escaped(folder: Path, tmp_path: Path) -> None:
    assert list(folder.glob("*.md.j2")) != []
    (tmp_path / "page.md.j2").write_text("a\n  {% if true %}\n{{ text }}\n  {% endif %}\nb\n")
    assert markdown.render("page.md.j2", tmp_path, text="<x> & 'y'") == "a\n<x> & 'y'\nb\n"


@pytest.mark.parametrize("gone", ["best", "machine", "budget", "deployed"])
def test_a_page_without_one_of_its_values_is_an_error(benchmark: dict[str, Any], gone: str) -> None:
    values = {key: value for key, value in results._shared(benchmark).items() if key != gone}
    with pytest.raises(jinja2.UndefinedError, match=gone):
        markdown.render("readme.md.j2", **values)
