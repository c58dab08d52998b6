"""Scores of members: right, the same in any company, and failing alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from galab.contracts import Examples
from galab.evaluation.dense_evaluator import Evaluator
from galab.genome.weights import Phenotype, to_float
from galab.models import MLP, ConvPolicy

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SHAPES = {"mlp": (6,), "wide": (64,), "conv": (1, 8, 8), "skip": (6,)}


class Skip(nn.Module):
    """Cannot be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, inputs):
        return self.last(inputs + self.first(inputs).tanh())


def network(name: str = "mlp") -> nn.Module:
    made = {
        "mlp": lambda: MLP((6,), 5, hidden=(7,)),
        "wide": lambda: MLP((64,), 5, hidden=(33,)),
        "conv": lambda: ConvPolicy((1, 8, 8), 5, hidden=(9,)),
        "skip": Skip,
    }[name]()
    return made.eval().requires_grad_(False)


@pytest.fixture
def evaluator_of(find_layout):
    def make(module, task, *, chunk=4, precision="float32") -> Evaluator:
        return Evaluator(module, find_layout(module), task, chunk=chunk, precision=precision, device=CPU)

    return make


def plain(module: nn.Module, layout, member: Phenotype) -> nn.Module:
    """The member as an ordinary torch module."""
    result = copy.deepcopy(module)
    parts = layout.split(to_float(member.weights))
    result.load_state_dict({name: torch.from_numpy(part.copy()) for name, part in parts.items()}, strict=False)
    return result


@pytest.mark.parametrize("chunk", [1, 4, 32])
@pytest.mark.parametrize("name", SHAPES)
def test_a_score_is_what_torch_says_of_the_plain_module(
    name, chunk, make_task, make_members, find_layout, evaluator_of
):
    module, task = network(name), make_task(SHAPES[name])
    members = make_members(module, 6)
    found = evaluator_of(module, task, chunk=chunk).measure(members, task.train)
    assert found.failures == {}
    assert found.evaluations == 6 * 70
    for index, member in enumerate(members):
        logits = plain(module, find_layout(module), member)(task.train.inputs)
        loss = functional.cross_entropy(logits, task.train.targets)
        right = (logits.argmax(1) == task.train.targets).float().mean()
        assert found.means["loss"][index] == pytest.approx(float(loss), rel=1e-5)
        assert found.means["correct"][index] == pytest.approx(float(right), abs=1e-6)


def test_bfloat16_is_close_to_float32_and_not_the_same(make_task, make_members, evaluator_of):
    for name in ("wide", "conv", "skip"):
        module, task = network(name), make_task(SHAPES[name])
        members = make_members(module, 4, 0.1)
        exact, coarse = (
            evaluator_of(module, task, precision=precision).measure(members, task.train).means["loss"]
            for precision in ("float32", "bfloat16")
        )
        np.testing.assert_allclose(coarse, exact, rtol=0.03)
        assert not np.array_equal(coarse, exact)
        assert np.array_equal(np.argsort(coarse), np.argsort(exact))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("chunk", [5, 8, 32])
@pytest.mark.parametrize("name", SHAPES)
def test_a_score_does_not_depend_on_place_or_company(name, chunk, precision, make_task, make_members, evaluator_of):
    module, task = network(name), make_task(SHAPES[name])
    members = make_members(module, chunk)
    evaluator = evaluator_of(module, task, chunk=chunk, precision=precision)

    def scores(chosen) -> list[float]:
        return evaluator.measure([members[i] for i in chosen], task.train).means["loss"].tolist()

    full = scores(range(chunk))
    assert len(set(full)) == chunk
    for seed in range(4):
        order = np.random.Generator(np.random.Philox(seed)).permutation(chunk).tolist()
        assert scores(order) == [full[i] for i in order]
    # Ragged chunks are padded; alone, in company, and in a second chunk the bits are the same.
    assert scores([3]) == [full[3]]
    assert scores([4, 1]) == [full[4], full[1]]
    assert scores([*range(chunk), 2, 0]) == [*full, full[2], full[0]]
    assert scores([1] * chunk) == [full[1]] * chunk


def test_a_neighbour_full_of_infinities_changes_no_bit(task, make_members, evaluator_of, find_layout):
    module = network()
    members = make_members(module, 4)
    evaluator = evaluator_of(module, task)
    before = evaluator.measure(members, task.train).means["loss"]
    huge = Phenotype(np.full(find_layout(module).size, 2**31 - 1, dtype=np.int32), np.zeros(1, np.int16))
    after = evaluator.measure([members[0], huge, members[2], huge], task.train).means["loss"]
    assert after[[0, 2]].tolist() == before[[0, 2]].tolist()


def test_blocks_of_examples_cover_all_of_them(make_task, make_members, evaluator_of):
    module, task = network(), make_task((6,), examples=101)
    members = make_members(module, 3)
    evaluator = evaluator_of(module, task)
    whole = evaluator.measure(members, task.train).means
    evaluator._blocks.block = 16
    parts = evaluator.measure(members, task.train).means
    np.testing.assert_allclose(parts["loss"], whole["loss"], rtol=1e-6)
    assert parts["correct"].tolist() == whole["correct"].tolist()


def test_prepared_examples_score_like_the_given_ones(task, make_members, evaluator_of):
    module = network()
    members = make_members(module, 3)
    for precision in ("float32", "bfloat16"):
        evaluator = evaluator_of(module, task, precision=precision)
        ready = evaluator.prepared(task.train)
        given, prepared = (evaluator.measure(members, each).means["loss"].tolist() for each in (task.train, ready))
        assert given == prepared


def test_the_users_module_is_left_as_it_was(task, make_members, evaluator_of):
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    evaluator_of(module, task, precision="bfloat16").measure(make_members(module, 3), task.train)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(value.dtype == torch.float32 for value in module.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_float_buffers_meet_weights_of_any_precision(precision, task, make_members, evaluator_of, find_layout):
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 5)
            self.register_buffer("shift", torch.linspace(-1, 1, 6))
            self.register_buffer("order", torch.tensor([5, 4, 3, 2, 1, 0]))

        def forward(self, inputs):
            return self.linear((inputs - self.shift)[:, self.order])

    module = Shifted().eval().requires_grad_(False)
    members = make_members(module, 2)
    found = evaluator_of(module, task, precision=precision).measure(members, task.train)
    for index, member in enumerate(members):
        expected = functional.cross_entropy(
            plain(module, find_layout(module), member)(task.train.inputs), task.train.targets
        )
        tolerance = 1e-5 if precision == "float32" else 0.03
        assert found.means["loss"][index] == pytest.approx(float(expected), rel=tolerance)
    assert module.shift.dtype == torch.float32


def test_whole_numbers_stay_whole_under_bfloat16(find_layout, make_members):
    class Tokens:
        train = Examples(torch.arange(60).reshape(30, 2) % 300, torch.zeros(30, dtype=torch.int64))

        def measure(self, outputs, targets):
            return {"loss": outputs.sum((1, 2)), "correct": torch.zeros(len(outputs))}

    module = nn.Sequential(nn.Embedding(300, 3), nn.Flatten(), nn.Linear(6, 2)).eval().requires_grad_(False)
    evaluator = Evaluator(module, find_layout(module), Tokens(), chunk=2, precision="bfloat16", device=CPU)
    assert evaluator.forward_name == "folded"
    assert evaluator.prepared(Tokens.train).inputs.dtype == torch.int64
    assert np.isfinite(evaluator.measure(make_members(module, 2), Tokens.train).means["loss"]).all()


def marked(module: nn.Module, members: list[Phenotype], places: list[int], layout) -> None:
    """Give some members an output that no other has."""
    for place in places:
        layout.split(members[place].weights)["output.bias"][:] = 100 * 2**24


def test_members_whose_measure_raises_fail_alone_and_say_why(task, make_members, evaluator_of, find_layout):
    module = network()
    members = make_members(module, 11)
    expected = evaluator_of(module, task).measure(members, task.train).means["loss"]
    marked(module, members, [2, 9], find_layout(module))

    class Picky:
        train = task.train

        def measure(self, outputs, targets):
            if float(outputs.min()) > -50 and float(outputs.amax()) > 50:
                raise ZeroDivisionError("no score for this one")
            return task.measure(outputs, targets)

    found = evaluator_of(module, Picky()).measure(members, task.train)
    assert found.failures == dict.fromkeys((2, 9), "ZeroDivisionError: no score for this one")
    assert np.isnan(found.means["loss"][[2, 9]]).all()
    others = [index for index in range(11) if index not in (2, 9)]
    # Also those that shared a chunk with a failure and were scored again alone: the same bits.
    assert found.means["loss"][others].tolist() == expected[others].tolist()
    assert found.evaluations == 11 * 70


def test_a_task_that_always_raises_fails_everybody(task, make_members, evaluator_of):
    class Broken:
        train = task.train

        def measure(self, outputs, targets):
            raise RuntimeError("broken")

    module = network()
    found = evaluator_of(module, Broken()).measure(make_members(module, 5), task.train)
    assert found.failures == dict.fromkeys(range(5), "RuntimeError: broken")
    assert found.means == {}


def test_outputs_that_overflow_give_nan_for_that_member_only(task, make_members, evaluator_of, find_layout):
    class Exploding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(6, 5)

        def forward(self, inputs):
            high = self.output(inputs)
            return high + (high.abs() * 10).exp() * 0  # infinity times 0 is no number

    module = Exploding().eval().requires_grad_(False)
    members = make_members(module, 4)
    marked(module, members, [1], find_layout(module))
    found = evaluator_of(module, task).measure(members, task.train)
    assert np.isnan(found.means["loss"]).tolist() == [False, True, False, False]


def test_nobody_scores_as_nobody(task, evaluator_of):
    found = evaluator_of(network(), task).measure([], task.train)
    assert found.failures == {}
    assert found.evaluations == 0


def test_the_forward_is_decided_once_and_named(task, make_task, evaluator_of):
    assert evaluator_of(network(), task).forward_name == "folded"
    assert evaluator_of(network("conv"), make_task((1, 8, 8))).forward_name == "folded"
    assert evaluator_of(network("skip"), task).forward_name == "vmap"
    block = evaluator_of(network(), task).block
    assert block >= 16
    assert block & (block - 1) == 0
