"""What strategies with one centre share: where it lives, what moves it, and what is recorded of a generation.

Any optimiser of ``torch.optim`` moves it along an estimated gradient, by name, with its state as plain data.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from galab.config.parsing import parse_call
from galab.config.run_config import RunConfig
from galab.config.schedules import parse_rate_schedule
from galab.config.spelling import OptionError
from galab.contracts import Cohort
from galab.errors import CheckpointError, closest
from galab.genome.weights import Layout

#: The largest score that a score log holds; plus infinity counts as it.
LARGEST = np.finfo(np.float32).max


def record_dtype(population: int) -> np.dtype[Any]:
    """A row of the score log: everything that is needed to repeat a generation, but for the seeds.

    ``planned`` is the number of generations that the run was meant to have then, on which schedules depend that end
    with the run; 0 where it had no such number, or nothing depends on it. A resumed run may have another.
    """
    return np.dtype([("generation", "<u4"), ("planned", "<u4"), ("fitness", "<f4", (population,))])


def record_of(generation: int, planned: int | None, fitness: NDArray[np.floating[Any]]) -> NDArray[np.void]:
    """One row of the score log.

    Args:
        generation: the generation that was scored.
        planned: see :func:`record_dtype`.
        fitness: (P,) of its members.
    """
    record = np.zeros(1, dtype=record_dtype(len(fitness)))
    record["generation"], record["planned"], record["fitness"] = generation, planned or 0, fitness
    return record


def as_recorded(fitness: NDArray[np.float64]) -> NDArray[np.float32]:
    """(P,) as the score log has it, so that a replay computes with the same numbers.

    What is too small for float32 is a failure like any other; what is too large, plus infinity as well, is its largest
    number.
    """
    with np.errstate(over="ignore"):
        recorded = fitness.astype(np.float32)
    return np.where(recorded == np.inf, LARGEST, recorded)


def refuse_infinite(fitness: NDArray[np.float32]) -> None:
    """Refuse a fitness of plus infinity where scores are averaged: it would be all that counts.

    Raises:
        UsageError: one is that large.
    """
    found = np.flatnonzero(fitness == LARGEST)
    if len(found):
        raise OptionError(
            "expected a fitness within +-3.4e38 where scores are averaged, got the best infinity, or nearly, of member "
            "{place}; bound the fitness at +-1e6, say, or take {shaping:centred-ranks}, where the best ranks first",
            place=found[0],
        )  # fmt: skip


class TorchCentre:
    """The centre as torch parameters, which an optimiser of torch moves along what is in their ``.grad``.

    Args:
        config: the hyperparameters, resolved.
        layout: names and shapes of the parameters.
        centre: (D,) float32 where the search begins.
        device: where the centre lives.
        members: of a generation.

    Attributes:
        generation: generations done.
        planned: generations that the run is meant to have; None where it has no end.
        parameters: name to the centre's tensor.
        record_dtype: a row of the score log.
    """

    def __init__(
        self, config: RunConfig, layout: Layout, centre: NDArray[np.float32], device: torch.device, members: int
    ) -> None:
        self.config = config
        self.generation = 0
        self.planned = config.generations
        self.layout = layout
        self.parameters = {
            name: nn.Parameter(torch.from_numpy(np.array(part)).to(device), requires_grad=False)
            for name, part in layout.split(np.array(centre, dtype=np.float32)).items()
        }
        self._optimizers = Optimizers(
            config.optimizer, list(self.parameters.values()), config.lr, config.weight_decay
        )
        self._lr = parse_rate_schedule(config.lr_schedule, "lr_schedule")
        self.record_dtype = record_dtype(members)
        self._asked: Cohort | None = None

    @property
    def centre(self) -> NDArray[np.float32]:
        """(D,) the centre as one vector, a copy."""
        return self._flat().cpu().numpy()

    def learning_rate(self, generation: int) -> float:
        """The learning rate of a generation's step."""
        return self.config.lr * self._lr.factor(generation, self.planned)

    def load_centre(self, centre: NDArray[np.float32]) -> None:
        """Put the centre somewhere.

        Args:
            centre: (D,) float32.
        """
        for name, part in self.layout.split(np.array(centre, dtype=np.float32)).items():
            self.parameters[name].data.copy_(torch.from_numpy(np.array(part)))

    def _flat(self) -> torch.Tensor:
        return torch.cat([value.detach().flatten() for value in self.parameters.values()])


#: These need a closure that computes the loss again, or gradients of another kind.
_UNFIT = ("optimizer", "lbfgs", "sparseadam")
#: Muon orthogonalises matrices; everything else has AdamW beside it, as its authors advise.
_MATRICES_ONLY, _BESIDE = "muon", "adamw"


def known_optimizers() -> dict[str, type[Optimizer]]:
    """The optimisers of this torch by name, in small letters."""
    kinds = {name.lower(): kind for name, kind in vars(torch.optim).items() if inspect.isclass(kind)}
    return {name: kind for name, kind in kinds.items() if issubclass(kind, Optimizer) and name not in _UNFIT}


def parse_optimizer(text: str) -> tuple[str, dict[str, Any]]:
    """``"adam(betas=(0.9, 0.99))"`` as a name and its arguments.

    Raises:
        UsageError: no such optimiser, or arguments that are not ``name=value`` with plain values.
    """
    kinds = known_optimizers()
    name = text.partition("(")[0].strip().lower()
    if name not in kinds:
        raise OptionError(
            "expected {optimizer} to be one of {known}, with arguments in brackets if wanted, such as "
            "sgd(momentum=0.9), got '{text}'.{near}",
            known=", ".join(kinds), text=text, near=closest(name, list(kinds)),
        )  # fmt: skip
    arguments = dict(parse_call(text, "{optimizer}").arguments)
    accepted = list(inspect.signature(kinds[name]).parameters)[1:]
    for argument in arguments:
        if argument not in accepted or argument in ("lr", "weight_decay", "params", "maximize"):
            instead = f"; use {{{argument}}}" if argument in ("lr", "weight_decay") else ""
            raise OptionError(
                f"expected {{optimizer}} {{name}} with its own arguments, got '{{argument}}'{instead}",
                name=name, argument=argument,
            )  # fmt: skip
    return name, arguments


class Optimizers:
    """One optimiser, or two where one is for matrices alone, over all parameters of a network.

    Args:
        text: see :func:`parse`.
        parameters: the centre's tensors, float32.
        learning_rate: the rate at the start.
        weight_decay: as this optimiser of torch understands it.

    Raises:
        UsageError: torch does not accept the arguments.
    """

    def __init__(
        self, text: str, parameters: Sequence[nn.Parameter], learning_rate: float, weight_decay: float
    ) -> None:
        name, arguments = parse_optimizer(text)
        shared: dict[str, Any] = {"lr": learning_rate}
        if "weight_decay" in inspect.signature(known_optimizers()[name]).parameters:
            shared["weight_decay"] = weight_decay
        elif weight_decay:
            raise OptionError(
                "expected an {optimizer} with weight decay, got {name}, which has none; use adamw", name=name
            )
        matrices = [parameter for parameter in parameters if parameter.dim() == 2]
        others = [parameter for parameter in parameters if parameter.dim() != 2]
        split = name == _MATRICES_ONLY
        wanted = [(name, matrices if split else list(parameters), arguments)]
        if split and others:
            wanted.append((_BESIDE, others, {}))
        try:
            self._optimizers = [
                known_optimizers()[kind](tensors, **shared, **options) for kind, tensors, options in wanted if tensors
            ]
        except (TypeError, ValueError) as error:
            raise OptionError(
                "expected arguments that {optimizer} {name} takes, got '{text}': {error}",
                name=name, text=text, error=str(error),
            ) from error  # fmt: skip
        self._parameters = list(parameters)

    def step(self, learning_rate: float) -> None:
        """Move the parameters by their ``.grad``."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()

    def state(self) -> list[dict[str, Any]]:
        """What the optimiser remembers of each parameter, in order: names to arrays and numbers."""
        found: list[dict[str, Any]] = []
        for parameter in self._parameters:
            kept = next((dict(o.state[parameter]) for o in self._optimizers if parameter in o.state), {})
            found.append({name: _plain(value) for name, value in kept.items()})
        return found

    def load_state(self, state: Sequence[dict[str, Any]], *, steps: int = 0) -> None:
        """Continue from :meth:`state`.

        Args:
            state: what was remembered.
            steps: how many steps were made until then, where that is known.

        Raises:
            CheckpointError: it is not what the optimiser keeps of these parameters; nothing is changed.
        """
        self._check(state, begun=steps > 0)
        for parameter, kept in zip(self._parameters, state, strict=True):
            if kept:
                own = {name: _tensor(value, parameter) for name, value in kept.items()}
                self._optimizer_of(parameter).state[parameter] = own

    def _optimizer_of(self, parameter: nn.Parameter) -> Optimizer:
        """The one that moves a parameter."""
        pairs = ((one, group) for one in self._optimizers for group in one.param_groups)
        return next(one for one, group in pairs if any(parameter is value for value in group["params"]))


    def _check(self, state: Sequence[dict[str, Any]], *, begun: bool) -> None:
        """Compare with what the optimiser keeps of a parameter of as many axes after a step, so of nearly none."""
        known: dict[tuple[Optimizer, int], dict[str, Any]] = {}
        for place, (parameter, kept) in enumerate(zip(self._parameters, state, strict=True)):
            owner = self._optimizer_of(parameter)
            if (owner, parameter.dim()) not in known:
                known[owner, parameter.dim()] = _kept_after_a_step(owner, parameter)
            expected = {name: _kind(value) for name, value in known[owner, parameter.dim()].items()}
            got = {name: _kind(value) for name, value in kept.items()}
            if (kept or begun) and got != expected:
                raise CheckpointError(
                    f"expected the state of {type(owner).__name__} for parameter {place} as {_words(expected)}, got "
                    f"{_words(got)}; use another checkpoint, or the version of torch that made this one"
                )


def _kept_after_a_step(owner: Optimizer, parameter: Tensor) -> dict[str, Any]:
    """What an optimiser remembers of a parameter of one number after a step along a gradient of 0."""
    one = nn.Parameter(torch.zeros((1,) * parameter.dim()), requires_grad=False)
    one.grad = torch.zeros_like(one)
    options = {name: value for name, value in owner.param_groups[0].items() if name != "params"}
    known = inspect.signature(type(owner)).parameters
    alone = type(owner)([one], **{name: value for name, value in options.items() if name in known})
    alone.step()
    return {name: _plain(value) for name, value in alone.state[one].items()}


def _kind(value: Any) -> str:
    """Type and number of axes of what an optimiser remembers."""
    return f"{value.dtype} of {value.ndim} axes" if isinstance(value, np.ndarray) else type(value).__name__


def _words(kinds: dict[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in sorted(kinds.items())) or "nothing"


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else value


def _tensor(value: Any, parameter: Tensor) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    tensor = torch.from_numpy(np.array(value))
    # A count of steps stays where torch makes it, on the CPU.
    return tensor.to(parameter.device) if tensor.dim() else tensor
