"""Environments in a file of one's own: they are tasks, their code has to be trusted, and what cannot be is refused."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from galab.config import RunConfig
from galab.errors import UsageError
from galab.tasks.load import canonical_task, load_task
from galab.training.build import network_and_task
from galab.training.resolve import resolve
from galab.training.trust import check, remember

pytest.importorskip("gymnasium")

OWN = '''
    import gymnasium
    import numpy as np

    class Walk(gymnasium.Env):
        def __init__(self, length=20):
            self.observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float32)
            self.action_space = gymnasium.spaces.Discrete(2)
            self.length, self.taken = length, 0

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.taken = 0
            return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

        def step(self, action):
            self.taken += 1
            return np.array([self.taken, 1], np.float32), float(action), self.taken >= self.length, False, {}

    def make() -> gymnasium.Env:
        return gymnasium.wrappers.TimeLimit(Walk(), 7)

    def unsaid():
        return Walk()
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_env.py").write_text(textwrap.dedent(OWN))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own")
def test_environments_in_a_file_of_ones_own_are_tasks() -> None:
    assert canonical_task("my_env.py:make") == "gym('my_env.py:make')"
    assert canonical_task("my_env.py:Walk(length=5, steps=9)") == "gym('my_env.py:Walk', length=5, steps=9)"
    assert canonical_task("my_env.py:unsaid") == "my_env.py:unsaid"
    assert load_task(canonical_task("my_env.py:make")).environment.steps == 7
    task = load_task(canonical_task("my_env.py:Walk(length=5, steps=9)"))
    assert (task.environment.steps, task.input_shape, task.outputs) == (9, (2,), 2)
    with pytest.raises(UsageError, match=r"expected a task, got an environment; write gym\(my_env.py:unsaid\)"):
        load_task("my_env.py:unsaid")
    with pytest.raises(UsageError, match=r"write 'gym\(my_env.py:Walk, steps=1000\)', say, or"):
        load_task("gym(my_env.py:Walk)")


@pytest.mark.usefixtures("own")
def test_code_in_the_brackets_of_an_environment_has_to_be_trusted() -> None:
    for text in ("gym(my_env.py:make)", "gym(id='my_env.py:Walk')", "gym('some_module:Env-v0')"):
        config = RunConfig(task=text)
        with pytest.raises(UsageError, match="expected code that you have run before for --task"):
            check(config)
        remember(config)
        check(config)
    check(RunConfig(task="gym(CartPole-v1)"))


@pytest.mark.usefixtures("own")
def test_what_would_learn_from_other_episodes_or_take_galabs_arguments_is_refused(tmp_path: Path) -> None:
    more = '''
    def normal() -> gymnasium.Env:
        return gymnasium.wrappers.NormalizeObservation(make())

    class Steps(Walk):
        def __init__(self, steps=3):
            super().__init__(steps)

    def many() -> gymnasium.Env:
        return gymnasium.make_vec("CartPole-v1", num_envs=4, vectorization_mode="vector_entry_point")
    '''
    with (tmp_path / "my_env.py").open("a") as file:
        file.write(textwrap.dedent(more))
    with pytest.raises(UsageError, match="got a NormalizeObservation, which learns from those before"):
        load_task("gym(my_env.py:normal)")
    with pytest.raises(UsageError, match="expected one environment, got a CartPoleVectorEnv of 4; return one: galab"):
        load_task("gym(my_env.py:many)")
    with pytest.raises(UsageError, match="which are galab's own, got steps; rename them"):
        load_task("gym(my_env.py:Steps, steps=9)")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("body", "what"),
    [("self.count += 1; return seen, reward + self.count, *rest", "rewards"),
     ("return seen + np.random.random(seen.shape).astype(np.float32), reward, *rest", "observations")],
)  # fmt: skip
def test_episodes_that_do_not_repeat_are_refused_at_the_start(tmp_path: Path, body: str, what: str) -> None:
    more = f'''
    import numpy as np

    class Odd(Walk):
        count = 0

        def step(self, action):
            seen, reward, *rest = super().step(action)
            {body}
    '''
    with (tmp_path / "my_env.py").open("a") as file:
        file.write(textwrap.dedent(more))
    config = resolve(RunConfig(task="gym(my_env.py:Odd, steps=9)"))
    with pytest.raises(UsageError, match=f"on its start and the actions alone, got other {what} in step 1 when it was"):
        network_and_task(config)
    network_and_task(config, check=False)  # a saved run is still opened
    network_and_task(resolve(RunConfig(task="gym(my_env.py:Walk, steps=9)")))
