"""tools.safe_dvc: what DVC writes is there whole, or what was there stays."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from dvc.stage.cache import StageCache
from dvc.utils.serialize import _common, dump_json, dump_yaml, modify_yaml

from tools import accept, safe_dvc

BEFORE = "schema: '2.0'\nstages:\n  a: {cmd: one}\n"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "dvc.lock"
    path.write_text(BEFORE)
    return path


def cut_off(path: Path) -> None:
    """A change of dvc.lock that fails while it is written."""
    with pytest.raises(Exception, match="cannot represent"), modify_yaml(path) as data:
        data["stages"]["b"] = {"cmd": object()}


def test_a_write_that_is_cut_off_leaves_what_was_there(lock: Path) -> None:
    cut_off(lock)
    assert lock.read_text() == ""  # DVC alone; once it leaves the file as it was, safe_dvc is of no more use
    lock.write_text(BEFORE)
    with safe_dvc.installed():
        cut_off(lock)
    assert lock.read_text() == BEFORE
    assert [path.name for path in lock.parent.iterdir()] == ["dvc.lock"]


def test_the_bytes_are_those_that_dvc_writes(lock: Path) -> None:
    def written() -> list[bytes]:
        lock.write_text(BEFORE)
        with modify_yaml(lock) as data:
            data["stages"]["b"] = {"cmd": "zwei ü", "outs": [{"path": "x", "size": 1}]}
        dump_yaml(lock.with_name("new.yaml"), {"b": [1.5, None], "a": "é"})
        dump_json(lock.with_name("new.json"), {"b": [1.5, None], "a": "é"})
        return [lock.with_name(name).read_bytes() for name in ("dvc.lock", "new.yaml", "new.json")]

    alone = written()
    with safe_dvc.installed():
        assert written() == alone


def test_a_link_stays_a_link(lock: Path, tmp_path: Path) -> None:
    lock.rename(tmp_path / "elsewhere")
    lock.symlink_to("elsewhere")
    with safe_dvc.installed():
        dump_yaml(lock, {"a": 1})
    assert lock.is_symlink()
    assert lock.read_text() == "a: 1\n"


def test_what_accept_records_is_written_so() -> None:
    seen = []

    def dump_stages(*_: object, **__: object) -> None:
        seen.append(_common._dump_data)

    stage = SimpleNamespace(addressing="a", deps=[], outs=[], save=lambda **_: None)
    stage.dvcfile = SimpleNamespace(dump_stages=dump_stages)
    accept.record(SimpleNamespace(lock=nullcontext(), index=SimpleNamespace(stages=[stage])), {"a"})
    assert seen == [safe_dvc.write]
    assert _common._dump_data is not safe_dvc.write


def test_a_folder_without_a_run_record_is_no_record(tmp_path: Path) -> None:
    cache = StageCache(SimpleNamespace(cache=SimpleNamespace(legacy=SimpleNamespace(path=str(tmp_path)))))
    with pytest.raises(TypeError):  # DVC alone
        cache._load_cache("ab", None)
    with safe_dvc.installed():
        assert cache._load_cache("ab", None) is None
        assert cache._load_cache("ab", "no such record") is None
