"""Networks with several inputs and outputs: as one network after the other, whatever the structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import galab
from galab.api.nested import Nested
from galab.errors import GalabError, UsageError

B = 5


class Answer(NamedTuple):
    mean: Tensor
    spread: Tensor


class TwoHeads(nn.Module):
    """Takes numbers and words; answers as it is told to."""

    def __init__(self, shape: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.words, self.numbers, self.head = nn.Embedding(300, 4), nn.Linear(3, 4), nn.Linear(4, 2)
        self.shape = shape

    def forward(self, x: Tensor, ids: Tensor | None = None, *, scale: float = 1.0) -> Any:
        if isinstance(x, dict):
            x, ids = x["x"], x["more"][0]
        assert ids is not None
        assert ids.dtype == torch.int64
        hidden = torch.tanh(self.numbers(x) + self.words(ids).mean(1)) * scale
        return self.shape(self.head(hidden), hidden)


SHAPES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda y, h: y,
    "tuple": lambda y, h: (y, h),
    "dict": lambda y, h: {"y": y, "deep": [h.view(len(h), 2, 2), {"best": y.argmax(1)}]},
    "named tuple": Answer,
    "none": lambda y, h: (y, None),
}
X, IDS = torch.randn(B, 3), torch.randint(0, 300, (B, 6))
CALLS: dict[str, Callable[[Any], Any]] = {
    "two": lambda run: run(X, IDS),
    "by name": lambda run: run(X, ids=IDS, scale=0.5),
    "nested": lambda run: run({"x": X, "more": (IDS,)}),
}


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


@pytest.mark.parametrize("rank", [None, 1], ids=["dense", "low rank"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_several_inputs_and_outputs_are_as_those_of_each_member(shape: str, call: str, rank: int | None) -> None:
    population = galab.ESOptimizer(TwoHeads(SHAPES[shape]), population_size=6, rank=rank, sigma=0.2).ask()
    found = CALLS[call](population.outputs)
    with torch.no_grad():
        each = [CALLS[call](member) for member in population]
    for place, tensor in enumerate(tensors(found)):
        expected = torch.stack([tensors(one)[place] for one in each])
        assert tensor.dtype == expected.dtype
        torch.testing.assert_close(tensor, expected, atol=1e-5, rtol=1e-5)
    assert len(tensors(found)) == len(tensors(each[0]))
    assert not isinstance(found, tuple) or shape != "none" or found[1] is None


def test_it_is_computed_for_all_at_once() -> None:
    population = galab.ESOptimizer(TwoHeads(SHAPES["dict"]), population_size=6).ask()
    population.outputs(X, IDS)
    assert [name for name, _ in population._forwards.values()] == ["folded"]


def test_a_plain_input_may_have_several_answers_and_no_examples_give_none() -> None:
    class Pair(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            y = super().forward(x)
            return {"y": y, "sum": y.sum(1)}

    population = galab.ESOptimizer(Pair(3, 2), population_size=4).ask()
    found = population.outputs(X)
    assert (found["y"].shape, found["sum"].shape) == ((4, B, 2), (4, B))
    torch.testing.assert_close(found["sum"], found["y"].sum(2))
    assert population.outputs(X[:0])["y"].shape == (4, 0, 2)
    half = Pair(3, 2).half()
    halves = galab.ESOptimizer(half, population_size=4).ask().outputs(X.half())
    assert halves["y"].dtype == torch.float16


def test_a_network_is_trained_by_what_it_answers_in_parts() -> None:
    torch.manual_seed(1)
    model = TwoHeads(SHAPES["tuple"])
    goal = torch.tensor([1.0, -1.0])

    def fitness(population: Any) -> Tensor:
        return -((population.outputs(X, IDS)[0] - goal) ** 2).mean((1, 2))

    history = galab.Trainer(model, fitness, batched=True, population_size=64, sigma=0.1, learning_rate=0.5).train(60)
    assert history[-1]["fitness_mean"] > 0.3 * history[0]["fitness_mean"]


@pytest.mark.parametrize(
    ("shape", "given", "said"),
    [
        ("tuple", (X, IDS[:2]), r"expected inputs whose first axis counts the 5 examples, got inputs\[0\]\[1\] of"),
        ("tensor", (3.0,), "expected inputs with a tensor among them, got tuple"),
        ("tensor", (torch.tensor(1.0),), "first axis counts the examples, got inputs"),
        (lambda y, h: (y, h.T), (X, IDS), r"outputs whose first axis counts the 3 examples, got outputs\[1\] of shape"),
        (lambda y, h: {"a": y, "b": [h.sum()]}, (X, IDS), r"got outputs\['b'\]\[0\] of shape \(\);.* one by one"),
        (lambda y, h: None, (X, IDS), "expected outputs with a tensor among them, got NoneType"),
        ("tuple", (X, IDS + 2**60), r"expected whole numbers up to 2\^53 beside other tensors"),
    ],
)
def test_what_has_no_row_for_each_example_is_refused(shape: Any, given: Any, said: str) -> None:
    population = galab.ESOptimizer(TwoHeads(SHAPES.get(shape, shape)), population_size=4).ask()
    with pytest.raises(UsageError, match=said):
        population.outputs(*given)


def test_numbers_of_several_kinds_come_back_as_they_were() -> None:
    value = {"a": torch.arange(6).view(3, 2) + 2**52, "b": (torch.tensor([True, False, True]), torch.rand(3, 1, 2))}
    nested = Nested.of(value, "inputs")
    back = nested.part(nested.join(value))
    assert all(one.dtype == other.dtype and torch.equal(one, other) for one, other in
               zip(tensors(value), tensors(back), strict=True))  # fmt: skip
    with pytest.raises(UsageError, match="expected complex tensors beside complex ones alone"):
        Nested.of((torch.zeros(2), torch.zeros(2, dtype=torch.complex64)), "inputs")


class Items(torch.utils.data.Dataset[Any]):
    def __init__(self, one: Any) -> None:
        self.one = one

    def __len__(self) -> int:
        return 40

    def __getitem__(self, place: int) -> Any:
        return self.one, place % 2


@pytest.mark.parametrize("task", [galab.Classification, galab.Regression])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (({"a": np.ones((40, 2))}, np.arange(40) % 2), "dict"),
        (((np.ones((40, 2)), np.ones((40, 3))), np.arange(40) % 2), "tuple"),
        (Items({"a": torch.ones(2)}), "dict"),
        (Items((torch.ones(2), torch.ones(3))), "tuple"),
    ],
)
def test_a_task_says_what_to_do_with_several_inputs(task: Any, data: Any, kind: str) -> None:
    said = f"expected inputs that are one array, got a {kind} of several; .*ESOptimizer"
    with pytest.raises(UsageError, match=said):
        task.split("own", data)


def test_what_is_no_tensor_is_that_of_the_present_call() -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Tensor, by: Any) -> Tensor:
            return super().forward(x) * float(np.asarray(by).sum())

    population = galab.ESOptimizer(Scaled(3, 2), population_size=4).ask()
    one, two = np.zeros(5000), np.zeros(5000)
    one[2500], two[2500] = 1, 3  # whose shortened texts are the same
    torch.testing.assert_close(population.outputs(X, two), 3 * population.outputs(X, one))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda y, h: {"y": y, "n": 3}, r"nothing else that may differ, got int as outputs\['n'\]"),
        (lambda y, h: (y, h[:, : max(1, int(len(h) > 3))]), ""),
    ],
)
def test_numbers_among_outputs_are_refused(answer: Any, said: str) -> None:
    population = galab.ESOptimizer(TwoHeads(answer), population_size=4).ask()
    if said:
        with pytest.raises(UsageError, match=said):
            population.outputs(X, IDS)
    else:
        assert population.outputs(X, IDS)[1].shape == (4, B, 1)


def test_an_answer_whose_width_depends_on_the_examples_is_refused() -> None:
    population = galab.ESOptimizer(TwoHeads(lambda y, h: (y, h[:, : 1 + (len(h) > 3)])), population_size=4).ask()
    with pytest.raises(GalabError, match="outputs of the same types and shapes for all examples and members"):
        population.outputs(X, IDS)


def test_the_argument_may_be_called_inputs() -> None:
    population = galab.ESOptimizer(nn.Linear(3, 2), population_size=4).ask()
    assert torch.equal(population.outputs(inputs=X), population.outputs(X))


def test_many_examples_are_not_run_at_once_to_choose_a_way() -> None:
    seen = []

    class Counting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return super().forward(x)

    galab.ESOptimizer(Counting(3, 2), population_size=4).ask().outputs(torch.zeros(5000, 3))
    assert max(seen) <= 1024
