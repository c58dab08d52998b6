"""Members that fail, in real runs with a task of one's own: never elite, never a parent, counted, logged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import generations_of, log_of, newest_state, outcome

from galab.errors import GalabError, NoViableChildError, UsageError
from galab.saved_runs.saved_run import open_saved
from galab.storage import checkpoints, pickle_format
from galab.storage.log import read_log
from galab.training.start_or_resume import resume, start

#: A member fails whose first answer to the first example is positive: about half of them.
HALF = """
    return torch.where(outputs[:, 0, 0] > 0, torch.tensor(float("{value}")), loss)
"""
#: From the so-many-th call on, every member fails.
LATER = """
    global calls
    calls += 1
    return loss * float("nan") if calls > {limit} else loss
"""


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("changes", [{}, {"elites": 2}, {"survival": "plus", "batch": 0}])
def test_a_failed_member_never_breeds(evolve: Any, clouds: Any, value: str, changes: dict[str, Any]) -> None:
    task = clouds(HALF.format(value=value))
    folder = evolve(task=task, **{"batch": 0, "precision": "float32", "generations": 8, "keep": "all"} | changes)
    log = read_log(folder / "log.jsonl")
    assert sum(line["failures"] for line in log) > 0
    assert all(np.isfinite(line["fitness_worst"]) for line in log)
    saved = open_saved(folder)
    first = saved.task.train.inputs[:1]
    for generation, path in checkpoints.list_checkpoints(folder / "checkpoints")[1:]:
        state = pickle_format.load(path)
        assert np.isfinite(state["strategy"]["parent_fitness"]).all(), generation
        for place in range(len(state["weights"])):
            module = open_saved(path).module_with(open_saved(path).member(place))
            with torch.no_grad():
                assert module(first)[0, 0] <= 0, f"parent {place} of generation {generation} is a failed member"


def test_a_loss_of_minus_infinity_ranks_first_and_stays_a_number(evolve: Any, clouds: Any) -> None:
    task = clouds("""
        import torch
        return torch.where(outputs[:, 0, 0] > 0, torch.tensor(float("-inf")), loss)
    """)
    folder = evolve(task=task, generations=8, batch=0, precision="float32")
    log = read_log(folder / "log.jsonl")
    assert log[-1]["fitness_best"] > 1e140
    assert all(np.isfinite([line["fitness_mean"], line["fitness_best"]]).all() for line in log)
    saved = open_saved(folder)
    with torch.no_grad():
        for place in range(3):
            assert saved.module_with(saved.member(place))(saved.task.train.inputs[:1])[0, 0] > 0
    resume(folder, {"generations": 12})


def test_a_run_with_failures_resumes_exactly(evolve: Any, clouds: Any) -> None:
    task = clouds(HALF.format(value="nan"))
    unbroken = evolve("unbroken", task=task, generations=9)
    folder = evolve("broken", task=task, generations=4)
    resume(folder, {"generations": 9})
    assert outcome(folder) == outcome(unbroken)


def test_when_everybody_fails_the_run_stops_and_keeps_its_checkpoint(evolve: Any, clouds: Any, tmp_path: Path) -> None:
    task = clouds(LATER.format(limit=12))
    with pytest.raises(NoViableChildError, match=r"generation \d+: not one of 6 children has a finite") as error:
        evolve(task=task, generations=50)
    assert "the last good checkpoint is kept" in str(error.value)
    folder = tmp_path / "first"
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["message"]) == ("failed", str(error.value))
    reached = len(log_of(folder))
    assert generations_of(folder)[-1] == reached - reached % 2
    assert np.isfinite(newest_state(folder)["strategy"]["parent_fitness"]).all()
    clouds("return loss")  # the task is mended
    with pytest.raises(UsageError, match="got new or changed code; look at it"):
        resume(folder, {"generations": 9})
    assert resume(folder, {"generations": 9}, trust=True).generation == 9


def test_elites_with_a_known_score_do_not_carry_on_alone_when_all_children_fail(
    evolve: Any, clouds: Any, tmp_path: Path
) -> None:
    """With fixed data they are not scored again: the run would repeat the same failure for ever."""
    task = clouds(
        """
        global calls
        calls += 1
        return loss * float("nan") if calls > 8 and len(loss) == 6 else loss
        """
    )
    with pytest.raises(NoViableChildError, match="not one of 6 children has a finite fitness"):
        evolve(task=task, survival="plus", batch=0, chunk=6, generations=12)
    assert all(line["fitness_best"] is not None for line in read_log(tmp_path / "first" / "log.jsonl"))
    assert np.isfinite(newest_state(tmp_path / "first")["strategy"]["parent_fitness"]).all()


def test_a_champion_without_a_finite_figure_is_still_one(evolve: Any, clouds: Any) -> None:
    folder = evolve(task=clouds("return loss * float('nan') if outputs.shape[1] == 50 else loss"))
    champion = newest_state(folder)["champion"]
    assert champion["place"] == 0
    assert np.isnan(champion["metrics"]["validation_loss"])
    assert log_of(folder)[-2]["validation_loss"] is None  # JSON has no NaN


def test_lethal_children_are_counted_and_stop_a_run_without_any_other(evolve: Any, tmp_path: Path) -> None:
    state = open_saved(evolve("model", generations=1)).module.state_dict()
    torch.save({name: torch.full_like(value, 127.9) for name, value in state.items()}, tmp_path / "edge.pt")
    edge = {"init": str(tmp_path / "edge.pt"), "step_size": "fixed"}
    line = log_of(evolve("some", sigma=0.035, children=30, generations=1, **edge))[0]
    assert 0 < line["lethal"] < 30
    assert line["failures"] == line["lethal"]
    with pytest.raises(NoViableChildError, match=r"lethal: a weight of 'hidden\.0\.weight' left its range"):
        evolve("all", sigma=8.0, **edge)


def test_a_member_that_raises_fails_alone(evolve: Any, clouds: Any) -> None:
    task = clouds(
        """
        if (outputs[:, 0, 0] > 0).any():
            raise RuntimeError("no positive answers, please")
        return loss
        """
    )
    log = log_of(evolve(task=task, batch=0, precision="float32", generations=8))
    assert 0 < sum(line["failures"] for line in log) < 8 * 6


def test_a_task_with_a_bug_stops_with_its_reason(evolve: Any, clouds: Any) -> None:
    with pytest.raises(GalabError, match="ValueError: I am a bug"):
        evolve(task=clouds("raise ValueError('I am a bug')"))


def test_one_far_outlier_fits_into_the_histogram(evolve: Any, clouds: Any) -> None:
    """NumPy's automatic bins would be billions."""
    task = clouds("loss = loss * 0 + 1e-9 * loss\nloss[0] = 1e12\nreturn loss")
    assert len(log_of(evolve(task=task, precision="float32", children=12))) == 5


def test_a_second_run_with_a_taken_name_changes_nothing(evolve: Any, tmp_path: Path) -> None:
    from galab.config import RunConfig

    before = outcome(evolve())
    with pytest.raises(GalabError, match="--name"):
        start(RunConfig(task="digits", generations=1), name="first", runs=tmp_path)
    assert outcome(tmp_path / "first") == before
