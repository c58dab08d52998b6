"""The language of --fitness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.config.parsing import BASES, DIRECTIONAL, RELATIVE, FitnessSpec, parse_fitness
from galab.errors import UsageError

SPACES = st.sampled_from(["", " ", "  "])


@st.composite
def fitnesses(draw: st.DrawFn) -> tuple[str, FitnessSpec]:
    """A text with spaces anywhere between its words, and what it means."""
    kind = draw(st.sampled_from([None, *RELATIVE]))
    # Parents have no direction that a child's could be compared with.
    known = [base for base in BASES if kind is None or base not in DIRECTIONAL]
    bases = draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
    text = ",".join(draw(SPACES) + base + draw(SPACES) for base in bases)
    if kind is not None:
        text = f"{draw(SPACES)}{kind}{draw(SPACES)}:{text}"
    return text, FitnessSpec(kind or "absolute", tuple(bases))


@given(fitnesses())
def test_every_kind_and_every_list_of_bases_is_understood(fitness: tuple[str, FitnessSpec]) -> None:
    text, spec = fitness
    assert parse_fitness(text) == spec


@pytest.mark.parametrize("kind", RELATIVE)
def test_a_kind_alone_is_of_cross_entropy(kind: str) -> None:
    assert parse_fitness(kind) == parse_fitness(f"{kind}:cross-entropy") == FitnessSpec(kind, ("cross-entropy",))


@given(st.text(alphabet="abc:, -", max_size=12) | fitnesses().map(lambda pair: pair[0] + ","))
def test_nothing_else_is_taken(text: str) -> None:
    with pytest.raises(UsageError, match="expected --fitness"):
        parse_fitness(text)


@given(st.lists(st.sampled_from(BASES), min_size=1, unique=True), st.data())
def test_a_base_is_named_once(bases: list[str], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(bases))
    with pytest.raises(UsageError, match=f"got '{again}' twice; leave out the second"):
        parse_fitness(",".join([*bases, again]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acuracy", "got 'acuracy'. Did you mean 'accuracy'"),
        ("wrong,cross_entropy", "got 'cross_entropy'. Did you mean 'cross-entropy'"),
        ("improvment", "got 'improvment'. Did you mean 'improvement'"),
        ("improvment:wrong", "got 'improvment'. Did you mean 'improvement'"),
        ("inherited:wrng", "got 'wrng'. Did you mean 'wrong'"),
        ("absolute:wrong", "a kind of improvement or inherited, got 'absolute'"),
        # A kind is no base: it stands alone or before a colon.
        ("wrong,improvement", "got 'improvement'"),
        ("improvement:inherited", "got 'inherited'"),
        ("improvement:", "got ''"),
        ("improvement:wrong,gradient-cosine", "a child's step from its parents already; leave out the kind"),
        ("", "got ''"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_closest(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_fitness(text)
