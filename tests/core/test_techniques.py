"""A technique is a module of a package and a file of conf/, found by its name."""

import sys
from pathlib import Path

import pytest
from conftest import ROOT

from intents.core import techniques
from intents.core.errors import PipelineError
from intents.int8 import common as int8
from intents.onnx import common as onnx
from intents.peers import common as peers
from intents.pruning import common as pruning

# Package: what its techniques are built upon, and their group in conf/.
PACKAGES = {
    "intents.pruning": (pruning.Settings, "prune"),
    "intents.int8": (int8.Settings, "quantize"),
    "intents.onnx": (onnx.Settings, "ort_quantize"),
    "intents.peers": (peers.Settings, "peers"),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_option_of_conf_is_a_technique_and_there_is_no_other(package: str) -> None:
    options = [path.stem for path in (ROOT / "conf" / PACKAGES[package][1]).glob("*.yaml")]
    assert techniques.names(package) == sorted(options)
    assert len(options) >= 2


@pytest.mark.parametrize("package", PACKAGES)
def test_the_settings_of_each_are_its_own(package: str) -> None:
    base = PACKAGES[package][0]
    for name in techniques.names(package):
        kind = techniques.settings_of(package, name)
        assert issubclass(kind, base)
        assert kind.__module__ == f"{package}.{name}"


@pytest.mark.parametrize("name", ["lottery", "common", "masks", "", "../magnitude", "magnitude.Settings"])
def test_another_name_is_refused_and_the_techniques_are_listed(name: str) -> None:
    with pytest.raises(PipelineError) as error:
        techniques.settings_of("intents.pruning", name)
    expected = f"{name!r} is no technique of intents.pruning; allowed: magnitude, movement, structured"
    assert str(error.value) == expected


def test_a_new_module_is_a_new_technique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pruning_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "common.py").write_text("class Settings: ...\n")
    (package / "helper.py").write_text("from pruning_of_mine.common import Settings\n\nfound = Settings()\n")
    (package / "lottery.py").write_text("from pruning_of_mine import common\n\nclass Settings(common.Settings): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert techniques.names("pruning_of_mine") == ["lottery"]
        assert techniques.settings_of("pruning_of_mine", "lottery").__module__ == "pruning_of_mine.lottery"
    finally:
        for name in [name for name in sys.modules if name.startswith("pruning_of_mine")]:
            del sys.modules[name]
