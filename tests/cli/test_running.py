"""``galab run`` and ``galab resume``: what they say and what they leave."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.cli.output import LiveLine, headline
from galab.saved_runs.export import read_genome
from galab.saved_runs.saved_run import open_saved
from galab.training.log_fields import Totals
from galab.training.stop import StopRules

FLAGS = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--children", "6", "--threads", "1",
    "--generations", "4", "--report-every", "2",
]  # fmt: skip


def test_a_run_says_what_it_does_where_it_is_and_what_to_type_next(galab: Any) -> None:
    said = galab("run", *FLAGS)
    seed = re.search(r"seed (\d+)", said.err)
    assert seed is not None
    config = json.loads(Path("runs/digits-ga/config.json").read_text())["hyperparameters"]
    assert config["seed"] == int(seed[1])
    for words in ("digits, the embedded 1,797 images: 1,257 training", "mlp with 310 parameters; 3 parents, 6 children",
                  "in runs/digits-ga until generation 4", "generation 1 | fitness -"):  # fmt: skip
        assert words in said.err, words
    for words in ("4 generations done: generation 4, 768 evaluations", "test accuracy", "validation accuracy",
                  "galab show runs/digits-ga", "galab resume runs/digits-ga --generations 8",
                  "tensorboard --logdir runs"):  # fmt: skip
        assert words in said.out, words


def test_every_command_that_a_run_names_works(galab: Any) -> None:
    said = galab("run", *FLAGS)
    commands = [line.split() for line in said.out.splitlines() if line.startswith("  galab ")]
    assert [command[1] for command in commands] == ["show", "evaluate", "resume"]
    for command in commands:
        galab(*command[1:])


def test_resume_says_where_it_continues(galab: Any, evolve: Any) -> None:
    said = galab("resume", evolve(), "--generations", 7)
    assert "continuing at generation 5 in runs/first until generation 7" in said.err
    assert "7 generations done" in said.out


def test_a_quiet_run_says_only_its_result(galab: Any) -> None:
    said = galab("run", *FLAGS, "-q")
    assert said.err == ""
    assert said.out.startswith("4 generations done")


def test_what_is_piped_has_plain_lines(galab: Any) -> None:
    """No escape codes and no carriage returns where nobody watches."""
    said = galab("run", *FLAGS, "--generations", 30)
    for text in said:
        assert "\x1b" not in text
        assert "\r" not in text
        assert all(line.isprintable() for line in text.splitlines())


def test_the_stop_rules_are_named(galab: Any) -> None:
    said = galab("run", *FLAGS, "--seconds", 90, "--target", 0.9)
    assert "until generation 4 or 90 seconds or validation accuracy 0.9" in said.err
    assert "reached the target 0" in galab("run", *FLAGS, "--target", 0).out


@pytest.mark.slow
def test_config_preset_and_flags(galab: Any, evolve: Any) -> None:
    first = evolve()
    galab("run", "--config", first / "config.json", "--name", "again", "-q")
    results = [json.loads(galab("evaluate", run, "-f", "json").out) for run in (first, "runs/again")]
    assert results[0] | {"run": ""} == results[1] | {"run": ""}
    galab("run", "--config", first / "config.json", "--name", "other", "--children", 7, "-q")
    assert json.loads(Path("runs/other/config.json").read_text())["hyperparameters"]["children"] == 7
    galab("run", "--preset", "mnist-quick", *FLAGS, "--seed", 3, "--name", "preset", "-q")
    values = json.loads(Path("runs/preset/config.json").read_text())["hyperparameters"]
    assert (values["task"], values["seed"], values["seconds"]) == ("digits", 3, 90)


def test_from_a_run_begins_with_its_parents(galab: Any, evolve: Any) -> None:
    first = evolve()
    galab("run", "--from", first, "--generations", 2, "--name", "next", "--sigma", 0.5, "-q")
    values = json.loads(Path("runs/next/config.json").read_text())["hyperparameters"]
    assert values["origin"] == str(first / "checkpoints" / "gen_000005.pkl")
    assert values["sigma"] == pytest.approx(0.5, rel=0.002)
    founders = open_saved(Path("runs/next/checkpoints/gen_000000.pkl")).state["weights"]
    assert np.array_equal(founders, open_saved(first).state["weights"])
    assert "every checkpoint follows" in galab("verify", "runs/next").out


def test_an_older_checkpoint_continues_as_a_new_run(galab: Any, evolve: Any, caplog: pytest.LogCaptureFixture) -> None:
    said = galab("resume", evolve() / "checkpoints" / "gen_000002.pkl")
    assert "runs/first-from-2 until generation 5" in said.err
    assert "continuing as the new run" in caplog.text
    results = [json.loads(galab("evaluate", f"runs/{name}", "-f", "json").out)["test_loss"]
               for name in ("first", "first-from-2")]  # fmt: skip
    assert results[0] == results[1]


@pytest.mark.parametrize("to", ["genome", "torch", "safetensors"])
def test_export(galab: Any, evolve: Any, to: str) -> None:
    run = evolve()
    said = galab("export", run, "--to", to, "--output", "out")
    size = Path("out").stat().st_size
    assert said.out == f"out: {size / 1000:,.1f} kB\n"
    if to == "genome":
        assert np.array_equal(read_genome(Path("out"))[1].weights, open_saved(run).member().weights)
        galab("export", run, "--to", to, "-o", "keyframe", "--keyframe", "--member", 1)
        assert np.array_equal(read_genome(Path("keyframe"))[1].weights, open_saved(run).member(1).weights)


@pytest.mark.parametrize(("shell", "words"), [("bash", "complete "), ("zsh", "#compdef galab"), ("fish", "complete ")])
def test_completion_scripts(galab: Any, shell: str, words: str) -> None:
    script = galab("completion", shell).out
    assert words in script
    assert "_GALAB_COMPLETE" in script


@pytest.mark.parametrize(
    ("line", "expected"),
    [("galab ev", {"evaluate"}), ("galab run --task mn", {"mnist"}), ("galab run --survival ", {"comma", "plus"}),
     ("galab run --mod", {"--model"})],
)  # fmt: skip
def test_completions(galab: Any, monkeypatch: pytest.MonkeyPatch, line: str, expected: set[str]) -> None:
    monkeypatch.setenv("_GALAB_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert {item.partition(",")[2] for item in galab().out.splitlines()} == expected


def line_of(generation: int, **more: Any) -> dict[str, Any]:
    return {"generation": generation, "fitness_best": -1.5, "step_size": 0.02, "evaluations_per_second": 1234.5,
            "failures": 0, "seconds": float(generation), **more}  # fmt: skip


def test_the_live_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galab.cli.output._PLAIN_SECONDS", 0.0)
    live = LiveLine(StopRules(generations=4), Totals(), 0)
    live.record(line_of(1), np.zeros(3))
    live.record(line_of(2, champion=7, validation_accuracy=0.25), np.zeros(3))
    live.record(line_of(3, failures=2), np.zeros(3))
    live.record(line_of(4, champion=7, validation_accuracy=0.5, fitness_best=None), np.zeros(3))
    live.close({})
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("generation 1 | fitness -1.5000 | step 0.02 | 1,234 evaluations/s | 0:0")
    assert "| validation 25.0% |" in second
    assert third.startswith("generation 4 | no fitness | validation 50.0%")


def test_the_live_line_of_a_text_and_of_flips(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galab.cli.output._PLAIN_SECONDS", 0.0)
    live = LiveLine(StopRules(generations=4), Totals(), 0, steps=False)
    live.record(line_of(1, champion=7, validation_accuracy=0.25, validation_bits=4.1234), np.zeros(3))
    assert "fitness -1.5000 | validation 4.123 bits a byte | 1,234" in capsys.readouterr().err


def test_the_headline_is_what_a_task_is_asked_for_first() -> None:
    losses = {"test_loss": 0.5, "validation_loss": 0.25}
    accuracies = {"test_accuracy": 0.5, "validation_accuracy": 0.25}
    assert headline(losses | accuracies) == "test accuracy 50.00%, validation accuracy 25.00%"
    assert headline(losses) == "test loss 0.5000, validation loss 0.2500"
    bits = {"test_bits": 4.0, "validation_bits": 3.5}
    assert headline(losses | accuracies | bits) == "test 4.000 bits a byte, validation 3.500 bits a byte"
    assert headline({}) == ""


def test_a_terminal_gets_one_line_that_is_cleared_also_after_an_error(
    galab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = []

    class Live:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.texts: list[str] = []

        def start(self) -> None: ...

        def update(self, text: Any) -> None:
            self.texts.append(text.plain)

        def stop(self) -> None:
            stopped.append(self.texts)

    monkeypatch.setattr("galab.cli.output.Live", Live)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    galab("run", *FLAGS)
    assert len(stopped) == 1
    assert [text.split(" |")[0] for text in stopped[0]] == [f"generation {number}" for number in range(1, 5)]

    def full(*_: Any) -> None:
        raise OSError("the disk burns")

    monkeypatch.setattr("galab.storage.log.LogFile.append", full)
    assert "the disk burns" in galab("run", *FLAGS, code=1).err
    assert len(stopped) == 2, "the cursor of the terminal would stay hidden"
