"""What is checked before a release alone: the package as it is built, away from its source."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.release


def command(*words: object, cwd: Path) -> str:
    """What a command printed to stdout; it must have ended well."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_runs_away_from_its_source(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a build leaves files where it is made
    shutil.copytree(ROOT / "galab", source / "galab", ignore=shutil.ignore_patterns("*.pyc", "__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("galab-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for path in (source / "galab").rglob("*") if path.is_file()]
    assert held == {path.relative_to(source).as_posix() for path in files}
    # Unpacked it stands before everything else; what it needs is where it is for the tests.
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    script = (
        "import sys\nsys.path[:0] = [sys.argv.pop(1)]\nimport galab\nfrom galab.cli import main\n"
        "assert galab.__file__.startswith(sys.path[0]), galab.__file__\nmain()\n"
    )
    start = [sys.executable, "-c", script, tmp_path / "unpacked"]
    assert command(*start, "--version", cwd=tmp_path).startswith("galab, version ")
    run = ["run", "--task", "digits", "--hidden", "4", "--generations", "2", "--name", "one", "--quiet"]
    command(*start, *run, cwd=tmp_path)
    assert "test accuracy" in command(*start, "evaluate", "runs/one", cwd=tmp_path)
