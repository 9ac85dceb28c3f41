"""Reports that are cut off, or of another shape: whoever reads them names the file and what makes it again."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from conftest import contents, run_tool

from intents.core import errors
from intents.core.errors import PipelineError
from stages import benchmark, deploy, evaluate, plot, primer, select
from tools import readme, review

# The reports that each program reads, and a number of a row that it cannot do without.
READERS = [
    (select, "evaluation.json", "accuracy"),
    (select, "manifest.json", "size_mb"),
    (select, "latency.json", "p50_ms"),
    (plot, "benchmark.json", "p50_ms"),
    (plot, "data.json", None),
    (deploy, "benchmark.json", "threshold"),
    (deploy, "manifest.json", None),
    (primer, "latency.json", None),
    (benchmark, "manifest.json", None),
    (evaluate, "models/half.json", None),
    (readme, "benchmark.json", "size_mb"),
    (review, "benchmark.json", "p50_ms"),
]
# Reports of no use to anybody.
DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "cut off": b'{"variants": {"teacher": {"accur',
    "no JSON": b"<html>404</html>",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "null": b"null",
    "nested": b"[" * 100_000,
    "no keys": b"{}",
    "rows a list": b'{"variants": [], "teacher": []}',
    "a row a number": b'{"variants": {"teacher": 3}, "teacher": 3}',
}


@pytest.fixture(scope="module")
def project(built_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project, committed, with a README; every test leaves it as it was."""
    folder = tmp_path_factory.mktemp("damaged") / "project"
    shutil.copytree(built_once, folder, ignore=shutil.ignore_patterns("figures", ".training"))
    (folder / "README.md").write_text("\n".join("".join(readme.markers(block)) for block in readme.BLOCKS))
    author = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for words in (("init", "-q"), ("add", "params.yaml", "reports"), (*author, "commit", "-qm", "run")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(project)
    yield project
    subprocess.run(["git", "checkout", "-q", "."], cwd=project, check=True)


def start(reader: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    if reader in (readme, review):
        run_tool(reader, monkeypatch, *(["--base", "HEAD"] if reader is review else []))
    else:
        reader.main()


def refused(reader: ModuleType, file: str, monkeypatch: pytest.MonkeyPatch) -> str:
    before = contents(Path("reports"))
    with pytest.raises(PipelineError) as error:
        start(reader, monkeypatch)
    line = errors.short(str(error.value))
    assert f"reports/{file}" in line
    assert "`dvc repro" in line or "`make repro`" in line
    assert contents(Path("reports")) == before
    return line


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize(("reader", "file", "number"), READERS)
def test_a_report_that_is_damaged_is_named_with_what_makes_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, reader: ModuleType, file: str, number: str, damage: str
) -> None:
    (here / "reports" / file).write_bytes(DAMAGED[damage])
    refused(reader, file, monkeypatch)


@pytest.mark.parametrize("value", [None, "0.5", [], True, ...])
@pytest.mark.parametrize(("reader", "file", "number"), [row for row in READERS if row[2]])
def test_a_row_without_a_number_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, reader: ModuleType, file: str, number: str, value: object
) -> None:
    if reader is deploy and value is not ...:
        pytest.skip("what it reads was checked by select")
    path = here / "reports" / file
    report = json.loads(path.read_text())
    row = (report if file == "manifest.json" else report["variants"])["half-onnx"]
    names = [report.get("deployed"), "half-onnx"] if reader is deploy else ["half-onnx"]
    for name in filter(None, names):
        row = (report if file == "manifest.json" else report["variants"])[name]
        if value is ...:
            del row[number]
        else:
            row[number] = value
    path.write_text(json.dumps(report))
    assert number in refused(reader, file, monkeypatch)
