"""Git keeps every byte, however it is set up to end lines."""

import shutil
import subprocess
from pathlib import Path

from conftest import ROOT, contents


def test_a_clone_that_would_convert_the_ends_of_lines_keeps_the_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "data/sample", source / "data/sample")
    shutil.copy(ROOT / ".gitattributes", source)
    (source / "data/windows.csv").write_bytes(b"text,intent\r\nwake me,alarm\r\n")
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for words in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "data"]):
        subprocess.run(["git", "-c", "core.autocrlf=true", *words], cwd=source, check=True)
    clone = ["git", "clone", "--quiet", "-c", "core.autocrlf=true", str(source), str(tmp_path / "clone")]
    subprocess.run(clone, check=True)
    assert contents(tmp_path / "clone/data") == contents(source / "data")
