"""A film of the champion's episode, as an animated GIF or as a strip of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from galab.errors import UsageError
from galab.evaluation.episode_evaluator import EpisodeRules
from galab.evaluation.film import IN_STRIP, Film, Reel, film
from galab.saved_runs.saved_run import SavedRun
from galab.storage.files import output_place
from galab.tasks.episodes import EpisodeTask
from galab.training.build import own_threads

ENDINGS = (".gif", ".png")
#: Steps that are looked at where nobody says how many.
STEPS = 500
_MOST_STEPS, _FASTEST, _SMALLEST, _LARGEST = 20_000, 50, 0.1, 8.0
#: All pixels of a film: Pillow holds a byte of each.
_MOST_PIXELS = 10**9
#: Milliseconds for which the last picture stays before the film begins again.
_LAST = 1000
#: Pictures from which the colours of a film are taken.
_LOOKED_AT = 32


def watch(
    saved: SavedRun, output: Path, *, episode: int = 0, split: str = "test", fps: int = 30, steps: int = STEPS,
    scale: float = 1.0,
) -> Film:  # fmt: skip
    """Film one episode of the champion.

    Args:
        saved: a run of episodes.
        output: the file to write, .gif for a film or .png for up to eight pictures side by side; a link is written
            through, a device gets the bytes.
        episode: which one, from 0.
        split: ``test`` or ``validation``, whose episodes are counted.
        fps: pictures of a film in a second.
        steps: to look at, at most.
        scale: how much larger pictures are made, beside the doubling of those that are narrower than 200 pixels.

    Returns:
        The film, which was written.

    Raises:
        UsageError: the run is not of episodes, its environment draws no pictures, or an argument is out of its range.
        GalabError: the environment fails, or the network's outputs are not finite.
    """
    ending = output.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(
            f"expected a file that ends in .gif (a film) or .png (up to {IN_STRIP} pictures side by side), got "
            f"'{output}'; name another"
        )
    for name, value, least, most in (
        ("fps", fps, 1, _FASTEST), ("steps", steps, 1, _MOST_STEPS), ("scale", scale, _SMALLEST, _LARGEST),
    ):  # fmt: skip
        if not least <= value <= most:
            raise UsageError(f"expected --{name} from {least} to {most}, got {value}; name another")
    with output_place(output) as place:
        found = film_of(saved, episode=episode, split=split, steps=steps)
        if ending == ".png":
            found.reel.strip(scale).save(place, format="PNG")
        else:
            _write(found.reel, place, fps, scale)
    return found


@own_threads()
def film_of(saved: SavedRun, *, episode: int = 0, split: str = "test", steps: int = STEPS) -> Film:
    """The champion's episode in pictures; arguments and errors are those of :func:`watch`."""
    task = saved.task
    if not isinstance(task, EpisodeTask):
        raise UsageError(
            f"{saved.path}: expected a run of episodes, such as --task cartpole, got one on '{task.name}'; name a run "
            "whose task is an environment"
        )
    starts = getattr(task, split).targets.numpy()
    if not 0 <= episode < len(starts):
        raise UsageError(
            f"expected --episode from 0 to {len(starts) - 1} of the {split} episodes, got {episode}; name another"
        )
    torch.set_num_threads(saved.config.threads)
    weights = saved.tensors(saved.member())
    rules = EpisodeRules.of(saved.config)
    return film(saved.module, weights, task, starts, episode, steps=steps, rules=rules)


def _write(reel: Reel, place: Path, fps: int, scale: float) -> None:
    """Write a film that begins again and again."""
    width, height = reel.size(scale)
    if (pixels := width * height * len(reel)) > _MOST_PIXELS:
        raise UsageError(
            f"expected a film of at most {_MOST_PIXELS:,} pixels, got {pixels:,}: {len(reel):,} pictures of {width} x "
            f"{height}; name fewer --steps or a smaller --scale"
        )
    colours = _palette([reel[number] for number in range(0, len(reel), -(-len(reel) // _LOOKED_AT))])

    def pictures() -> Iterator[Image.Image]:
        for number in range(len(reel)):
            yield reel.shown(number, scale).quantize(palette=colours, dither=Image.Dither.NONE)

    # A GIF counts hundredths of a second: rounding the end of each picture keeps the pace of the whole.
    ends = [round(100 * number / fps) for number in range(len(reel) + 1)]
    shown = [10 * (ends[number + 1] - ends[number]) for number in range(len(reel))]
    shown[-1] += _LAST
    first, *others = pictures()
    first.save(place, format="GIF", save_all=True, append_images=others, duration=shown, loop=0, optimize=False)


def _palette(pictures: list[Image.Image]) -> Image.Image:
    """The colours of pictures of one size: one palette for the whole film, so that nothing flickers."""
    width, height = pictures[0].size
    montage = Image.new("RGB", (width, height * len(pictures)))
    for number, picture in enumerate(pictures):
        montage.paste(picture, (0, number * height))
    counted = montage.getcolors(256)
    if counted is None:  # there are more
        return montage.quantize(256, dither=Image.Dither.NONE)
    exact = Image.new("P", (1, 1))
    exact.putpalette(bytes(np.array([colour for _, colour in counted], np.uint8)))
    return exact
