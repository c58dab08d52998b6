"""Runs that begin with weights from elsewhere: another run's parents, or a trained module."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import newest_state, outcome

from galab.config import RunConfig
from galab.errors import UsageError
from galab.genome.births import from_rows
from galab.genome.step_sizes import sigma
from galab.genome.weights import from_float
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.verify import verify
from galab.storage import pickle_format
from galab.storage.run_folder import RunFolder
from galab.training.compose import compose
from galab.training.resolve import resolve
from galab.training.start_or_resume import resume, start


def founders_in(folder: Path) -> np.ndarray:
    """Weights of generation 0, best first as the strategy lists them."""
    return pickle_format.load(folder / "checkpoints" / "gen_000000.pkl")["weights"]


def test_the_founders_are_the_parents_of_the_origin(evolve: Any, tmp_path: Path) -> None:
    origin = evolve("origin")
    start(compose({"origin": str(origin), "parents": 5, "children": 10, "generations": 3}), name="new", runs=tmp_path)
    parents = newest_state(origin)["weights"]
    assert np.array_equal(founders_in(tmp_path / "new"), parents[[0, 1, 2, 0, 1]])
    assert all(verdict.good for verdict in verify(RunFolder(tmp_path / "new")))
    values = newest_state(tmp_path / "new")["hyperparameters"]
    # The very checkpoint, because the origin may go on: the same configuration must mean the same founders.
    assert values["origin"] == str(origin / "checkpoints" / "gen_000005.pkl")
    assert (values["task"], values["hidden"], values["batch"], values["children"]) == ("digits", "4", 32, 10)
    assert values["seed"] != 5


@pytest.mark.slow
def test_a_run_from_an_origin_resumes_without_it(evolve: Any, tmp_path: Path) -> None:
    import shutil

    origin = evolve("origin")
    for name, generations in (("unbroken", 6), ("broken", 3)):
        flags = {"origin": str(origin), "seed": 9, "generations": generations}
        start(compose(flags), name=name, runs=tmp_path)
    shutil.rmtree(origin)
    resume(tmp_path / "broken", {"generations": 6})
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "unbroken")


def test_a_single_checkpoint_is_an_origin_too(evolve: Any, tmp_path: Path) -> None:
    old = evolve("origin", keep="all") / "checkpoints" / "gen_000002.pkl"
    start(compose({"origin": str(old), "generations": 1}), name="new", runs=tmp_path)
    assert np.array_equal(founders_in(tmp_path / "new"), pickle_format.load(old)["weights"])


def test_the_step_size_is_inherited_and_a_flag_wins(evolve: Any) -> None:
    origin = evolve("origin", step_size_rate=1.0)
    best = from_rows(newest_state(origin)["strategy"]["births"])[0]
    assert compose({"origin": str(origin)}).sigma == float(sigma(best.log_sigma)) != 0.02
    assert compose({"origin": str(origin), "sigma": 0.5}).sigma == 0.5
    assert compose({"origin": str(origin), "elites": 2}).elites == 2


def test_the_floor_is_inherited_but_for_smaller_steps(evolve: Any) -> None:
    origin = evolve("origin", sigma=0.02)
    floor = resolve(RunConfig(sigma=0.02)).sigma_floor
    assert floor == pytest.approx(0.02 / 32, rel=0.003)
    assert compose({"origin": str(origin)}).sigma_floor == floor
    assert compose({"origin": str(origin), "sigma": 1e-5}).sigma_floor is None
    assert compose({"origin": str(origin), "sigma": 1e-5, "sigma_floor": 1e-6}).sigma_floor == 1e-6


def test_a_plus_run_hands_on_no_number_of_elites(evolve: Any) -> None:
    """There every parent is an elite: their number follows that of the parents, and ends with plus."""
    origin = evolve("origin", survival="plus", parents=3)
    assert newest_state(origin)["hyperparameters"]["elites"] == 3
    assert compose({"origin": str(origin), "parents": 2}).elites == 0
    assert compose({"origin": str(origin), "survival": "comma"}).elites == 0
    assert compose({}, config_file=origin / "config.json").elites == 0


@pytest.mark.parametrize("change", [{"hidden": "5"}, {"model": "conv"}, {"hidden": "4,4"}])
def test_another_network_is_refused(evolve: Any, tmp_path: Path, change: dict[str, Any]) -> None:
    origin = evolve("origin")
    with pytest.raises(UsageError, match=f"expected '{origin}/checkpoints/.*' to hold a network like"):
        start(compose({"origin": str(origin), "generations": 1, **change}), name="new", runs=tmp_path)
    assert not (tmp_path / "new").exists()


def test_one_origin_is_enough(evolve: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected --from or --init, got both"):
        start(compose({"origin": str(evolve()), "init": "weights.pt"}), name="new", runs=tmp_path)


@pytest.fixture
def weights(evolve: Any, tmp_path: Path) -> dict[str, torch.Tensor]:
    """A state_dict for the small network, with values of its own."""
    module = open_saved(evolve("model", generations=1)).module
    random = torch.Generator().manual_seed(3)
    return {name: torch.randn(value.shape, generator=random) for name, value in module.state_dict().items()}


def test_weights_from_a_file_are_every_founder(evolve: Any, tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save(weights, tmp_path / "weights.pt")
    folder = evolve("new", init=str(tmp_path / "weights.pt"))
    expected = from_float(np.concatenate([value.double().numpy().ravel() for value in weights.values()]))
    assert np.array_equal(founders_in(folder), np.stack([expected] * 3))
    assert all(verdict.good for verdict in verify(RunFolder(folder)))
    (tmp_path / "weights.pt").unlink()
    assert resume(folder, {"generations": 7}).generation == 7


def test_wrong_weights_are_one_sentence(evolve: Any, tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path, first = tmp_path / "weights.pt", next(iter(weights))

    def refused(content: Any, match: str) -> None:
        torch.save(content, path)
        with pytest.raises(UsageError, match=match) as error:
            evolve("new", init=str(path))
        assert "\n" not in str(error.value)

    refused(weights | {first: torch.zeros(2, 2)}, r"to have shape \(4, 64\), got \(2, 2\)")
    refused({name: value for name, value in weights.items() if name != first}, f"expected the parameter '{first}'")
    refused(weights | {first: weights[first] * float("nan")}, "expected finite weights, got nan")
    refused(weights | {first: weights[first] + 200}, "expected weights inside .-128, got")
    refused([1, 2, 3], "to hold a state_dict .name to tensor., got list")
    refused({"a": 1}, "to hold a state_dict")
    path.write_bytes(b"no weights at all")
    with pytest.raises(UsageError, match="to be a state_dict saved by torch.save"):
        evolve("new", init=str(path))
    with pytest.raises(UsageError, match=r"expected weights at '.*absent.pt' \(--init\), found no file"):
        evolve("new", init=str(tmp_path / "absent.pt"))
    assert not (tmp_path / "new").exists()


class Trap:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def test_a_hostile_file_of_weights_runs_nothing(evolve: Any, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    for name, save in (("zip.pt", torch.save), ("plain.pt", lambda value, path: path.write_bytes(pickle.dumps(value)))):
        save({"weight": Trap(str(sprung))}, tmp_path / name)
        with pytest.raises(UsageError, match="to be a state_dict saved by torch.save"):
            evolve("new", init=str(tmp_path / name))
    assert not sprung.exists()
