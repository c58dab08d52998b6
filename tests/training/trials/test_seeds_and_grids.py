"""Seeds and grids as words."""

from typing import Any

import pytest

from galab.errors import UsageError
from galab.training.trials.sweep import cells_of, parse_grid
from galab.training.trials.trials import checked_seeds, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-3", (0, 1, 2, 3)), ("0,3,7-9", (0, 3, 7, 8, 9)), ("5", (5,)), (" 2 , 1 ", (2, 1)), ("4 - 5", (4, 5))],
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected --seeds as whole numbers"),
        ("a-b", "got 'a-b'"),
        ("1.5", "got '1.5'"),
        ("-1", "got '-1'"),
        ("1-", "got '1-'"),
        ("1,,2", "expected --seeds as whole numbers"),
        ("3-1", "write 1-3"),
        ("1,2,1", "got 1 twice"),
        ("0-5,3", "got 3 twice"),
        ("0-99999999999", "at most 10,000 seeds"),
        (f"{2**63}", "expected --seed between 0"),
    ],
)
def test_seeds_that_are_none(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_seeds(text)
    assert words in str(refused.value)


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1], ["a"], [True]])
def test_seeds_from_python_are_checked_too(seeds: list[Any]) -> None:
    with pytest.raises(UsageError):
        checked_seeds(seeds)


def test_a_grid_has_the_types_of_its_fields() -> None:
    grid = parse_grid(["sigma=0.01,2", "save-every=5", "hidden=64,32;16", "--ties=older"])
    assert grid == {"sigma": [0.01, 2.0], "save_every": [5], "hidden": ["64,32", "16"], "ties": ["older"]}
    assert [type(value) for value in grid["sigma"]] == [float, float]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "expected at least one --grid"),
        (["sigma"], "expected --grid as FIELD=VALUE"),
        (["sigma="], "expected --grid as FIELD=VALUE"),
        (["sigm=1"], "Did you mean 'sigma'?"),
        (["seed=1,2"], "--seeds"),
        (["sigma=1,x"], "to be of type float, got 'x'"),
        (["sigma=1,1"], "once"),
        (["sigma=1", "sigma=2"], "once"),
    ],
)
def test_grids_that_are_none(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_grid(texts)
    assert words in str(refused.value)


def test_cells_are_all_combinations_with_names_for_folders() -> None:
    cells = cells_of({"sigma": [0.01, 0.5], "model": ["mlp", "a/b.py:Net"]})
    assert list(cells) == [
        "sigma=0.01,model=mlp", "sigma=0.01,model=a_b.py_Net", "sigma=0.5,model=mlp", "sigma=0.5,model=a_b.py_Net",
    ]  # fmt: skip
    assert cells["sigma=0.5,model=mlp"] == {"sigma": 0.5, "model": "mlp"}
    with pytest.raises(UsageError, match="twice"):
        cells_of({"model": ["a/b", "a_b"]})
