"""Memories: the nearest one answers, empty ones never do, and each geometry compares what it says."""

from __future__ import annotations

import math

import pytest
import torch

from galab.contracts import ReportsMemoryUse
from galab.errors import UsageError
from galab.evaluation.batched.dense import FORWARDS, choose_forward
from galab.models import build_model
from galab.models.memory import GEOMETRY, Memory

SHAPE, CLASSES = (3, 4), 5


def filled(**options: object) -> Memory:
    """A bank with random vectors and logits."""
    module = Memory(SHAPE, CLASSES, 3, heads=8, **options).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def examples(count: int = 20) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(2))


def test_the_nearest_memory_answers():
    module, inputs = filled(norm="normalised"), examples()
    unit = inputs.flatten(1) / inputs.flatten(1).norm(dim=1, keepdim=True)
    for row, answer in zip(unit, module(inputs), strict=True):
        near = [float(row @ vector / vector.norm()) for vector in module.free_memories]
        torch.testing.assert_close(answer, module.classes[near.index(max(near))])


@pytest.mark.parametrize("norm", GEOMETRY)
@pytest.mark.parametrize("closeness", ["dot", "distance"])
def test_nearness_is_what_it_says(norm, closeness):
    module, inputs = filled(norm=norm, closeness=closeness), examples()
    stored = getattr(module, GEOMETRY[norm])
    vectors = stored
    if norm == "normalised":
        vectors = stored / stored.norm(dim=1, keepdim=True)
    elif norm == "torus":
        vectors = torch.cat([stored.cos(), stored.sin()], 1) / math.sqrt(6)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(8))
    unit = torch.nn.functional.normalize(inputs.flatten(1), dim=1)
    expected = unit @ vectors.T if closeness == "dot" else -torch.cdist(unit, vectors).square()
    torch.testing.assert_close(module.nearness(inputs), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(module.vectors(), vectors)


def test_on_the_sphere_dot_and_distance_answer_alike():
    one, other = filled(norm="normalised"), filled(norm="normalised", closeness="distance")
    torch.testing.assert_close(one(examples()), other(examples()))


def test_longer_vectors_win_more_by_the_inner_product_and_not_by_distance():
    counts = {}
    for closeness in ("dot", "distance"):
        module, inputs = filled(norm="free", closeness=closeness), examples(500)
        module.free_memories[3] *= 20
        counts[closeness] = int((module.nearness(inputs).argmax(1) == 3).sum())
    assert counts["dot"] > 200
    assert counts["distance"] == 0


def test_empty_memories_never_answer_while_one_is_filled():
    module = filled(norm="normalised")
    for head in range(8):
        if head != 5:
            module.free_memories[head] = 0
    torch.testing.assert_close(module(examples()), module.classes[5].expand(20, -1))
    assert (module.nearness(examples())[:, :5] == -math.inf).all()


def test_an_empty_bank_says_nothing_and_is_far_away():
    module = Memory(SHAPE, CLASSES, heads=8).eval()
    assert not module(examples()).any()
    module.reports_usage = True
    told = module(examples())
    assert told.shape == (20, CLASSES + 2)
    assert (told[:, CLASSES] == -1).all()


def test_the_soft_answer_is_a_weighted_mean():
    module, inputs = filled(answer="soft", sharpness=3.0), examples()
    weights = (3 * module.nearness(inputs)).softmax(1)
    torch.testing.assert_close(module(inputs), weights @ module.classes)
    sharp = filled(answer="soft", sharpness=1e5)
    torch.testing.assert_close(sharp(inputs), filled()(inputs), atol=1e-4, rtol=1e-4)


def test_memories_tell_how_near_and_which():
    module, inputs = filled(), examples()
    plain = module(inputs)
    module.reports_usage = True
    told = module(inputs)
    torch.testing.assert_close(told[:, :CLASSES], plain)
    near = module.nearness(inputs)
    torch.testing.assert_close(told[:, CLASSES], near.amax(1))
    assert told[:, CLASSES + 1].tolist() == near.argmax(1).tolist()
    assert isinstance(module, ReportsMemoryUse)
    assert module.heads == 8


def test_a_projection_is_the_keys_and_nobody_elses():
    one, again, other = (Memory(SHAPE, CLASSES, key, project=6).projection for key in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == (6, 12)
    large = Memory((100, 30), CLASSES, 1, project=50).projection
    assert float(large.square().sum(1).mean()) == pytest.approx(1, rel=0.05)
    assert Memory(SHAPE, CLASSES, 1, project=6).vectors().shape == (64, 6)


@pytest.mark.parametrize("norm", ["sphere", "normalised", "torus"])
def test_a_random_bank_lies_on_the_sphere_with_one_class_each(norm):
    module = Memory((64,), CLASSES, 9, heads=200, norm=norm, bank="random")
    torch.testing.assert_close(module.vectors().norm(dim=1), torch.ones(200), atol=1e-5, rtol=0)
    assert (module.classes.count_nonzero(1) == 1).all()
    assert len(module.classes.argmax(1).unique()) == CLASSES
    again, other = (Memory((64,), CLASSES, key, heads=200, norm=norm, bank="random") for key in (9, 10))
    assert torch.equal(module.vectors(), again.vectors())
    assert not torch.equal(module.vectors(), other.vectors())


def test_plasticity_is_a_parameter_that_answers_do_not_hang_on():
    module, inputs = filled(plastic=True), examples()
    before = module(inputs)
    module.plasticity += 1
    torch.testing.assert_close(module(inputs), before)


@pytest.mark.parametrize("options", [{}, {"norm": "torus"}, {"answer": "soft"}, {"project": 6}, {"plastic": True},
                                     {"norm": "free", "closeness": "distance"}])
def test_many_banks_at_once_answer_as_each_alone(options):
    module = filled(**options)
    module.reports_usage = True
    stacks = {name: torch.stack([value + 0.1 * n for n in range(4)]) for name, value in module.named_parameters()}
    name = choose_forward(module, stacks, examples())
    assert name != "loop"
    torch.testing.assert_close(FORWARDS[name](module, stacks, examples()), FORWARDS["loop"](module, stacks, examples()))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"norm": "ball"}, "expected norm to be one of sphere, free, normalised, torus, got 'ball'"),
        ({"heads": 0}, "expected heads to be a whole number from 1"),
        ({"answer": "best"}, "expected answer to be one of nearest, soft"),
        ({"norm": "torus", "project": 5}, "expected an even number of inputs with norm=torus, got 5"),
    ],
)
def test_what_is_not_understood_is_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        Memory(SHAPE, CLASSES, **options)


def test_it_is_built_by_name():
    assert isinstance(build_model("memory", (3, 64, 64), 10), Memory)
