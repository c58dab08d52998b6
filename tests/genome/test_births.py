"""Births as rows, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.genome.births import BIRTH, NO_PARENT, Birth, birth_dtype, from_rows, to_rows

IDS = st.integers(0, 2**62)
BIRTHS = st.builds(
    Birth,
    id=IDS,
    parents=st.lists(IDS, max_size=2).map(tuple),
    generation=st.integers(0, 2**31 - 1),
    argument=st.integers(-(2**31), 2**31 - 1),
    log_sigma=st.integers(-(2**15), 2**15 - 1),
    crossover=st.integers(0, 255),
    mutation=st.integers(0, 255),
)


def test_a_row_takes_at_most_forty_bytes():
    assert BIRTH.itemsize == 36 <= 40
    assert to_rows([Birth(1, (), 0, 0, 0, 0, 0)]).nbytes == 36


@pytest.mark.slow
@given(st.lists(BIRTHS, max_size=8))
def test_births_survive_being_rows_and_being_bytes(births):
    rows = to_rows(births)
    assert rows.dtype == BIRTH
    assert rows.shape == (len(births),)
    assert from_rows(rows) == births
    assert from_rows(np.frombuffer(rows.tobytes(), dtype=BIRTH)) == births


@given(st.lists(IDS, max_size=5).map(tuple))
def test_a_run_whose_children_have_more_parents_has_wider_rows(parents):
    birth = Birth(2**62 + 1, parents, 1, 0, 0, 1, 1)
    rows = to_rows([birth], birth_dtype(5))
    assert rows.dtype.itemsize == BIRTH.itemsize + 24
    assert from_rows(rows) == [birth]


def test_a_parent_too_many_is_not_dropped_in_silence():
    with pytest.raises(ValueError, match="3"):
        to_rows([Birth(9, (1, 2, 3), 1, 0, 0, 1, 1)])


def test_what_comes_back_is_plain_python():
    (birth,) = from_rows(to_rows([Birth(5, (3, 4), 2, 0, -1445, 1, 1)]))
    assert all(type(value) is int for value in (*birth.parents, *(birth[0], *birth[2:])))


def test_the_bytes_of_a_row_never_change():
    row = to_rows([Birth(258, (3,), 2, 1, -2, 4, 5)])
    assert row["parents"].tolist() == [[3, NO_PARENT]]
    assert row.tobytes().hex() == (
        "0201000000000000" "0300000000000000" "ffffffffffffffff" "02000000" "01000000" "feff" "04" "05"
    )
