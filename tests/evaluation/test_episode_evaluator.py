"""Members play the same episodes whatever plays beside them, and fail alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from galab.errors import UsageError
from galab.evaluation.episode_evaluator import EpisodeEvaluator, EpisodePerturbedEvaluator, EpisodeRules
from galab.evaluation.es_evaluator import perturbed_parameters
from galab.evaluation.policies import LayeredPolicies, ModulePolicies, policies_of
from galab.genome.random import table
from galab.genome.weights import Layout
from galab.models.normalized import normalize_observations, observe, sums_of
from galab.models.policy import AtariPolicy, Policy
from galab.operators.es_noise import WeightVector, draw, plan_of
from galab.tasks.environments import acrobot, cartpole, mountain_car, mountain_car_continuous, pendulum
from galab.tasks.episodes import ActionSpace, EpisodeTask


class Counting:
    """Rewards 1 for choice 1; an episode lasts as many steps as its start says, and breaks where it is told to."""

    name, identity, input_shape, steps = "counting", "for a test", (2,), 40
    actions = ActionSpace(choices=(2,))

    def __init__(self, *, packs: bool = True, broken: int = -1) -> None:
        self.packs, self.broken = packs, broken

    def play(self, starts: NDArray[np.int64]) -> Any:
        return (PackedGame if self.packs else CountingGame)(starts, self.broken)


class CountingGame:
    def __init__(self, starts: NDArray[np.int64], broken: int) -> None:
        self.starts, self.broken = starts, broken
        self.lengths = 1 + starts % 37
        self.frames = np.zeros(len(starts), np.int64)
        self.failures: dict[int, str] = {}
        self.closed = False

    @property
    def done(self) -> NDArray[np.bool_]:
        return self.frames >= self.lengths

    @property
    def observations(self) -> NDArray[np.float32]:
        return np.stack([self.starts % 5 - 2, self.frames % 3 - 1], axis=1).astype(np.float32)

    def step(self, actions: NDArray[Any]) -> NDArray[np.float64]:
        live = ~self.done
        rewards = np.where(live, actions * 1.5, 0.0)
        rewards[live & (self.starts == self.broken) & (actions == 1)] = np.nan
        self.frames += live
        return rewards

    def close(self) -> None:
        self.closed = True


class PackedGame(CountingGame):
    def keep(self, rows: NDArray[np.int64]) -> None:
        self.starts, self.lengths, self.frames = self.starts[rows], self.lengths[rows], self.frames[rows]


def layout_of(module: nn.Module) -> Layout:
    own = dict(module.named_parameters())
    return Layout(tuple(own), tuple(tuple(value.shape) for value in own.values()))


def members_for(layout: Layout, count: int, seed: int = 0) -> list[WeightVector]:
    random = np.random.default_rng(seed)
    return [WeightVector(random.normal(0, 0.7, layout.size).astype(np.float32)) for _ in range(count)]


def evaluator_of(module: nn.Module, task: EpisodeTask, chunk: int = 64, **options: Any) -> EpisodeEvaluator:
    rules = EpisodeRules(**options)
    return EpisodeEvaluator(module, layout_of(module), task, chunk=chunk, device=torch.device("cpu"), rules=rules)


NETWORKS = [
    Policy((4,), 2, (8,), "tanh"),
    nn.Sequential(nn.Linear(4, 6, bias=False), nn.Softsign(), nn.Linear(6, 2, bias=False)),
]


@pytest.mark.parametrize("module", NETWORKS, ids=["layered", "one by one"])
def test_a_score_depends_on_the_member_and_the_starts_alone(module: nn.Module) -> None:
    task = cartpole(steps=60)
    layout, examples = layout_of(module), task.sample(3, 1, 4)
    members = members_for(layout, 13)
    whole = evaluator_of(module, task).measure(members, examples)
    for chunk in (1, 2, 5):
        found = evaluator_of(module, task, chunk).measure(members, examples)
        assert {name: values.tobytes() for name, values in found.means.items()} == {
            name: values.tobytes() for name, values in whole.means.items()
        }
        assert found.evaluations == whole.evaluations
    others = members_for(layout, 6, seed=9)
    among = evaluator_of(module, task).measure([*others[:3], *members[4:7], *others[3:]], examples)
    assert np.array_equal(among.means["return"][3:6], whole.means["return"][4:7])
    assert len(set(whole.means["return"].tolist())) > 3
    # Each step of CartPole is worth 1, so all that was scored is all that was counted.
    assert whole.evaluations == round(4 * whole.means["return"].sum()) == round(4 * whole.means["frames"].sum())


@pytest.mark.parametrize("packs", [True, False])
def test_members_leave_when_their_episodes_are_over_and_keep_their_results(packs: bool) -> None:
    module = Policy((2,), 2, (5,), "tanh")
    task = EpisodeTask(Counting(packs=packs), validation=2, test=2)
    members, starts = members_for(layout_of(module), 30), np.array([3, 40, 111])
    examples = type(task.train)(torch.zeros(3, 2), torch.from_numpy(starts))
    found = evaluator_of(module, task).measure(members, examples)
    for place, member in enumerate(members):
        own = {name: value[None] for name, value in zip(layout_of(module).names, _split(module, member), strict=True)}
        policy = LayeredPolicies.of(module)
        assert policy is not None
        policy.take(own)
        total = 0.0
        for start in starts:
            game = CountingGame(np.array([start]), -1)
            while not game.done.all():
                total += float(game.step(policy.answer(game.observations[None]).argmax(2)[0])[0])
        assert found.means["return"][place] * 3 == pytest.approx(total)
    assert found.evaluations == 30 * int((1 + starts % 37).sum())
    assert np.array_equal(found.means["episode_length"], np.full(30, (1 + starts % 37).mean()))


def _split(module: nn.Module, member: WeightVector) -> list[NDArray[np.float32]]:
    layout, values = layout_of(module), member.floats()
    return [
        values[start : start + size].reshape(shape)
        for start, size, shape in zip(layout.starts, layout.sizes, layout.shapes, strict=True)
    ]


def test_what_fails_fails_alone() -> None:
    module = Policy((2,), 2, (), "tanh")
    layout = layout_of(module)
    task = EpisodeTask(Counting(broken=40), validation=2, test=2)
    examples = type(task.train)(torch.zeros(2, 2), torch.tensor([3, 40]))
    members = members_for(layout, 12)
    plain = evaluator_of(module, EpisodeTask(Counting(), validation=2, test=2)).measure(members, examples)
    found = evaluator_of(module, task).measure(members, examples)
    failed = sorted(found.failures)
    assert 0 < len(failed) < 12
    assert set(found.failures.values()) == {"a reward is not finite"}
    assert np.isnan(found.means["return"][failed]).all()
    well = [place for place in range(12) if place not in failed]
    assert np.array_equal(found.means["return"][well], plain.means["return"][well])
    broken = members[5].floats()
    broken[0] = np.inf
    one = evaluator_of(module, task).measure([members[0], WeightVector(broken), members[1]], examples)
    assert one.failures[1] == "its outputs are not finite"
    assert one.means["return"][[0, 2]].tobytes() == found.means["return"][:2].tobytes()


class Fussy(nn.Module):
    """Raises where its weight is negative; remembers its last input for each episode."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(2, 2)

    def initial_state(self, episodes: int) -> torch.Tensor:
        return torch.zeros(episodes, 2)

    def step(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if float(self.own.weight[0, 0]) < 0:
            raise ValueError("negative")
        return self.own(inputs + state), 0.5 * state + inputs

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.own(inputs)
        return answer


def test_a_network_that_raises_fails_alone_and_states_belong_to_member_and_episode() -> None:
    module = Fussy()
    task = EpisodeTask(Counting(), validation=2, test=2)
    members = members_for(layout_of(module), 10)
    examples = type(task.train)(torch.zeros(3, 2), torch.tensor([3, 40, 20]))
    found = evaluator_of(module, task).measure(members, examples)
    negative = [place for place, member in enumerate(members) if member.floats()[0] < 0]
    assert sorted(found.failures) == negative
    assert 0 < len(negative) < 10
    assert set(found.failures.values()) == {"ValueError: negative"}
    for chunk in (1, 3):
        again = evaluator_of(module, task, chunk).measure(members, examples)
        assert again.means["return"].tobytes() == found.means["return"].tobytes()
    alone = [
        evaluator_of(module, task).measure(
            members, type(task.train)(torch.zeros(1, 2), torch.tensor([start]))
        ).means["return"] for start in (3, 40, 20)
    ]  # fmt: skip
    assert np.allclose(np.mean(alone, axis=0), found.means["return"], equal_nan=True)


@pytest.mark.parametrize(
    "module",
    [
        Policy((4,), 3, (8, 5), "tanh"), Policy((4,), 3, (), "relu"), Policy((4,), 3, (7,), "sigmoid"),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)),
    ],
)  # fmt: skip
def test_layered_policies_are_the_networks(module: nn.Module) -> None:
    layout = layout_of(module)
    members, shown = members_for(layout, 5), np.random.default_rng(1).normal(size=(5, 6, 4)).astype(np.float32)
    parts = zip(*(_split(module, member) for member in members), strict=True)
    stacks = {name: np.stack(part) for name, part in zip(layout.names, parts, strict=True)}
    quick = policies_of(module, layout.names, torch.device("cpu"), torch.zeros(2, 4))
    assert isinstance(quick, LayeredPolicies)
    slow = ModulePolicies(module, layout.names, torch.device("cpu"))
    for policies in (quick, slow):
        policies.take(stacks)
    assert np.allclose(quick.answer(shown), slow.answer(shown), atol=1e-5)
    for policies in (quick, slow):
        policies.keep(np.array([3, 1]))
    assert np.allclose(quick.answer(shown[[3, 1]]), slow.answer(shown[[3, 1]]), atol=1e-5)


@pytest.mark.parametrize("world", [cartpole, acrobot, pendulum, mountain_car, mountain_car_continuous])
@pytest.mark.parametrize("hidden", [(), (1,), (8,)])
@pytest.mark.parametrize("episodes", [1, 3])
def test_no_neighbour_changes_a_bit_of_any_world(world: Any, hidden: tuple[int, ...], episodes: int) -> None:
    task = world(steps=25, validation=2, test=2)
    module = Policy(task.input_shape, task.outputs, hidden, "tanh")
    members, examples = members_for(layout_of(module), 9), task.sample(3, 1, episodes)
    whole = evaluator_of(module, task).measure(members, examples).means["return"].tobytes()
    for chunk in (1, 4):
        assert evaluator_of(module, task, chunk).measure(members, examples).means["return"].tobytes() == whole


class Looks(nn.Module):
    """Answers by what changed since the last step; ``buffer`` counts the steps of all episodes."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(2, 2)
        self.register_buffer("count", torch.zeros(()))

    def initial_state(self, episodes: int) -> torch.Tensor:
        return torch.zeros(episodes, 2)

    def step(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.count += 1
        return self.own(inputs - state) + self.count * 0.01 * torch.tensor([1.0, -1.0]), inputs

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.own(inputs)
        return answer


def test_what_a_network_saw_and_counted_is_its_own() -> None:
    class Overwriting(CountingGame):
        def __init__(self, starts: NDArray[np.int64], broken: int) -> None:
            super().__init__(starts, broken)
            self._seen = np.zeros((len(starts), 2), np.float32)

        @property
        def observations(self) -> NDArray[np.float32]:
            self._seen[:] = super().observations
            return self._seen

    world = Counting()
    world.play = lambda starts: Overwriting(starts, -1)  # type: ignore[method-assign]
    module = Looks()
    members = members_for(layout_of(module), 8)
    examples = type(cartpole().train)(torch.zeros(2, 2), torch.tensor([20, 35]))
    evaluator = evaluator_of(module, EpisodeTask(world, validation=2, test=2), 3)
    first = evaluator.measure(members, examples).means["return"]
    assert evaluator.measure(members, examples).means["return"].tobytes() == first.tobytes()
    plain = evaluator_of(module, EpisodeTask(Counting(packs=False), validation=2, test=2), 1)
    assert plain.measure(members, examples).means["return"].tobytes() == first.tobytes()


def test_layers_that_stand_twice_and_hooks_are_what_they_are() -> None:
    act, shared = nn.Tanh(), nn.Linear(4, 4)
    shown = np.random.default_rng(1).normal(size=(1, 3, 4)).astype(np.float32)
    before = shown.copy()
    for module in (
        nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 2)),
        nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(4, 2)),
        nn.Sequential(nn.ReLU(), nn.Linear(4, 2)),
    ):
        own = {name: value.detach().numpy()[None] for name, value in module.named_parameters()}
        policies = policies_of(module, list(own), torch.device("cpu"), torch.from_numpy(shown[0]))
        assert isinstance(policies, LayeredPolicies)
        policies.take(own)
        with torch.no_grad():
            assert np.allclose(policies.answer(shown)[0], module(torch.from_numpy(shown[0])).numpy(), atol=1e-6)
        assert np.array_equal(shown, before)
    module = nn.Sequential(nn.Linear(4, 2))
    module[0].register_forward_hook(lambda part, given, answer: 2 * answer)
    found = policies_of(module, ["0.weight", "0.bias"], torch.device("cpu"), torch.from_numpy(shown[0]))
    assert isinstance(found, ModulePolicies)


def test_frozen_layers_are_those_of_the_network() -> None:
    module = Policy((4,), 2, (8,), "tanh")
    module.hidden[0].weight.requires_grad_(False)
    names = [name for name, value in module.named_parameters() if value.requires_grad]
    shown = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    own = dict(module.named_parameters())
    stacks = {name: np.stack([own[name].detach().numpy()] * 2) for name in names}
    policies = policies_of(module, names, torch.device("cpu"), torch.zeros(2, 4))
    policies.take(stacks)
    with torch.no_grad():
        assert np.allclose(policies.answer(shown)[1], module(torch.from_numpy(shown[1])).numpy(), atol=1e-6)


@pytest.mark.parametrize("rank", [None, 1])
def test_perturbations_are_played_as_the_members_that_they_are(rank: int | None) -> None:
    module = Policy((3,), 1, (4,), "tanh")
    layout, task = layout_of(module), pendulum(steps=15)
    plan = plan_of(layout, rank, [] if rank is None else ["hidden.0.weight"])
    noise = draw(plan, table("normal"), 5, 1, 0, 6)
    centre = {name: value.detach() for name, value in module.named_parameters()}
    device, rules = torch.device("cpu"), EpisodeRules()
    evaluator = EpisodePerturbedEvaluator(module, layout, task, chunk=4, device=device, rules=rules)
    examples = task.sample(1, 1, 2)
    chunks = list(evaluator.along(centre, noise, 0.3, examples, None, antithetic=True))
    assert [chunk.directions for chunk in chunks] == [2, 2, 2]
    stacks = perturbed_parameters(centre, noise, 0.3, antithetic=True)
    rows = [
        np.concatenate([
            (stack[place] if isinstance(stack, torch.Tensor) else stack.member(place)).numpy().ravel()
            for stack in stacks.values()
        ]) for place in range(12)
    ]  # fmt: skip
    plain = evaluator_of(module, task).measure([WeightVector(row) for row in rows], examples)
    plus = np.concatenate([chunk.sums["return"][:2] for chunk in chunks])
    minus = np.concatenate([chunk.sums["return"][2:] for chunk in chunks])
    assert np.array_equal(np.concatenate([plus, minus]) / 2, plain.means["return"])
    assert sum(chunk.evaluations or 0 for chunk in chunks) == plain.evaluations == 12 * 2 * 15


def test_drawn_actions_have_the_odds_of_the_softmax_and_depend_on_start_and_step_alone() -> None:
    space, starts = ActionSpace(choices=(3,)), np.arange(20_000)
    outputs = np.tile(np.array([[0.0, 1.0, -1.0]], np.float32), (len(starts), 1))
    drawn = space.sampled(outputs, starts, 4)
    odds = np.exp(outputs[0]) / np.exp(outputs[0]).sum()
    assert np.allclose(np.bincount(drawn, minlength=3) / len(starts), odds, atol=0.012)
    assert np.array_equal(space.sampled(outputs[:7], starts[100:107], 4), drawn[100:107])
    assert not np.array_equal(space.sampled(outputs, starts, 5), drawn)
    module, task = NETWORKS[0], cartpole(steps=60)
    members, examples = members_for(layout_of(module), 9), task.sample(3, 1, 4)
    whole = evaluator_of(module, task, act="sample").measure(members, examples)
    parts = evaluator_of(module, task, 2, act="sample").measure(members, examples)
    assert whole.means["return"].tobytes() == parts.means["return"].tobytes()
    greedy = evaluator_of(module, task).measure(members, examples)
    assert whole.means["return"].tobytes() != greedy.means["return"].tobytes()
    with pytest.raises(UsageError, match="expected an environment of choices with --act sample, got pendulum"):
        evaluator_of(Policy((3,), 1), pendulum(), act="sample")


def test_actions_are_those_of_the_space() -> None:
    outputs = np.array([[0.1, 0.9, -1.0, 5.0, 5.0], [2.0, 2.0, 3.0, 0.0, -1.0]], np.float32)
    assert ActionSpace(choices=(5,)).greedy(outputs).tolist() == [3, 2]
    assert ActionSpace(choices=(2, 3)).greedy(outputs).tolist() == [[1, 1], [0, 0]]
    box = ActionSpace(low=(-2.0, 0.0, -np.inf), high=(2.0, 10.0, np.inf))
    found = box.greedy(np.array([[0.5, -3.0, 7.0], [2.0, 0.0, -9.0]], np.float32))
    assert found.tolist() == [[1.0, 0.0, 7.0], [2.0, 5.0, -9.0]]
    assert (ActionSpace(choices=(2, 3)).outputs, box.outputs) == (5, 3)


def test_the_networks_of_atari_have_the_sizes_of_their_sources() -> None:
    for size, count in (("small", 345_014), ("large", 1_687_206), ("same", 4_046_502)):
        module = AtariPolicy((4, 84, 84), 6, size)
        assert sum(value.numel() for value in module.parameters()) == count
        shown = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
        with torch.no_grad():
            assert module(shown).shape == (2, 6)


def test_products_use_one_thread_while_episodes_are_played(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    seen: list[int] = []
    answer = LayeredPolicies.answer
    monkeypatch.setattr(
        LayeredPolicies, "answer", lambda self, *shown: (seen.extend(threads()), answer(self, *shown))[1]
    )
    module, task, before = NETWORKS[0], cartpole(steps=3), threads()
    evaluator = evaluator_of(module, task)
    seen.clear()  # the networks were compared before
    evaluator.measure(members_for(layout_of(module), 2), task.sample(1, 1, 1))
    assert seen
    assert set(seen) == {1}
    assert threads() == before


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 64])
@pytest.mark.parametrize("kind", ["layered", "one by one"])
def test_what_policies_saw_is_summed_for_each_member_and_failures_count_for_nothing(
    packs: bool, chunk: int, kind: str
) -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh() if kind == "layered" else nn.Softsign(), nn.Linear(3, 2))
    normalize_observations(module, (2,))
    members, starts = members_for(layout_of(module), 6), np.array([3, 40, 111])
    members[2].floats()[:] = np.nan
    task = EpisodeTask(Counting(packs=packs), validation=1, test=1)
    examples = type(task.train)(torch.zeros(3, 2), torch.from_numpy(starts))
    found = evaluator_of(module, task, chunk).measure(members, examples)
    assert found.observed is not None
    assert set(found.failures) == {2}
    seen = np.array([(start % 5 - 2, step % 3 - 1) for start in starts for step in range(1 + start % 37)], np.float64)
    expected = [len(seen), *seen.sum(0), *(seen * seen).sum(0)]
    assert [row.tolist() for place, row in enumerate(found.observed) if place != 2] == [expected] * 5
    assert np.isnan(found.observed[2, 0])
    observe(module, found.observed)
    assert sums_of(module).tolist() == [5 * value for value in expected]
