"""Atari games as environments, out of the package ale-py: four grey frames of 84 x 84 are seen, the score is earned.

Frames are counted by the emulator, one for each picture of the console, 60 a second; an action lasts ``skip`` of them.
What is seen is what ale-py's own ``AtariVectorEnv`` shows, but for a few pixels that lie exactly between two shades.
That class is not used, because it loads the game anew for every seed, which takes as long as playing a thousand
frames, and because its episodes that are over go on playing.

Sources: V. Mnih et al., "Human-level control through deep reinforcement learning", Nature 518, 2015 (four frames in
grey, no-ops at the start); M. Machado et al., "Revisiting the Arcade Learning Environment", JAIR 61, 2018 (sticky
actions).
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError, closest
from galab.genome.random import Stream, scaled, words
from galab.tasks.episodes import ActionSpace

#: Frames that are seen at once, and their height and width.
STACK, SIDE = 4, 84
#: Width of the console's picture; its height is a property of the game.
WIDTH = 160
#: Both widths are multiples of 160 / PARTS and 84 / PARTS.
PARTS = math.gcd(WIDTH, SIDE)
#: An action that does nothing is number 0 in every game.
NOOP = 0
#: Coins of sticky actions are drawn so many at a time.
COINS = 4096
_NOOPS, _FIRST_COINS = 0, 1


def area_weights(size: int) -> NDArray[np.int64]:
    """How much of each pixel belongs to each of 84 equal parts of a line, as whole numbers.

    Args:
        size: pixels of the line.

    Returns:
        (size / g, 84 / g) for the greatest common divisor g of size and 84; the pattern repeats g times. Each column
        sums to size / g.
    """
    common = math.gcd(size, SIDE)
    pixels, parts = size // common, SIDE // common
    weights = np.zeros((pixels, parts), np.int64)
    for unit in range(pixels * parts):
        weights[unit // parts, unit // pixels] += 1
    return weights


class Shrinker:
    """Shrinks a picture to 84 x 84 by the mean of each area, in numbers that are exact on every machine.

    Args:
        height: of the pictures, which are 160 wide.
    """

    def __init__(self, height: int) -> None:
        rows, columns = area_weights(height), area_weights(WIDTH)
        self._bands = math.gcd(height, SIDE)
        #: Of each of the lines of a band, the lines of the picture that it is made of.
        self._lines = [[(line, int(row[line])) for line in np.flatnonzero(row)] for row in rows.T]
        self._columns = columns.astype(np.float32)
        self._area = np.float32(len(rows) * len(columns))
        self._largest = np.empty((height, WIDTH), np.uint8)
        self._wide = np.empty((self._bands, len(rows), WIDTH), np.uint16)
        self._flat = np.empty((self._bands, len(self._lines), WIDTH), np.uint16)
        self._numbers = np.empty((SIDE * PARTS, len(columns)), np.float32)
        self._sums = np.empty((SIDE * PARTS, len(columns.T)), np.float32)

    def shrink(self, pair: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The brighter of two pictures at each pixel, smaller.

        Args:
            pair: (2, height, 160) shades of grey.

        Returns:
            (84, 84) whole shades, the even one of two that are as near; overwritten by the next call.
        """
        np.maximum(pair[0], pair[1], out=self._largest)
        self._wide[...] = self._largest.reshape(self._wide.shape)
        for number, lines in enumerate(self._lines):
            flat = self._flat[:, number]
            flat[...] = 0
            for line, weight in lines:
                flat += self._wide[:, line] if weight == 1 else self._wide[:, line] * np.uint16(weight)
        # Sums stay below 2^24, so that they are exact in whatever order they are taken.
        self._numbers[...] = self._flat.reshape(self._numbers.shape)
        np.matmul(self._numbers, self._columns, out=self._sums)
        self._sums /= self._area
        np.rint(self._sums, out=self._sums)
        return self._sums.reshape(SIDE, SIDE)


class Console:
    """One emulator with its game, which plays one episode after another.

    Args:
        game: an :class:`Atari`.
        path: the game's file.

    Attributes:
        seen: (4, 84, 84) uint8, the oldest frame first.
        over: whether the episode is over.
        frames: of the episode so far, as the emulator counts them.
        colours: (2, height, 160, 3) the last two pictures in colour, if somebody looks at them.
    """

    def __init__(self, game: Atari, path: Any) -> None:
        self._ale = emulator(path)
        self._new = self._ale.cloneState(include_rng=True)
        self._game = game
        actions = self._ale.getLegalActionSet() if game.all_actions else self._ale.getMinimalActionSet()
        self.actions = list(actions)
        height, width = self._ale.getScreenDims()
        assert width == WIDTH
        self._pair = np.zeros((2, height, width), np.uint8)
        self._shrinker = Shrinker(height)
        self.colours: NDArray[np.uint8] | None = None
        self.seen = np.zeros((STACK, SIDE, SIDE), np.uint8)
        self.over, self.frames = False, 0

    def begin(self, start: int) -> None:
        """Begin the episode of a start, with its no-ops.

        The emulator is set back first, with its randomness, so that no game leaves a trace in the next one.
        """
        ale = self._ale
        ale.restoreState(self._new)
        ale.reset_game()
        for _ in range(self._game.noops_of(start)):
            ale.act(NOOP)
            if ale.game_over():
                ale.reset_game()
        self._start, self._held, self._coins = start, self.actions[NOOP], np.empty(0, np.bool_)
        self.over, self.frames = False, int(ale.getEpisodeFrameNumber())
        self._drawn = self.frames
        self.seen[...] = 0
        self._pair[1] = 0
        self._look(0)
        self._see()

    def show(self) -> None:
        """Keep the pictures in colour, too."""
        self.colours = np.zeros((*self._pair.shape, 3), np.uint8)

    def step(self, action: int) -> float:
        """Hold an action for ``skip`` frames.

        Returns:
            What was scored. What is seen changes only where the episode is not over afterwards.
        """
        ale, skip, score = self._ale, self._game.skip, 0
        wanted = self.actions[action]
        for frame in range(skip):
            if not self._game.sticky or not self._sticks(self.frames + frame):
                self._held = wanted
            score += ale.act(self._held)
            if ale.game_over() or self.frames + frame + 1 >= self._game.frames:
                self.over = True
                break
            if frame >= skip - 2:
                self._look(skip - 1 - frame)
        self.frames = int(ale.getEpisodeFrameNumber())
        if not self.over:
            self._see()
        return float(score)

    def _sticks(self, frame: int) -> bool:
        """Whether the action before this frame is repeated in it; frames are asked about in order."""
        while frame >= self._drawn + len(self._coins):
            self._drawn += len(self._coins)
            block = _FIRST_COINS + self._drawn // COINS
            raw = words(self._start, block, Stream.COINS, COINS)
            self._coins = scaled(raw, 1 << 32) < round(self._game.sticky * (1 << 32))
        return bool(self._coins[frame - self._drawn])

    def _look(self, which: int) -> None:
        self._ale.getScreenGrayscale(self._pair[which])
        if self.colours is not None:
            self._ale.getScreenRGB(self.colours[which])

    def _see(self) -> None:
        self.seen[:-1] = self.seen[1:]
        self.seen[-1] = self._shrinker.shrink(self._pair)


class AtariGame:
    """Episodes side by side, each on a console of its own; see :class:`galab.tasks.episodes.Game`.

    Args:
        consoles: one for each row, in which its episode has begun.
        give_back: what is called with the consoles in the end.
    """

    def __init__(self, consoles: list[Console], give_back: Callable[[list[Console]], None]) -> None:
        self._consoles, self._give_back = consoles, give_back
        self.observations = np.stack([console.seen for console in consoles])
        self.done = np.array([console.over for console in consoles])
        self.frames = np.array([console.frames for console in consoles], np.int64)
        self.failures: dict[int, str] = {}

    def step(self, actions: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Hold an action for ``skip`` frames in every episode that is not over; (N,) actions, (N,) rewards."""
        rewards = np.zeros(len(self.done))
        for row in np.flatnonzero(~self.done).tolist():
            console = self._consoles[row]
            rewards[row] = console.step(int(actions[row]))
            self.observations[row] = console.seen
            self.done[row], self.frames[row] = console.over, console.frames
        return rewards

    def close(self) -> None:
        """Give the consoles back; they serve other episodes then."""
        consoles, self._consoles = self._consoles, []
        self.done[:] = True
        self._give_back(consoles)


class Atari:
    """An Atari game; see :class:`galab.tasks.episodes.Environment`.

    Everything random comes from the start: the number of no-ops, and with ``sticky`` which actions are repeated. The
    reward is the game's score, and an episode is over when the game is, not when a life is lost.

    Args:
        game: such as ``frostbite``; ``MsPacman`` and ``ALE/MsPacman-v5`` are other names of ``ms_pacman``, and nothing
            but names.
        noops: the start of an episode is 1 to so many frames late; 0 for none.
        sticky: the chance that in a frame the last frame's action is taken once more.
        frames: after so many frames, the no-ops among them, an episode is over at the latest.
        all_actions: offer all 18 actions, even where some do nothing in this game.
        skip: frames that an action lasts.

    Attributes:
        name, identity, input_shape, actions, steps: see there.

    Raises:
        UsageError: ale-py is missing, or it has no such game, or an option is out of bounds.
    """

    def __init__(
        self,
        game: str,
        noops: int = 30,
        sticky: float = 0.0,
        frames: int = 20_000,
        all_actions: bool = False,
        skip: int = 4,
    ) -> None:
        self.name, self._path, version = find(game)
        _at_least(self.name, noops=(noops, 0), skip=(skip, 1), frames=(frames, noops + 1))
        if not 0 <= sticky < 1:
            raise UsageError(f"task '{self.name}': expected sticky from 0 to less than 1, got {sticky}; name a smaller")
        self.noops, self.sticky, self.frames = int(noops), float(sticky), int(frames)
        self.all_actions, self.skip = bool(all_actions), int(skip)
        self.identity = (
            f"atari {self.name}, noops {self.noops}, sticky {self.sticky!r}, frames {self.frames}, "
            f"{'all' if all_actions else 'minimal'} actions, skip {self.skip}, ale-py {version}"
        )
        self.input_shape = (STACK, SIDE, SIDE)
        self.steps = -(-self.frames // self.skip)
        self._free = [Console(self, self._path)]
        self.actions = ActionSpace(choices=(len(self._free[0].actions),))

    def noops_of(self, start: int) -> int:
        """The no-ops at the beginning of a start's episode, from 1 to ``noops``; 0 without any."""
        return 1 + int(scaled(words(int(start), _NOOPS, Stream.COINS, 1), self.noops)[0]) if self.noops else 0

    def play(self, starts: NDArray[np.int64]) -> AtariGame:
        """Begin the episodes of (N,) starts; consoles of earlier games are used again."""
        consoles = [self._free.pop() if self._free else Console(self, self._path) for _ in starts]
        for console, start in zip(consoles, starts, strict=True):
            console.begin(int(start))
        return AtariGame(consoles, self._free.extend)

    def frames_of(
        self, start: int, act: Callable[[NDArray[np.uint8]], NDArray[np.int64] | int]
    ) -> Iterator[NDArray[np.uint8]]:
        """One episode to look at, in colour.

        Args:
            start: of the episode.
            act: the action for observations (1, 4, 84, 84).

        Yields:
            (height, 160, 3) before each action; of the last two frames the brighter, as consoles flicker.
        """
        console = Console(self, self._path)
        console.show()
        console.begin(start)
        while not console.over:
            assert console.colours is not None
            yield console.colours.max(0)
            console.step(int(np.asarray(act(console.seen[None].copy())).reshape(-1)[0]))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_free": []}


def find(game: str) -> tuple[str, Any, str]:
    """A game's name as ale-py spells it, its file, and the version of ale-py.

    Raises:
        UsageError: see :class:`Atari`.
    """
    ale_py = _package(game)
    plain = re.sub(r"^ALE/|(NoFrameskip|Deterministic)?-v\d+$", "", game)
    with contextlib.redirect_stdout(io.StringIO()):  # it writes where its games lie, if that was changed
        names = ale_py.roms.get_all_rom_ids()
        known = {name.replace("_", ""): name for name in names if name not in _UNPLAYABLE}
        name = known.get(re.sub("[^a-z0-9]", "", plain.lower()))
        if name is None:
            near = closest(re.sub("[^a-z0-9_]", "", plain.lower()), sorted(known.values()))
            raise UsageError(
                f"expected a game of ale-py, such as frostbite or ms_pacman, got '{game}'; name another.{near}"
            )
        try:
            path = ale_py.roms.get_rom_path(name)
        except OSError as error:
            raise UsageError(
                f"expected the game '{name}' among the files of ale-py, got: {error}; install it anew, without "
                "ALE_ROMS_DIR"
            ) from error
    return name, path, ale_py.__version__


#: Files of ale-py for two players, which it does not play alone; it would end the program.
_UNPLAYABLE = ("combat", "joust", "maze_craze", "warlords")


def emulator(path: Any) -> Any:
    """A silent emulator that has loaded a game."""
    import ale_py

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.setInt("random_seed", 0)
    ale.loadROM(path)
    return ale


def _package(game: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ale_py
            import ale_py.roms
    except ImportError as error:
        raise UsageError(
            f"expected the package ale-py for --task atari({game}), found none; install it with pip install 'galab[rl]'"
        ) from error
    return ale_py


def _at_least(name: str, **values: tuple[int, int]) -> None:
    for option, (value, least) in values.items():
        if value < least or value != int(value):
            raise UsageError(
                f"task '{name}': expected {option} to be a whole number of at least {least}, got {value}; name another"
            )
