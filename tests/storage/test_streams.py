"""Standard streams that outlive their readers, each in a process of its own, which has none of a test's streams."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="closes descriptors as a shell does")
BEGIN = "import os, sys\nfrom galab.storage.streams import lost_output, outlive_readers\noutlive_readers()\n"


def program(code: str, redirected: str = "") -> subprocess.CompletedProcess[str]:
    """A program that begins as galab does, with its descriptors redirected as a shell writes it."""
    line = ["sh", "-c", f'exec "$0" "$@" {redirected}', sys.executable, "-c", BEGIN + code]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


def test_what_is_read_arrives_as_it_was_written() -> None:
    done = program("print('one', flush=True); print('two', file=sys.stderr); print('three')\nassert not lost_output()")
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\nthree\n", "two\n")


def test_a_closed_descriptor_is_never_that_of_a_file(tmp_path: Path) -> None:
    code = f"""
held = [open({str(tmp_path / "log")!r} + str(number), "w") for number in range(3)]
os.write(1, b"a library")
os.write(2, b"a library")
print("lost"); print("lost", file=sys.stderr, flush=True)
assert [one.stream for one in lost_output()] == ["standard output", "standard error"]
assert all(one.reader_left for one in lost_output())
"""
    assert program(code, "<&- >&- 2>&-").returncode == 0
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["", "", ""]


def test_a_reader_that_left_is_noted_once_and_nothing_is_raised_afterwards() -> None:
    code = """
reading, writing = os.pipe()
os.dup2(writing, 1)
os.close(reading)
print("one", flush=True)
(first,) = lost_output()
for _ in range(3):
    print("two", flush=True)
os.write(1, b"a library")
assert lost_output() == (first,)
assert (first.stream, first.reason, first.reader_left) == ("standard output", "Broken pipe", True)
"""
    done = program(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_no_reader_that_left() -> None:
    done = program("print('lost', flush=True); sys.exit(7 if lost_output()[0].reader_left else 0)", ">/dev/full")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_the_terminal_has_no_letters_for_is_shown_with_escapes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + "print('caf\\xe9 \\u2192')"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"caf\xe9 \\u2192\n")
