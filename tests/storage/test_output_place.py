"""Files that a person names: written whole, through links and into devices, and nothing else is replaced."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from galab.errors import RunFolderError, UsageError
from galab.storage.files import output_place, write_atomic

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, FIFOs and devices")


def written(path: Path, content: bytes = b"new", **how: bool) -> None:
    with output_place(path, **how) as place:
        place.write_bytes(content)


def test_a_file_is_made_with_its_folders_or_replaced_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.png"
    written(path)
    path.chmod(0o600)
    with output_place(path) as place:
        assert place.suffix == ".png"
        write_atomic(place, [b"newer"])
        assert path.read_bytes() == b"new"
    assert path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_whoever_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    def broken_off() -> None:
        with output_place(tmp_path / "out") as place:
            place.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("out", "old")]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_written_through_and_stays(tmp_path: Path, exists: bool) -> None:
    target, link, further = tmp_path / "target", tmp_path / "link", tmp_path / "further"
    link.symlink_to("target")
    further.symlink_to(link)
    if exists:
        target.write_text("old")
    written(further)
    assert target.read_bytes() == b"new"
    assert link.is_symlink() and further.is_symlink()  # noqa: PT018
    written(further, b"own", named=False)
    assert (further.is_symlink(), further.read_bytes(), target.read_bytes()) == (False, b"own", b"new")


def test_a_device_gets_the_bytes_and_stays_one(tmp_path: Path) -> None:
    link = tmp_path / "nothing"
    link.symlink_to("/dev/null")
    for path in (Path("/dev/null"), link):
        written(path)
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert link.is_symlink()
    assert list(tmp_path.iterdir()) == [link]
    with pytest.raises(RunFolderError, match="expected to write '/dev/full', got 'No space left on device'"):
        written(Path("/dev/full"))


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("reader", ["pipe", "file"])
def test_standard_output_by_its_name_is_written_in_turn_with_what_is_printed(
    tmp_path: Path, name: str, reader: str
) -> None:
    code = (
        "from galab.storage.files import output_place\nfrom pathlib import Path\nprint('before')\n"
        f"with output_place(Path({name!r})) as place:\n    place.write_text('new\\n')\nprint('after')"
    )
    with open(tmp_path / "out", "wb") as file:
        out = subprocess.PIPE if reader == "pipe" else file
        done = subprocess.run([sys.executable, "-c", code], stdout=out, check=True, timeout=60)
    said = done.stdout if reader == "pipe" else (tmp_path / "out").read_bytes()
    assert said == b"before\nnew\nafter\n"


def test_what_is_no_file_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.getcwd()
        os.chdir(tmp_path)  # the name of a socket has at most 100 letters
        try:
            listener.bind("door")
        finally:
            os.chdir(place)
        names = {"folder": "a folder", "pipe": "a FIFO", "door": "a socket", "circle": "lead in a circle"}
        for name, kind in names.items():
            (tmp_path / "link").unlink(missing_ok=True)
            (tmp_path / "link").symlink_to(name)
            for path in (tmp_path / name, tmp_path / "link"):
                with pytest.raises(UsageError, match=kind), output_place(path):
                    pytest.fail("it was not refused")
        assert sorted(one.name for one in tmp_path.iterdir()) == sorted([*names, "link"])


def test_an_error_names_the_file_and_not_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="expected to write '.*/file/out', got 'Not a directory'"):
        written(tmp_path / "file" / "out")
    with pytest.raises(RunFolderError, match="somewhere else"), output_place(tmp_path / "out"):
        raise RunFolderError("expected something somewhere else")
