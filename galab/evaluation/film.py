"""Films: the pictures of one episode, and the return that is told of it."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from galab.errors import GalabError, UsageError
from galab.evaluation.episode_evaluator import PLAIN, EpisodeRules
from galab.evaluation.policies import LayeredPolicies, Policies, one_blas_thread, policies_of
from galab.tasks.episodes import Act, DrawsEpisodes, Environment, EpisodeTask, Game

#: Pictures in a strip, and the pixels between two of them.
IN_STRIP, GAP = 8, 4
#: Pictures narrower than this are drawn twice as large: consoles have 160 pixels.
NARROW = 200


class Reel:
    """Pictures (H, W, 3) of one size, packed: as they are, a thousand of them would fill a gigabyte."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, place: int) -> Image.Image:
        content = zlib.decompress(self._packed[place])
        return Image.fromarray(np.frombuffer(content, np.uint8).reshape(self._shape))

    def append(self, picture: NDArray[np.uint8]) -> None:
        """Add a picture; one of another size than the first is brought to that."""
        self._shape = self._shape or picture.shape
        if picture.shape != self._shape:
            picture = np.array(Image.fromarray(picture).resize((self._shape[1], self._shape[0])))
        self._packed.append(zlib.compress(picture.tobytes(), 1))

    def size(self, scale: float = 1.0) -> tuple[int, int]:
        """Width and height of the pictures when they are shown."""
        factor = scale * (2 if self._shape[1] < NARROW else 1)
        return max(1, round(self._shape[1] * factor)), max(1, round(self._shape[0] * factor))

    def shown(self, place: int, scale: float = 1.0) -> Image.Image:
        """A picture in the size in which it is shown; pixels stay sharp where they become whole squares."""
        picture, size = self[place], self.size(scale)
        if size == picture.size:
            return picture
        whole = size[0] % picture.width == 0 and size[1] % picture.height == 0
        return picture.resize(size, Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS)

    def strip(self, scale: float = 1.0, *, widest: int | None = None) -> Image.Image:
        """Up to eight pictures side by side, from the first to the last.

        Args:
            scale: of the pictures.
            widest: how wide one is at most.
        """
        width, _ = self.size(scale)
        if widest is not None and width > widest:
            scale *= widest / width
        places = np.unique(np.rint(np.linspace(0, len(self) - 1, IN_STRIP)).astype(int)).tolist()
        width, height = self.size(scale)
        whole = Image.new("RGB", (len(places) * (width + GAP) - GAP, height), "white")
        for column, place in enumerate(places):
            whole.paste(self.shown(place, scale), (column * (width + GAP), 0))
        return whole


@dataclass(frozen=True, slots=True)
class Film:
    """One episode.

    Attributes:
        reel: its pictures.
        total: the return of the steps that are shown.
        steps: how many they are.
        ended: whether the episode is over then.
        apart: the step from which on the environment that draws showed something else than the one that counts, though
            both began with the same start; None where they agree.
    """

    reel: Reel
    total: float
    steps: int
    ended: bool
    apart: int | None


class _Policy:
    """Acts in an episode that is played beside the one that is drawn, and adds up its rewards.

    Environments that draw tell no rewards, and this one is that which evaluation plays.

    Args:
        policies: of the one member.
        environment: where it plays.
        game: with this episode alone.
        row: of the answers to take.
        rows: how often to ask for one.
        start: (1,) of the episode.
        sampled: whether actions are drawn.
    """

    def __init__(
        self, policies: Policies, environment: Environment, game: Game, row: int, rows: int,
        start: NDArray[np.int64], *, sampled: bool,
    ) -> None:  # fmt: skip
        self._policies, self._environment, self._game = policies, environment, game
        self._start, self._sampled = start, sampled
        self._row, self._rows = row, rows
        self.total, self.steps = 0.0, 0
        self.apart: int | None = None

    @property
    def over(self) -> bool:
        """Whether the episode that counts is over."""
        return bool(self._game.done[0])

    def act(self, seen: NDArray[Any]) -> NDArray[Any]:
        """The next action (1, ...), by what is seen in the game that counts."""
        game, environment = self._game, self._environment
        if self.apart is None and (self.over or not np.array_equal(seen, game.observations)):
            self.apart = self.steps
        shown = game.observations.reshape(1, 1, *environment.input_shape)
        outputs = self._policies.answer(shown.repeat(self._rows, axis=1))[0, self._row : self._row + 1]
        if not np.isfinite(outputs).all():
            raise GalabError(
                f"expected actions of the network in step {self.steps + 1}, got outputs that are not finite; film "
                "another run or checkpoint"
            )
        if self._sampled:
            actions = environment.actions.sampled(outputs, self._start, self.steps)
        else:
            actions = environment.actions.greedy(outputs)
        self.total += float(game.step(actions)[0])
        self.steps += 1
        if game.failures:
            raise GalabError(
                f"expected an episode to look at, got an environment that failed in step {self.steps}: "
                f"{game.failures[0]}; choose another episode"
            )
        return actions


def film(
    module: nn.Module, weights: Mapping[str, Tensor], task: EpisodeTask, starts: NDArray[np.int64], place: int, *,
    steps: int, rules: EpisodeRules = PLAIN,
) -> Film:  # fmt: skip
    """Play one episode and keep its pictures.

    It is the episode that :class:`galab.evaluation.episode_evaluator.EpisodeEvaluator` scores among those of all the
    starts, on the processor: to the bit where the network is of linear layers. Of others the last bits of an output
    may differ, because they answer one observation at a time here.

    Args:
        module: the network.
        weights: its parameters by name, float32.
        task: the environment.
        starts: (E,) of all episodes that are scored.
        place: which of them to look at.
        steps: to look at, at most.
        rules: how it is played.

    Raises:
        UsageError: the environment draws no pictures.
        GalabError: the environment fails, or the network's outputs are not finite.
    """
    environment = task.environment
    if not isinstance(environment, DrawsEpisodes):
        raise UsageError(
            f"expected an environment that draws pictures, got '{environment.name}', which has no method "
            "frames_of(start, act); give it one"
        )
    limit = min(rules.steps or environment.steps, environment.steps)
    policies = policies_of(module, list(weights), torch.device("cpu"), task.train.inputs)
    policies.take({name: value.numpy()[None] for name, value in weights.items()})
    # A product of matrices rounds by the number of its rows, so layers get as many as in evaluation.
    row, rows = (place, len(starts)) if isinstance(policies, LayeredPolicies) else (0, 1)
    reel, game = Reel(), environment.play(starts[place : place + 1])
    try:
        if game.failures:
            raise GalabError(f"expected an episode to look at, got an environment that failed: {game.failures[0]}")
        start, sampled = starts[place : place + 1], rules.act == "sample"
        policy = _Policy(policies, environment, game, row, rows, start, sampled=sampled)
        most = min(steps, limit)
        with one_blas_thread():
            _look(environment, int(starts[place]), policy.act, reel, lambda: policy.over or policy.steps >= most)
        return Film(reel, policy.total, policy.steps, policy.over or policy.steps >= limit, policy.apart)
    finally:
        game.close()


def _look(environment: DrawsEpisodes, start: int, act: Act, reel: Reel, enough: Callable[[], bool]) -> None:
    """Let an environment draw an episode until there is enough.

    Raises:
        UsageError: it cannot even draw the beginning.
    """
    frames: Any = environment.frames_of(start, act)
    with contextlib.closing(frames):
        try:
            for picture in frames:
                reel.append(picture)
                if enough():
                    return
        except GalabError as error:
            if len(reel):
                raise
            raise UsageError(str(error)) from error
