"""Lists that a person writes: read in order, each thing once, and refused with what was wrong."""

import pytest

from galab.analysis.base import at_least, names_in, numbers_in
from galab.errors import UsageError


def test_numbers_come_sorted_and_once() -> None:
    assert numbers_in("0.3, 1e-3,0.3", "--sigmas") == [0.001, 0.3]
    assert numbers_in("16,8", "--sizes", whole=True) == [8.0, 16.0]


@pytest.mark.parametrize("text", ["", "0.1,,0.2", "a", "0", "-1", "nan", "inf"])
def test_what_is_no_positive_number_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected --sigmas as numbers above 0"):
        numbers_in(text, "--sigmas")


def test_whole_numbers_are_asked_for() -> None:
    with pytest.raises(UsageError, match=r"whole numbers above 0, .* got '1.5'"):
        numbers_in("1.5", "--sizes", whole=True)


def test_names_keep_their_order() -> None:
    assert names_in("b, a,b", "--which", ("a", "b")) == ["b", "a"]


def test_unknown_names_are_refused_with_the_closest() -> None:
    with pytest.raises(UsageError, match="got 'normall'.*normal"):
        names_in("normall", "--distributions", ("normal", "sign"))
    with pytest.raises(UsageError, match="got nothing"):
        names_in(" ,", "--distributions", ("normal", "sign"))


def test_too_few_are_refused() -> None:
    assert at_least("--samples", 2, 2) == 2
    with pytest.raises(UsageError, match="at least 2, got 1"):
        at_least("--samples", 1, 2)
