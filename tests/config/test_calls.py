"""Names with arguments: what they mean, how they are spelt, and what is refused."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.config.parsing import Call, arguments_for, labels, parse_call, parse_mutations, split_outside
from galab.config.registry import CROSSOVERS, MODELS
from galab.errors import UsageError

WORDS = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(lambda word: word.isidentifier())
NUMBERS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = NUMBERS | st.booleans() | st.none() | st.text(max_size=8) | st.sampled_from(["free", "count-ones", "in-turn"])
NAMES = st.sampled_from(["mlp", "memorize-images", "moons.py:moons", "a (copy)/b.py:Net", "a.b:C.d", "run(1).py:Net"])


def arguments() -> Any:
    import keyword

    names = WORDS.filter(lambda word: not keyword.iskeyword(word))
    return st.dictionaries(names, PLAIN | st.lists(PLAIN, max_size=3).map(tuple), max_size=3)


@given(NAMES, arguments())
def test_every_call_is_read_back_as_it_was_spelt(name: str, values: dict[str, Any]) -> None:
    call = Call(name, values)
    again = parse_call(str(call), "the model")
    assert again == call
    assert list(map(type, again.arguments.values())) == [type(values[key]) for key in again.arguments]


@pytest.mark.slow
@given(st.lists(st.tuples(NAMES, arguments()), min_size=1, max_size=4))
def test_commas_in_brackets_and_quotes_part_nothing(calls: list[tuple[str, dict[str, Any]]]) -> None:
    texts = [str(Call(name, values)) for name, values in calls]
    assert split_outside(" , ".join(texts), ",") == texts


def test_what_words_mean() -> None:
    call = parse_call('memory( heads = 128 ,norm=free, law="a, b)", on=True, rows=[1, -2.5], task=count-ones)', "it")
    assert call.name == "memory"
    assert call.arguments == {
        "heads": 128, "norm": "free", "law": "a, b)", "on": True, "rows": (1, -2.5), "task": "count-ones",
    }  # fmt: skip
    assert str(call) == "memory(heads=128, law='a, b)', norm=free, on=True, rows=[1, -2.5], task=count-ones)"
    assert str(parse_call("memory(b=1,a='x')", "it")) == str(parse_call('memory(a=x, b=1)', "it"))
    assert parse_call("folder/moons.py:moons(noise=0.2)", "it").short == "moons"


@pytest.mark.parametrize(
    "text", ["mlp", "mlp()", "my(1).py:Net", "/tmp/a (copy)/o'brien.py:Net", "a(b=1)/nets.py:Net", "", "a b", "x)y"]
)
def test_without_arguments_a_name_stays_what_it_is(text: str) -> None:
    assert parse_call(text, "it") == Call(text.removesuffix("()"))


@pytest.mark.parametrize(
    "text",
    ["memory(heads=3", "memory(3)", "memory(heads)", "memory(**{'a': 1})", "memory(a=open('x'))", "memory(a=1) or 1",
     "memory(a=1)(b=2)", "memory(a=1, a=2)", "memory(a=b.c)", "memory(a={1: 2})", "memory(a=1e999)", "memory(a=b - c)",
     "memory(a=1j)", "memory(a=b'x')", "(a=1)", "memory(a=lambda: 0)", "memory(a=__import__('os').system)",
     f"memory(a={'-' * 100_000}1)", f"memory(a={'[' * 100_000})", f"memory(a={'9' * 5_000})"],
)  # fmt: skip
def test_nothing_is_evaluated_and_nothing_else_is_taken(text: str) -> None:
    with pytest.raises(UsageError, match="expected the arguments of the model as name=value with numbers, words") as e:
        parse_call(text, "the model")
    assert "\n" not in str(e.value)


def memory(
    outputs: int, heads: int = 8, scale: float = 1.0, norm: Literal["unit", "free"] = "unit",
    rows: tuple[int, ...] = (), law: str | None = None, on: bool = True, anything=None,  # type: ignore[no-untyped-def]
) -> None:
    """Something with arguments."""


def bound(text: str, function: Any = memory) -> dict[str, Any]:
    return arguments_for(parse_call(text, "it"), function, "model", {"outputs": "the task says it"})


def test_arguments_have_the_types_that_are_asked_for() -> None:
    text = "memory(heads=3, scale=2, norm=free, rows=[1, 2], law=None, on=False, anything=[x, 1])"
    assert bound(text) == {
        "heads": 3, "scale": 2, "norm": "free", "rows": (1, 2), "law": None, "on": False, "anything": ("x", 1),
    }  # fmt: skip
    assert bound("memory(a=1)", lambda **rest: None) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("memory(haeds=3)", "model 'memory' with arguments out of heads, scale, .*, got 'haeds'. Did you mean 'heads'"),
        ("memory(outputs=3)", "without 'outputs' in brackets, which galab gives itself; the task says it"),
        ("memory(heads=2.5)", "with heads of type int, got 2.5; correct it"),
        ("memory(heads=True)", "with heads of type int, got True"),
        ("memory(scale=big)", "with scale of type float, got 'big'"),
        ("memory(norm=loose)", "with norm of type 'unit' or 'free', got 'loose'"),
        ("memory(rows=[1, x])", r"with rows of type tuple\[int, ...\], got \(1, 'x'\)"),
        ("memory(rows=1)", "with rows of type tuple"),
        ("memory(law=3)", r"with law of type str \| None, got 3"),
        ("memory(on=1)", "with on of type bool, got 1"),
    ],
)
def test_what_it_does_not_take_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        bound(text)


def test_without_any_arguments_of_its_own() -> None:
    with pytest.raises(UsageError, match="model 'plain' without arguments, got 'x'"):
        bound("plain(x=1)", lambda outputs: None)


def test_registries_look_at_the_name_alone() -> None:
    assert MODELS.load("mlp(anything=3)") is MODELS.load("mlp")
    with pytest.raises(UsageError, match="no model is called 'mpl'. Did you mean 'mlp'"):
        MODELS.check("mpl(size=3)")
    with pytest.raises(UsageError, match="expected the arguments of the model as name=value"):
        MODELS.check("mlp(3)")
    with pytest.raises(UsageError, match=r"no crossover is called 'row\(x=1\)'"):
        CROSSOVERS.check("row(x=1)")


def test_mixes_of_operators_with_arguments() -> None:
    mix = parse_mutations("weights(count=3, law='a:b,c'):0.6, a (1).py:Jump(x=[1, 2]):0.3,layer:0.1")
    assert [(str(call), share) for call, share in mix] == [
        ("weights(count=3, law='a:b,c')", pytest.approx(0.6)), ("a (1).py:Jump(x=[1, 2])", pytest.approx(0.3)),
        ("layer", pytest.approx(0.1)),
    ]  # fmt: skip
    twice = parse_mutations("weights(count=1),weights(count=9),layer")
    assert labels([call for call, _ in twice]) == ["weights", "weights-2", "layer"]
    assert parse_mutations("my(1).py:Jump,dense")[0] == (Call("my(1).py:Jump"), 0.5)
    for text in ("weights(count=1),weights( count = 1 )", "dense,dense", "weights(count=1):0.5,layer", "dense,"):
        with pytest.raises(UsageError, match="expected --mutate as one operator, or as several different ones"):
            parse_mutations(text)


@pytest.mark.parametrize("path", ["data.csv", "../a/data-2.csv", "/tmp/x y.csv".replace(" ", ""), "~/data.csv"])
def test_a_path_needs_no_quotes(path: str) -> None:
    call = parse_call(f"csv(file={path}, size=3, kind=auto)", "the task")
    assert call.arguments == {"file": path, "size": 3, "kind": "auto"}
    assert parse_call(str(call), "the task") == call
