"""primer: a page and its pictures from the models that the other stages made."""

import json
import re
from pathlib import Path

import pytest
from conftest import compose, contents, run, run_in_copy
from made import read, texts

from intents.core.errors import PipelineError
from stages import primer

PICTURES = {"affine", "weights", "storage", "multiply", "temperature", "gradient", "pruning"}


@pytest.fixture(scope="module")
def written_once(built_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_in_copy(built_once, tmp_path_factory.mktemp("written") / "project", primer)


@pytest.fixture
def page(written_once: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page, with the folder that it was written in as the current one; not to be changed."""
    monkeypatch.chdir(written_once)
    return Path("reports/primer/README.md").read_text()


def test_pictures_and_page_are_written_and_the_page_shows_each(built_once: Path, written_once: Path, page: str) -> None:
    before, after = contents(built_once), contents(written_once)
    assert after.keys() - before.keys() == {
        "reports/primer/README.md",
        *(f"reports/primer/{name}.png" for name in PICTURES),
    }
    assert {path: after[path] for path in before} == before
    assert set(re.findall(r"!\[[^]]+\]\((\w+)\.png\)", page)) == PICTURES
    for name in PICTURES:
        assert (written_once / f"reports/primer/{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_same_inputs_give_the_same_bytes(built: Path, written_once: Path) -> None:
    run(primer)
    assert contents(built) == contents(written_once)


def test_no_query_is_on_the_page(page: str) -> None:
    queries = [text for split in ("train", "validation", "test") for text in texts(split)]
    assert len(queries) == 160
    assert [text for text in queries if text in page] == []


def test_formulas_have_no_escapes_that_markdown_would_take_for_its_own(page: str) -> None:
    assert "\\mathrm" in page
    assert re.findall(r"\\[^A-Za-z]", page) == []


def test_no_tag_of_the_template_is_left(page: str) -> None:
    assert [sign for sign in ("{{", "{%", "{#", "%}") if sign in page] == []
    assert "\n\n\n" not in page


def test_movement_pruning_is_shown_on_the_student_in_int8(page: str) -> None:
    sparsity = read("reports/pruning/half-movement-layers.json")["encoder.layer.1.output.dense"]
    assert re.search(r"weights of `\w+\.encoder\.layer\.1\.output\.dense` before and after movement pruning", page)
    assert f"\n{100 * (1 - sparsity):.2f} % of them." in page


@pytest.mark.usefixtures("project")
def test_timings_without_the_product_are_refused() -> None:
    Path("reports").mkdir()
    Path("reports/latency.json").write_text('{"machine": {}}')
    with pytest.raises(PipelineError, match=r"latency.json has no `multiply`; run `dvc repro benchmark`"):
        run(primer)


@pytest.mark.parametrize("models", ["", "teacher"])
def test_without_a_student_in_int8_it_says_what_to_add(project: Path, overrides: list[str], models: str) -> None:
    Path("reports").mkdir()
    Path("reports/latency.json").write_text(json.dumps({"machine": {}, "multiply": {}}))
    compose(*overrides, f"variants.torch_models=[{models}]")
    with pytest.raises(PipelineError, match=r"a student in int8, and `variants\.torch_models` names none"):
        run(primer)
