"""``galab watch`` and the episode in ``galab report``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def run(galab: Any) -> Path:
    """A small run of episodes."""
    galab(
        "run", "--task", "cartpole(steps=40,validation=1,test=2)", "--parents", 2, "--children", 4, "--generations", 1,
        "--episodes", 1, "--seed", 5, "--threads", 1, "--name", "first", "--quiet",
    )  # fmt: skip
    return Path("runs/first")


def test_a_film_is_written_and_told_in_one_line(galab: Any, run: Path) -> None:
    said = galab("watch", run, "-o", "film.gif", "--episode", 1)
    found = re.fullmatch(r"return (\d+), (\d+) steps: film\.gif\n", said.out)
    assert found
    assert found[1] == found[2]  # each step of a pole that stands is worth 1
    with Image.open("film.gif") as film:
        assert film.n_frames == int(found[2]) + 1
    said = galab("watch", next(run.glob("checkpoints/*.pkl")), "-o", "film.png", "--steps", 2, "--scale", 0.5)
    assert said.out == "return 2, 2 steps of an episode that goes on (--steps shows more): film.png\n"
    with Image.open("film.png") as strip:
        assert strip.size == (608, 150)


def test_links_are_written_through_and_devices_stay(galab: Any, sentence: Any, run: Path) -> None:
    Path("link.png").symlink_to("target.png")
    galab("watch", run, "-o", "link.png")
    assert Path("link.png").is_symlink()
    assert Path("target.png").is_file()
    Path("target.png").unlink()
    Path("target.png").symlink_to("/dev/null")
    said = galab("watch", run, "-o", "link.png")
    assert said.out == ""
    assert said.err.endswith("steps: link.png\n")
    assert Path("/dev/null").is_char_device()
    assert "name another" in sentence("watch", run, "-o", "film.txt", code=2)
    assert not Path("film.txt").exists()


def test_a_run_of_examples_is_refused(sentence: Any, evolve: Any) -> None:
    assert "expected a run of episodes" in sentence("watch", evolve(), "-o", "film.gif", code=2)
    assert not Path("film.gif").exists()


def test_a_report_shows_the_episode(galab: Any, run: Path) -> None:
    galab("report", run, "-q", "-o", "report.html")
    text = Path("report.html").read_text()
    said = re.search(r"<h2>Episode</h2>\s*<p>(.*)</p>\s*<img src=\"data:image/png;base64,\w", text)
    assert said
    assert re.fullmatch(r"The first test episode: return \d+ in \d+ steps\.", said[1])
