"""Founders: the recipe for individuals without parents."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest

from galab.errors import CheckpointError, LethalMutationError
from galab.genome.births import Birth
from galab.genome.initial import GIVEN, Founders, TensorLaw
from galab.genome.random import Stream, codes, table

LAWS = (
    TensorLaw("a", (3, 4), "uniform", float(np.float32(0.2))),
    TensorLaw("b", (4,), GIVEN),
    TensorLaw("c", (5,), "normal", 1.0),
    TensorLaw("d", (2,), GIVEN),
)
GIVEN_ROWS = np.arange(18, dtype=np.int32).reshape(3, 6) * 1000
FOUNDERS = Founders(77, LAWS, GIVEN_ROWS)


def founder(number: int, founders: Founders = FOUNDERS) -> np.ndarray:
    return founders.decode(Birth(number, (), 0, 0, -1445, 0, 0))


def test_a_drawn_tensor_is_its_law_times_its_scale():
    quantiles = table("uniform").quantiles[codes(77, 5, Stream.FOUNDER, 23)[:12]]
    assert founder(5)[:12].tolist() == np.rint(np.float32(0.2) * quantiles * np.float32(2**24)).astype(int).tolist()
    quantiles = table("normal").quantiles[codes(77, 5, Stream.FOUNDER, 23)[16:21]]
    assert founder(5)[16:21].tolist() == np.rint(quantiles * np.float32(2**24)).astype(int).tolist()


@pytest.mark.parametrize("number", range(8))
def test_founder_i_takes_row_i_modulo_the_rows_given(number):
    weights = founder(number)
    assert [*weights[12:16], *weights[21:]] == GIVEN_ROWS[number % 3].tolist()


def test_founders_differ_and_do_not_depend_on_the_step_size_of_their_birth():
    assert len({founder(number).tobytes() for number in range(50)}) == 50
    assert np.array_equal(FOUNDERS.decode(Birth(3, (), 0, 0, 12, 0, 0)), founder(3))


def test_a_tensors_noise_depends_on_its_place_and_not_on_its_neighbours_laws():
    other = dataclasses.replace(FOUNDERS, laws=(TensorLaw("a", (3, 4), "laplace", 0.5), *LAWS[1:]))
    assert np.array_equal(founder(1)[12:], founder(1, other)[12:])
    assert not np.array_equal(founder(1)[:12], founder(1, other)[:12])


def test_a_founder_outside_the_range_names_its_parameter():
    wild = dataclasses.replace(FOUNDERS, laws=(*LAWS[:2], TensorLaw("c", (5,), "sign", 128.0), LAWS[3]))
    with pytest.raises(LethalMutationError) as caught:
        founder(0, wild)
    assert caught.value.parameter == "c"


def test_everything_that_decides_a_founder_changes_the_hash():
    changed: list[dict[str, Any]] = [{}, {"run_key": 78}, {"laws": LAWS[::-1]}]
    for place, new in [
        (0, {"name": "z"}), (0, {"shape": (4, 3)}), (0, {"law": "sign"}), (0, {"scale": 0.2}), (2, {"scale": 1.5}),
    ]:  # fmt: skip
        laws = list(LAWS)
        laws[place] = dataclasses.replace(laws[place], **new)
        changed.append({"laws": tuple(laws)})
    one_more = GIVEN_ROWS.copy()
    one_more[2, 5] += 1
    changed += [{"given": one_more}, {"given": GIVEN_ROWS[:2]}, {"given": GIVEN_ROWS.reshape(1, 18)}]
    hashes = {dataclasses.replace(FOUNDERS, **change).sha256 for change in changed}
    assert len(hashes) == len(changed)


def test_the_hash_of_a_recipe_never_changes():
    assert FOUNDERS.sha256 == GOLDEN


def test_a_recipe_survives_being_plain_data():
    again = Founders.from_dict(copy.deepcopy(FOUNDERS.to_dict()))
    assert again.sha256 == FOUNDERS.sha256
    assert again.laws == LAWS
    assert np.array_equal(founder(4, again), founder(4))


@pytest.mark.parametrize("part", ["run_key", "laws", "given", "sha256"])
def test_a_recipe_that_was_changed_is_refused(part):
    values = copy.deepcopy(FOUNDERS.to_dict())
    if part == "run_key":
        values["run_key"] += 1
    elif part == "laws":
        values["laws"][0][3] *= 2
    elif part == "given":
        values["given"][0, 0] += 1
    else:
        values["sha256"] = "0" * 64
    with pytest.raises(CheckpointError, match="expected founders with hash .* the file was changed; restore it"):
        Founders.from_dict(values)


def test_nothing_given_and_everything_given_both_work():
    drawn = Founders(1, LAWS[:1], np.empty((1, 0), np.int32))
    assert founder(0, drawn).shape == (12,)
    given = Founders(1, (TensorLaw("b", (6,), GIVEN),), GIVEN_ROWS)
    assert founder(4, given).tolist() == GIVEN_ROWS[1].tolist()


GOLDEN = "563584f8b84560046890650a0158491bebb0d5e1f6ec37dd4d792fc13f37b5cc"
