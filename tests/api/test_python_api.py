"""``galab.run``, ``galab.resume``, ``galab.load`` and how a configuration is composed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import outcome

import galab
from galab.config import RunConfig
from galab.errors import UsageError
from galab.training.compose import compose, preset_names, read_preset
from galab.training.resolve import resolve


def test_importing_galab_imports_no_torch() -> None:
    script = "import sys, galab\nassert not {'torch', 'numpy', 'scipy'} & set(sys.modules), 'heavy'\ngalab.RunConfig"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.slow
def test_the_three_functions(tmp_path: Path, small: dict[str, Any]) -> None:
    heard: list[dict[str, Any]] = []
    result = galab.run(name="one", runs=tmp_path, hooks=[heard.append], **small)
    assert (result.generation, result.reason, result.interrupted) == (5, "5 generations done", False)
    assert result.folder.path == tmp_path / "one"
    assert result.evaluations == 5 * 6 * 32
    assert set(result.metrics) == {"validation_loss", "validation_accuracy", "test_loss", "test_accuracy"}
    assert len(heard) == 5
    again = galab.resume(tmp_path / "one", generations=7, hooks=[heard.append])
    assert (again.generation, len(heard)) == (7, 7)
    assert again.seconds > result.seconds
    assert galab.load(tmp_path / "one").training is False
    assert galab.run(runs=str(tmp_path), **small).folder.name == "digits-ga"
    assert galab.run(runs=str(tmp_path), **small).folder.name == "digits-ga-2"


def test_errors_of_the_functions(tmp_path: Path, small: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no hyperparameter is called 'childrn'. Did you mean 'children'"):
        galab.run(runs=tmp_path, childrn=3)
    with pytest.raises(UsageError, match="no task is called 'digit'"):
        galab.run(runs=tmp_path, task="digit")
    with pytest.raises(TypeError):
        galab.resume(tmp_path, childrn=3, **{"generations": 3, "path": "x"})
    assert list(tmp_path.iterdir()) == []


def test_a_config_file_repeats_a_run_to_the_bit(evolve: Any, tmp_path: Path) -> None:
    folder = evolve("first", survival="plus", sigma=0.03)
    galab.run(config=folder / "config.json", name="again", runs=tmp_path)
    assert outcome(tmp_path / "again") == outcome(folder)
    values = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "again")]
    assert values[0] == values[1]


def test_flags_win_over_files_and_files_over_presets(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_text(json.dumps({"children": 50, "batch": 7}))
    preset = read_preset("mnist-quick")
    config = compose({"batch": 9}, preset="mnist-quick", config_file=tmp_path / "plain.json")
    assert (config.children, config.batch, config.seconds) == (50, 9, preset["seconds"])


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_configuration(name: str) -> None:
    config = compose({}, preset=name)
    assert config.changed(RunConfig()), "a preset without any change"
    assert resolve(config).threads > 0


def test_wrong_sources_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no preset is called 'mnist-quik'. Did you mean 'mnist-quick'\? Presets: "):
        compose({}, preset="mnist-quik")
    path = tmp_path / "config.json"
    with pytest.raises(UsageError, match=r"expected a configuration at '.*' \(--config\), found no file"):
        compose({}, config_file=path)
    with pytest.raises(UsageError, match="to be JSON, got"):
        compose({}, config_file=tmp_path)
    for text, match in (
        ("{", "to be JSON, got"),
        ("[1]", "to be an object of hyperparameters, got list"),
        ('{"hyperparameters": 3}', "to be an object of hyperparameters, got int"),
        ('{"hyperparameters": {"sigm": 1}}', "no hyperparameter is called 'sigm'. Did you mean 'sigma'"),
        ('{"children": "many"}', "expected --children to be of type int, got 'many'"),
        ('{"children": 0}', "expected --children between 1 and 1000000, got 0"),
        ('{"sigma": NaN}', "expected --sigma to be of type float, got None"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=match):
            compose({}, config_file=path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(UsageError, match="to be JSON, got"):
        compose({}, config_file=path)


def test_what_is_saved_is_what_was_computed() -> None:
    config = resolve(RunConfig(task="digits", sigma=0.03, children=100))
    assert config.generations == 1000
    assert config.seed is not None
    assert (config.device in ("cpu", "cuda"), config.threads > 0, config.chunk) == (True, True, 50)
    assert config.sigma != 0.03
    assert resolve(config) == config
    assert resolve(RunConfig(seconds=1.0)).generations is None
