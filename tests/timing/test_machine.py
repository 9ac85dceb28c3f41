"""machine: what is said of the machine that figures were measured on."""

import json
from importlib.metadata import version
from typing import Any

import pytest

from intents.timing import machine


def described(monkeypatch: pytest.MonkeyPatch, **info: Any) -> dict[str, Any]:
    monkeypatch.setattr(machine.cpuinfo, "get_cpu_info", lambda: info)
    return machine.describe(2)


def test_it_is_told_with_the_versions_that_decide_a_figure() -> None:
    found = machine.describe(3)
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["threads"] == 3
    assert found["libraries"] == {name: version(name) for name in found["libraries"]}
    assert found["libraries"].keys() >= {"torch", "onnxruntime", "numpy"}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("flags", "shown", "int8"),
    [
        (["sse", "avx2", "avx512_vnni"], ["avx2", "avx512_vnni"], True),
        (["avx_vnni", "avx2"], ["avx2", "avx_vnni"], True),
        (["asimd", "asimddp"], ["asimddp"], True),
        (["i8mm"], ["i8mm"], True),
        (["avx2", "avx512f", "fma"], ["avx2", "avx512f"], False),
        ([], [], False),
    ],
)
def test_of_its_flags_those_of_int8_and_vectors_are_told(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], shown: list[str], int8: bool
) -> None:
    found = described(monkeypatch, flags=flags, brand_raw="A Processor")
    assert (found["cpu"], found["cpu_flags"], found["int8_dot_product"]) == ("A Processor", shown, int8)


def test_a_machine_that_says_nothing_of_itself_is_told_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "riscv64")
    found = described(monkeypatch)
    assert (found["cpu"], found["cpu_flags"], found["int8_dot_product"]) == ("riscv64", [], False)
