"""A rule that changes weights: the delta rule is one of them, and no rule changes nothing."""

from __future__ import annotations

import pytest
import torch

from galab.errors import UsageError
from galab.evaluation.batched.dense import choose_forward, vmapped
from galab.models import build_model
from galab.tasks import load_task

DELTA = torch.tensor([-1.0, 0.0, 0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def task():
    return load_task("plasticity", run_key=7)


def scored(model, task):
    sums = task.measure(model(task.validation.inputs)[None], task.validation.targets)
    return {name: float(value[0]) / len(task.validation) for name, value in sums.items()}


def made(task, name="hebbian", **options):
    return build_model(name, task.input_shape, task.outputs, **options)


def test_without_a_rule_nothing_changes_at_all(task):
    found = scored(made(task), task)
    assert found["loss"] == 0
    assert found["before"] == found["after"] > 1
    delta = made(task, "hebbian(steps=0)")
    delta.last_rule.copy_(DELTA)
    assert scored(delta, task)["loss"] == 0


def test_the_delta_rule_learns(task):
    model = made(task)
    model.last_rule.copy_(DELTA)
    found = scored(model, task)
    assert found["loss"] < -0.2
    assert found["accuracy_after"] > found["accuracy_before"] + 0.15


def test_the_delta_rule_is_the_gradient_of_the_cross_entropy(task):
    model = made(task, "hebbian(steps=1)", activation="tanh")
    model.last_rule.copy_(DELTA)
    episode = task.validation.inputs[:1]
    points, targets = episode[0, :, :16], task.validation.targets[0]
    weight = model.last.clone().requires_grad_()
    middle = torch.tanh(points @ model.first.T)
    torch.nn.functional.cross_entropy(middle @ weight.T, targets).backward()
    after = middle @ (weight - weight.grad).T
    assert torch.allclose(model(episode).view(2, 32, 4)[1], after, atol=1e-5)


def test_each_term_of_each_rule_changes_the_answers(task):
    episodes = task.validation.inputs[:3]
    seen = [made(task)(episodes)]
    for rule in ("first_rule", "last_rule"):
        for term in range(len(getattr(made(task), rule))):
            model = made(task)
            getattr(model, rule)[term] = 0.3
            answers = model(episodes)
            assert torch.equal(answers[:, :128], seen[0][:, :128])  # the first answer knows no rule
            assert not any(torch.equal(answers, other) for other in seen)
            seen.append(answers)


def test_episodes_do_not_learn_from_each_other(task):
    model = made(task)
    model.last_rule.copy_(DELTA)
    model.first_rule.fill_(0.1)
    alone = torch.cat([model(task.validation.inputs[place : place + 1]) for place in range(4)])
    assert torch.allclose(model(task.validation.inputs[:4]), alone, atol=1e-5)


def test_the_first_weights_are_fixed_by_the_key_or_evolve(task):
    fixed, same, other = (made(task, run_key=key) for key in (1, 1, 2))
    assert torch.equal(fixed.first, same.first)
    assert not torch.equal(fixed.first, other.first)
    assert {name for name, _ in fixed.named_parameters()} == {"first_rule", "last_rule", "rates"}
    evolved = made(task, "hebbian(initial=evolved)")
    assert {name for name, _ in evolved.named_parameters()} == {"first_rule", "last_rule", "rates", "first", "last"}


@pytest.mark.parametrize("name", ["hebbian", "hebbian(initial=evolved)"])
def test_many_members_run_at_once(task, name):
    model = made(task, name)
    generator = torch.Generator().manual_seed(0)
    stacks = {
        path: value + 0.1 * torch.randn(5, *value.shape, generator=generator)
        for path, value in model.named_parameters()
    }
    inputs = task.validation.inputs[:6]
    assert choose_forward(model, stacks, inputs) == "vmap"
    together = vmapped(model, stacks, inputs)
    for member in range(5):
        alone = torch.func.functional_call(model, {path: stack[member] for path, stack in stacks.items()}, (inputs,))
        assert torch.allclose(together[member], alone, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "hidden", "said"),
    [
        ("hebbian(steps=-1)", None, "expected steps of at least 0 for the hebbian model, got -1"),
        ("hebbian(initial=free)", None, "with initial of type 'fixed' or 'evolved', got 'free'"),
        ("hebbian", (3, 4), "expected --hidden with one number for the hebbian model, got 2"),
    ],
)
def test_what_it_cannot_be(task, name, hidden, said):
    with pytest.raises(UsageError, match=said):
        build_model(name, task.input_shape, task.outputs, hidden)
    with pytest.raises(UsageError, match="use --task plasticity"):
        build_model("hebbian", (1, 8, 8), 10)
