"""How a distribution is written: every form, and every way to get it wrong."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from galab.config import RunConfig
from galab.config.distribution import TABLE_HASHES, parse
from galab.errors import UsageError

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize("name", TABLE_HASHES)
def test_a_built_in_name(name: str) -> None:
    found = parse(name)
    assert (found.text, found.source, found.name, found.parameters, found.sha256) == (name, "built-in", name, {}, None)


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("scipy:logistic", "logistic", {}),
        ("scipy:logistic()", "logistic", {}),
        ("scipy:t(df=5)", "t", {"df": 5.0}),
        ("scipy: t( df = 5.5e-1 , loc=-.5,scale=+2. ) ", "t", {"df": 0.55, "loc": -0.5, "scale": 2.0}),
        ("scipy:norminvgauss(a=1, b=0)", "norminvgauss", {"a": 1.0, "b": 0.0}),
    ],
)
def test_a_law_of_scipy(text: str, name: str, parameters: dict[str, float]) -> None:
    found = parse(text)
    assert (found.source, found.name, found.parameters, found.sha256) == ("scipy", name, parameters, None)


@pytest.mark.parametrize("file", ["updates.npy", "C:\\a\\b.csv", "a b#c.txt", "über/sgd.npy", "scipy:t.txt"])
def test_a_file_of_samples(file: str) -> None:
    found = parse(f"table:{file}")
    assert (found.source, found.name, found.sha256) == ("table", file, None)


@pytest.mark.parametrize("text", ["scipy:t(df=5)", "scipy:logistic", "table:a#b.npy"])
def test_the_hash_of_a_table_goes_and_comes_back(text: str) -> None:
    pinned = parse(text).pinned(HASH)
    assert pinned == f"{text}#{HASH}"
    found = parse(pinned)
    assert (found.text, found.sha256) == (text, HASH)
    assert (found.name, found.parameters) == (parse(text).name, parse(text).parameters)
    assert parse(text + "#" + HASH[1:]).sha256 is None if text.startswith("table") else True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nornal", "no distribution is called 'nornal'. Did you mean 'normal'? Known: normal, laplace"),
        ("", "no distribution is called ''"),
        ("Normal", "Did you mean 'normal'"),
        (f"normal#{HASH}", "no distribution is called 'normal#0123"),
        ("scypi:t(df=5)", "Did you mean 'scipy'? Known: .*scipy:NAME(parameter=number), table:FILE"),
        ("scipy", "Did you mean 'scipy'"),
        ("table:", "no distribution is called 'table:'"),
        ("scipy:", "such as scipy:t(df=5), got 'scipy:'"),
        ("scipy:t(df=5", "such as scipy:t(df=5), got 'scipy:t(df=5'"),
        ("scipy:t(df=5))", "such as scipy:t(df=5), got"),
        ("scipy:stats.t(df=5)", "such as scipy:t(df=5), got"),
        ("scipy:t(df=__import__('os'))", "such as scipy:t(df=5), got"),
        ("scipy:t(5)", "expected each parameter of --distribution scipy:t as name=number, such as df=5, got '5'"),
        ("scipy:t(df=)", "got 'df='"),
        ("scipy:t(df=five)", "got 'df=five'; write a finite number"),
        ("scipy:t(df=nan)", "got 'df=nan'"),
        ("scipy:t(df=inf)", "got 'df=inf'"),
        ("scipy:t(df=1e999)", "got 'df=1e999'"),
        ("scipy:t(df=1_0)", "got 'df=1_0'"),
        ("scipy:t(df=٣)", "got 'df=٣'"),
        ("scipy:t(df=5,)", "got ''"),
        ("scipy:t(df=5,df=6)", "once, got 'df' twice"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    for part in said.split(".*"):
        assert part in str(caught.value)
    with pytest.raises(UsageError):
        RunConfig(distribution=text)


FRAGMENTS = ["scipy", "table", ":", "(", ")", "=", ",", "#", HASH, "t", "df", "5", "-", "e", " ", "\n", "\0", "normal"]


@given(st.text() | st.lists(st.sampled_from([*FRAGMENTS, *string.punctuation]), max_size=12).map("".join))
@example("scipy:" + "(" * 500)
@example("x" * 10_000)
@example("scipy:t(df=" + "9" * 5000 + ")")
@example("\ud800")
def test_any_text_is_a_distribution_or_one_short_sentence(text: str) -> None:
    found, said = None, ""
    try:
        found = parse(text)
    except UsageError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 400
    if found is None:
        with pytest.raises(UsageError):
            RunConfig(distribution=text)
    else:
        assert found.source == "built-in" or text.startswith(("scipy:", "table:"))
        assert found.sha256 is None or text == found.pinned(found.sha256)
        assert RunConfig.from_dict(RunConfig(distribution=text).to_dict()).distribution == text
