"""Wrong usage: one sentence on standard error, exit code 2, and nothing is written."""

import sys
from pathlib import Path
from typing import Any

import pytest

from galab.config import flag
from galab.config.fields import FIELDS

CASES = [
    ("run --task mnits", "no task is called 'mnits'. Did you mean 'mnist'? `galab tasks` lists the names."),
    ("run --model mpl", "no model is called 'mpl'. Did you mean 'mlp'? `galab models` lists the names."),
    ("run --strategy gaa", "no strategy is called 'gaa'. Did you mean 'ga'?"),
    ("run --mutate dnse", "no mutation is called 'dnse'. Did you mean 'dense'?"),
    ("run --step-size lognormal", "no step-size rule is called 'lognormal'. Did you mean 'log-normal'?"),
    ("run --preset mnist-quik", "no preset is called 'mnist-quik'. Did you mean 'mnist-quick'?"),
    ("runn", "no command is called 'runn'. Did you mean 'run'? `galab --help` lists the commands."),
    ("run --childrn 3", "--childrn"),
    ("run --member-seconds 5", "expected --workers of at least 1 with --member-seconds, got 0: who hangs"),
    ("run --children 0", "expected --children between 1 and 1000000, got 0"),
    ("run --children -5", "expected --children between 1 and 1000000, got -5"),
    ("run --children many", "'many' is not a valid int"),
    ("run --sigma 9", "expected --sigma between"),
    ("run --sigma nan", "expected --sigma between"),
    ("run --sigma 0", "expected --sigma between"),
    ("run --batch -1", "expected --batch at least 0, got -1"),
    ("run --seed -1", "expected --seed between 0 and"),
    ("run --target 1.5", "expected --target between 0 and 1, a share of right answers, got 1.5; correct it"),
    ("run --seconds 0", "expected --seconds at least 0.001, got 0"),
    ("run --generations 0", "expected --generations at least 1, got 0"),
    ("run --precision float16", "expected --precision to be one of auto, float32, bfloat16, got 'float16'"),
    ("run --device gpu", "expected --device to be one of auto, cpu, cuda, got 'gpu'"),
    ("run --data some", "expected --data to be one of auto, full, subset, got 'some'"),
    ("run --keep none", "expected --keep to be 'all', 'log' or a number"),
    ("run --elites 9", "expected --elites at most --parents (8), got 9"),
    ("run --children 4", "expected --children plus --elites at least --parents (8), got 4 + 0"),
    ("run --sigma-floor 1", "expected --sigma between --sigma-floor (1) and --sigma-ceiling (8), got 0.02"),
    ("run --hidden 3,x", "expected --hidden as whole numbers separated by commas"),
    ("run --config absent.json", "expected a configuration at 'absent.json' (--config), found no file"),
    ("run --task digits --init absent.pt", "expected weights at 'absent.pt' (--init), found no file"),
    ("run --task digits --init drw", "found no file. Did you mean 'draw'?"),
    ("run --task digits --name a/b", "expected a run's name as a plain word"),
    ("run --task absent.py:Task", "expected a Python file at 'absent.py', found none"),
    ("run --task digits --model absent.py:Net", "expected a Python file at 'absent.py', found none"),
    ("run --task os:getcwd", "os:getcwd"),
    ("run --task digits --model os:getcwd", "expected a subclass of torch.nn.Module"),
    ("run --task digits --mutate os:getcwd", "expected a class with a method apply"),
    ("run --task digits --step-size os:getcwd", "expected a class with a method mutate"),
    ("run --task digits --strategy os:getcwd", "expected a subclass of galab's GeneticAlgorithm or a class with ask"),
    ("run --task digits --mutate layer,weights --mutate-count 999999", "expected --mutate-count at most"),
    ("run extra", "extra"),
    ("list -f xml", "xml"),
    ("evaluate", "RUN_OR_PKL"),
    ("completion tcsh", "tcsh"),
]


@pytest.mark.parametrize(("command", "words"), CASES, ids=[command for command, _ in CASES])
def test_wrong_usage(sentence: Any, tmp_path: Path, command: str, words: str) -> None:
    assert words in sentence(*command.split(), code=2)
    assert list(tmp_path.iterdir()) == []


def test_no_cuda(sentence: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "expected a CUDA device for --device cuda, found none" in sentence("run", "--device", "cuda", code=2)


def test_the_bare_command_shows_help(galab: Any) -> None:
    said = galab(code=2)
    assert "Begin with: galab run" in said.out + said.err


@pytest.mark.parametrize("command", ["", "run", "resume", "list", "show", "evaluate", "export", "verify", "doctor"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(galab: Any, command: str, option: str) -> None:
    assert "Usage: galab" in galab(*command.split(), option).out


def test_help_of_resume_names_what_may_change(galab: Any) -> None:
    shown = galab("resume", "--help").out
    for item in FIELDS.values():
        assert (f"  {flag(item.name)} " in shown) == item.metadata["changeable"]


def test_unknown_members_and_formats(sentence: Any, evolve: Any) -> None:
    run = evolve()
    assert "expected --member between 0" in sentence("evaluate", run, "--member", 3, code=2)
    assert "expected --to to be one of" in sentence("export", run, "--to", "onnx", "-o", "x", code=2)
    assert "Missing option" in sentence("export", run, "--to", "torch", code=2)


def test_resume_with_a_changed_hyperparameter(sentence: Any, evolve: Any) -> None:
    said = sentence("resume", evolve(), "--sigma", 0.5, "--generations", 9, code=2)
    assert "start a new one with `galab run --from runs/first --sigma 0.5`" in said


def test_the_command_that_resume_names_works(galab: Any, sentence: Any, evolve: Any) -> None:
    said = sentence("resume", evolve(), "--children", 9, code=2)
    command = said.split("`")[1].split()
    galab(*command[1:], "--generations", 1, "-q")
    assert "digits-ga" in galab("list").out


def test_code_that_would_end_galab_silently_is_an_error_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    import click

    from galab.cli.main import main

    with pytest.raises(SystemExit) as stop:
        main([], click.Command("own", callback=lambda: sys.exit(0)))
    assert stop.value.code == 1
    assert "galab: unexpected SystemExit: 0; a bug in galab or in your own code" in capsys.readouterr().err
