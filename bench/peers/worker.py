"""The peers' side: one JSON request a line on stdin, one JSON answer a line on stdout, until stdin closes.

``{"kind": "eggroll", "library": name, "problem": path, "images": 512, "population": 4096, "rank": 1, "precision":
"float32"}`` does one generation (noise, evaluation, update or selection) and answers ``{"milliseconds": x, "ok":
true}``; compiling and warming up lie before the clock. Under ``"kind": "genetic"`` the population is the children, and
the rank has no meaning. With ``"check": true`` the answer is ``{"fitness": x, "ok": true}``: of the unperturbed
parameters. What fails is answered ``{"error": sentence}``, and the next request is read. Run as ``python -m
peers.worker``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import clock
from .libraries import MODULES
from .problem import Problem

#: Generations done before the first that is measured: the first compiles, the second finds memory mapped.
WARM_UP = 2


class Worker:
    """Answers requests; what a library has compiled is kept for its next request.

    Args:
        capacity: how many (kind, library, problem, population, rank, precision) are kept ready at once, the newest.
    """

    def __init__(self, capacity: int = 8) -> None:
        self._capacity = capacity
        self._ready: dict[tuple[Any, ...], Callable[[], object]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; a library's failure is an answer too."""
        try:
            return self._answer(request) | {"ok": True}
        except Exception as error:
            lines = str(error).splitlines() or [""]
            return {"error": f"{request.get('library')}: {type(error).__name__}: {lines[0]}"}

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        name, path, precision = request["library"], Path(request["problem"]), request["precision"]
        modules = MODULES[request["kind"]]
        if name not in modules:
            raise ValueError(f"expected a library of {', '.join(modules)}, got {name!r}")
        module = importlib.import_module(f".{modules[name]}", __package__)
        if request.get("check"):
            return {"fitness": module.centre(_problem(path, request), precision)}
        key = (request["population"], request["rank"], precision, request["kind"], name, path)
        if key not in self._ready:
            if len(self._ready) == self._capacity:
                del self._ready[next(iter(self._ready))]
                gc.collect()
            step = module.make(_problem(path, request), *key[:3])
            for _ in range(WARM_UP):
                step()
            self._ready[key] = step
        else:
            step = self._ready[key]
        start = clock.now()
        step()
        return {"milliseconds": (clock.now() - start) * 1e3}


def _problem(path: Path, request: dict[str, Any]) -> Problem:
    problem = Problem.load(path)
    if len(problem.inputs) != request["images"]:
        raise ValueError(f"expected {request['images']} images in {path}, got {len(problem.inputs)}")
    return problem


def main() -> None:
    """Answer until stdin closes."""
    # Answers go to the stdout that we were given; what libraries print goes nowhere.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.environ["JAX_PLATFORMS"] = "cpu"
    worker = Worker()
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
