"""galab's side of the comparison: other people's libraries as a process that does one generation when asked.

    with Peers() as peers:
        peers.load(Problem(...))
        peers.check("hyperscale")                                        # fitness of the unperturbed parameters
        peers.generation("hyperscale", population=4096, precision="bfloat16")    # milliseconds

The worker computes only between a request and its answer, so galab's generations in between have the machine to
themselves. It inherits this process's processors (``taskset``), not the number of threads that torch was told.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError

from .libraries import BFLOAT16, MODULES
from .problem import Problem

_BENCH = Path(__file__).resolve().parents[1]
_PYTHON = _BENCH.parent / ".venv-peers" / "bin" / "python"
#: Written when all has been installed.
_STAMP = _PYTHON.parents[1] / ".installed"


def available() -> bool:
    """Whether ``make bench-peers`` has been run."""
    return _STAMP.exists()


def check_available() -> None:
    """Raise a UsageError that says what to do if ``make bench-peers`` has not been run."""
    if not available():
        raise UsageError(
            f"expected other people's libraries in {_STAMP.parent}, got none installed; run make bench-peers first"
        )


def libraries(kind: str = "eggroll", precision: str = "float32") -> tuple[str, ...]:
    """The libraries of a kind that compute in this precision."""
    return tuple(name for name in MODULES[kind] if precision == "float32" or name in BFLOAT16)


def updates(**given: Any) -> dict[str, NDArray[np.float64]]:
    """Updates of SNES and PGPE by other people's libraries; for what is given and found see ``updates.py``.

    Raises:
        UsageError: if the environment is absent.
        CalledProcessError: a library failed.
    """
    return _answered("updates", given)


def minima(**given: Any) -> dict[str, NDArray[np.float64]]:
    """Minima that other people's libraries find; for what is given and found see ``minima.py``.

    Raises:
        UsageError: if the environment is absent.
        CalledProcessError: a library failed.
    """
    return _answered("minima", given)


def episode_speed(hidden: int, episodes: int, members: int = 64) -> float:
    """Steps a second of EvoTorch's GymNE on CartPole, with so many units in its hidden layer.

    Raises:
        UsageError: if the environment is absent.
        CalledProcessError: the library failed.
    """
    given = {"hidden": hidden, "episodes": episodes, "members": members}
    return float(_answered("episodes", given)["speed"])


def _answered(module: str, given: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """What a module of the peers' side writes for arrays that it reads."""
    check_available()
    with tempfile.TemporaryDirectory(prefix="galab-peers-") as folder:
        source, target = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(source, **given)
        subprocess.run(
            [_PYTHON, "-m", f"peers.{module}", source, target],
            cwd=_BENCH,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            check=True,
        )
        with np.load(target) as found:
            return dict(found)


class Peers:
    """A worker in the peers' environment, from ``with`` to its end.

    Args:
        kind: of search, ``eggroll`` or ``genetic``.
        patience: seconds to wait for an answer; the first of a library compiles.

    Raises:
        UsageError: if the environment is absent.
    """

    def __init__(self, kind: str = "eggroll", *, patience: float = 900.0) -> None:
        check_available()
        self._kind = kind
        self._patience = patience
        self._folder = tempfile.TemporaryDirectory(prefix="galab-peers-")
        self._problems = 0
        self._loaded: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Peers:
        self._process = subprocess.Popen(
            [_PYTHON, "-m", "peers.worker"],
            cwd=_BENCH,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._folder.cleanup()

    def load(self, problem: Problem) -> None:
        """Make this the problem of the requests that follow."""
        self._problems += 1
        path = Path(self._folder.name) / f"problem{self._problems}.npz"
        problem.save(path)
        self._loaded = {"problem": str(path), "images": len(problem.inputs)}

    def check(self, library: str, precision: str = "float32") -> float:
        """Fitness of the unperturbed parameters: minus the mean cross-entropy."""
        return float(self._ask(library=library, precision=precision, check=True)["fitness"])

    def generation(self, library: str, *, population: int, rank: int = 1, precision: str = "float32") -> float:
        """Milliseconds of one whole generation, compiled and warmed up before; full-rank libraries ignore ``rank``."""
        answer = self._ask(library=library, population=population, rank=rank, precision=precision)
        return float(answer["milliseconds"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise UsageError("expected a running worker, got none; use Peers in a with statement")
        if not self._loaded:
            raise UsageError("expected a problem, got none; call load first")
        try:
            process.stdin.write(json.dumps({"kind": self._kind} | request | self._loaded) + "\n")
            process.stdin.flush()
            # One answer a request, so nothing of it can already lie in the buffer of stdout.
            answered, _, _ = select.select([process.stdout], [], [], self._patience)
            line = process.stdout.readline() if answered else None
        except BrokenPipeError:
            line = ""
        if not line:
            self._stop()
            how = f"none within {self._patience:g} seconds" if line is None else f"its end with {process.returncode}"
            raise RuntimeError(f"expected an answer of {request['library']}, got {how} (-9: memory ran out)")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _stop(self) -> None:
        """End the worker: at once, if it is in the middle of something."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
