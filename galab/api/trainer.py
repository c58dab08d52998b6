"""Training a module by an evolution strategy, given a Python function that scores it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from torch import nn

from galab.api.arguments import check_choice, check_function, check_whole
from galab.api.evolution import ESOptimizer, Told
from galab.api.population import Population
from galab.api.scores import kind_of_failure, number
from galab.api.workers import Workers
from galab.errors import NoViableChildError, UsageError

logger = logging.getLogger("galab")

#: Called with one entry of the history.
Callback = Callable[[dict[str, Any]], Any]


class Trainer:
    """Trains a module of yours by a fitness function of yours.

    Example::

        def fitness(model):
            return -float(torch.nn.functional.mse_loss(model(x), y))

        history = galab.Trainer(model, fitness, population_size=256, sigma=0.05).train(100)

    Args:
        model: any ``nn.Module``. **It is changed**: when :meth:`train` ends, it holds the trained weights.
        fitness_fn: scores one network, higher is better; with ``batched``, a whole
            :class:`galab.api.evolution.Population`, of which it gives (N,) numbers. What it raises for some
            members counts as their failure.
        batched: whether ``fitness_fn`` takes the population; its ``outputs(inputs)`` is much faster than a loop.
        workers: processes that share a generation, see :class:`galab.Workers`; 0 computes in this one.
        options: those of :class:`galab.ESOptimizer`; the training ends where one of its ``callbacks`` gives True.

    Attributes:
        optimizer: the search.
        history: what :meth:`train` has given so far, over all its calls.
    """

    def __init__(
        self,
        model: nn.Module,
        fitness_fn: Callable[[Any], Any],
        *,
        batched: bool = False,
        workers: int = 0,
        **options: Any,
    ) -> None:
        check_function("fitness_fn", fitness_fn, "a function of a network")
        check_choice("batched", batched, (True, False))
        if workers != 0:
            check_whole("workers", workers, 0)
        if batched and workers:
            raise UsageError(
                f"expected batched=True without workers, as all members are computed together, got workers={workers}; "
                "drop one of them"
            )
        self._workers = Workers(fitness_fn, workers) if workers else None
        self.optimizer = ESOptimizer(model, **options)
        self.history: list[dict[str, Any]] = []
        self._model = model
        self._fitness = fitness_fn
        self._batched = batched
        self._said: set[str] = set()

    def train(self, generations: int, *, callback: Callback | None = None) -> list[dict[str, Any]]:
        """Train, and put the weights that were reached into the model.

        The model gets them also where an error or Ctrl-C ends the training early. Called again, training goes on.

        Args:
            generations: how many more.
            callback: called with each entry of the history; the training ends where it gives True.

        Returns:
            The history of this call, a dict for each generation: ``generation``, ``fitness_mean``, ``fitness_best``,
            ``fitness_std``, ``failures``, ``seconds``.

        Raises:
            NoViableChildError: not one member got a finite fitness; if ``fitness_fn`` raised, its error is named.
        """
        check_whole("generations", generations, 0)
        if callback is not None:
            check_function("callback", callback, "a function of an entry of the history")
        history: list[dict[str, Any]] = []
        reason = ""
        try:
            for _ in range(generations):
                began = time.perf_counter()
                told = self._generation()
                history.append(
                    {
                        "generation": told.generation,
                        "fitness_mean": told.fitness_mean,
                        "fitness_best": told.fitness_best,
                        "fitness_std": told.fitness_std,
                        "failures": told.failures,
                        "seconds": time.perf_counter() - began,
                    }
                )
                self.history.append(history[-1])
                answer = callback(history[-1]) if callback is not None else None
                if self.optimizer.stopped is not None or (isinstance(answer, bool) and answer):
                    break
            reason = self.optimizer.stopped or f"{len(history)} generations done"
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            if self._workers is not None:
                self._workers.close()
            self.optimizer.write_to(self._model)
            self.optimizer.end(reason)
            logger.info("the model has the weights of generation %d", self.optimizer.generation)
        return history

    def best_member(self) -> nn.Module:
        """See :meth:`ESOptimizer.best_member`."""
        return self.optimizer.best_member()

    def _generation(self) -> Told:
        population = self.optimizer.ask()
        if self._batched:
            return self.optimizer.tell(self._fitness(population))
        if self._workers is not None:
            scores = self._workers(population)
            return self.optimizer.tell(scores, self._workers.failures)
        scores, errors = self._scored(population)
        if len(errors) == len(population):
            first = errors[0]
            raise NoViableChildError(
                f"generation {self.optimizer.generation + 1}: fitness_fn raised for every one of {len(population)} "
                f"members, first {_named(first)}; the model has not moved: correct fitness_fn"
            ) from first
        return self.optimizer.tell(scores)

    def _scored(self, population: Population) -> tuple[list[float], dict[int, Exception]]:
        scores, errors = [], {}
        for place, member in enumerate(population.each()):
            try:
                scores.append(number(self._fitness(member), place, "member"))
            except Exception as error:  # whatever is wrong with one member, the others count
                scores.append(float("nan"))
                errors[place] = error
                reason = _named(error)
                if (kind := kind_of_failure(reason)) not in self._said:
                    self._said.add(kind)
                    logger.warning("fitness_fn raised %s: a failure; this reason is told once", reason)
        return scores, errors


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
