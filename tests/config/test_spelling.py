"""One sentence, written for the command line and for Python."""

from __future__ import annotations

import pickle

import pytest

from galab.config import RunConfig, flag
from galab.config.spelling import COMMAND_LINE, PYTHON, Given, OptionError, Spelling, spelled
from galab.errors import UsageError

CONFIG = RunConfig(parents=4, origin="runs/{a}")


@pytest.mark.parametrize(
    ("template", "line", "python"),
    [
        ("{save_every}", "--save-every", "save_every"),
        ("{origin}", "--from", "origin"),
        ("{lr:0.5}", "--lr 0.5", "lr=0.5"),
        ("{strategy:openai-es}", "--strategy openai-es", 'strategy="openai-es"'),
        ("{elites:0}", "--elites 0", "elites=0"),
        ("{parents.value}", "4", "4"),
        ("{parents.given}", "--parents 4", "parents=4"),
        ("{origin.given}", "--from runs/{a}", 'origin="runs/{a}"'),
        ("{sigma.value:g}", "0.02", "0.02"),
        ("{what} {what:>5}", "x     x", "x     x"),
        ("{pairs}", "--lr 0.1, --hidden 12", 'lr=0.1, hidden="12"'),
    ],
)
def test_a_template_is_written_for_either_surface(template: str, line: str, python: str) -> None:
    error = OptionError(template, CONFIG, what="x", pairs=Given((("lr", 0.1), ("hidden", "12"))))
    assert (str(error), error.spelled(COMMAND_LINE), error.spelled(PYTHON)) == (line, line, python)


def test_a_value_with_braces_is_no_template() -> None:
    assert str(OptionError("got {text}", text="{lr} {}")) == "got {lr} {}"


def test_an_error_that_leaves_a_block_is_written_for_its_surface() -> None:
    own = Spelling(flags=False, names={"lr": "learning_rate"}, phrases={("pairs", "antithetic"): "antithetic=True"})
    with pytest.raises(UsageError, match="^expected learning_rate with antithetic=True$"), spelled(own):
        raise OptionError("expected {lr} with {pairs:antithetic}")
    with pytest.raises(UsageError, match="^else$"), spelled(own):
        raise UsageError("else")


def test_an_error_travels_between_processes() -> None:
    template = "expected {elites} at most {most}, got {elites.value}"
    error = pickle.loads(pickle.dumps(OptionError(template, CONFIG, most=2)))
    assert str(error) == "expected --elites at most 2, got 0"
    assert error.spelled(PYTHON) == "expected elites at most 2, got 0"


def test_bounds_and_types_are_told_in_python_too() -> None:
    with pytest.raises(UsageError, match="^expected save_every to be of type int, got 'x'$"), spelled(PYTHON):
        RunConfig(save_every="x")
    with pytest.raises(UsageError, match='; drop sigma_only, or use step_size="log-normal"'), spelled(PYTHON):
        RunConfig(sigma_only=2, granularity="tensor")


def test_a_flag_is_the_name_on_the_command_line() -> None:
    assert (flag("save_every"), flag("origin")) == ("--save-every", "--from")
