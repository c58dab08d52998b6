"""Runs of a language model: the same whatever computes them, resumed or not, and what they say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import outcome

from galab.analysis.report.facts import facts_of
from galab.analysis.report.report import curves_of, report
from galab.config import RunConfig
from galab.errors import GalabError, UsageError
from galab.evaluation.answers import MemberProducts
from galab.evaluation.batched.low_rank import LowRank
from galab.evaluation.executors.local import LocalExecutor
from galab.genome.random import table
from galab.operators.es_noise import draw, plan_of_ranks
from galab.saved_runs.generate import generate
from galab.saved_runs.saved_run import open_saved
from galab.storage.lineage import read_rows
from galab.storage.log import read_log
from galab.strategies.centre import record_dtype
from galab.training.resolve import resolve
from galab.training.start_or_resume import resume, start

pytest.importorskip("transformers")

from galab.models.language_model import LanguageModel

RUN: dict[str, Any] = {
    "task": "conciseness(prompts=sums)", "seed": 3, "generations": 4, "report_every": 2, "save_every": 2, "threads": 1,
}  # fmt: skip
ES = {"strategy": "eggroll", "population": 12, "sigma": 0.03, "lr": 0.0003}
KINDS: dict[str, dict[str, Any]] = {
    "eggroll": ES,
    "eggroll-kl": {
        **ES, "fitness": "reward+8*accuracy+2*kl", "pairs": "antithetic", "sigma_relative": "on", "sigma": 0.3,
    },
    "eggroll-lora": {**ES, "adapt": "lora", "lora_rank": 2, "layers": "0-1"},
    "openai-es": {**ES, "strategy": "openai-es", "baseline": "prompt"},
    "snes-lora": {"strategy": "snes", "population": 8, "sigma": 0.03, "adapt": "lora", "layers": "*q_proj"},
    "ga": {"parents": 3, "children": 8, "elites": 1, "sigma": 0.03},
    "ga-lora": {"parents": 3, "children": 8, "adapt": "lora", "lora_rank": 1, "sigma": 0.1, "crossover": "row"},
}


@pytest.fixture
def write(tmp_path: Path, no_waiting_for_the_disk: None, forked_processes: None) -> Any:
    def make(name: str = "first", **changes: Any) -> Path:
        start(RunConfig(**RUN | changes), name=name, runs=tmp_path)
        return tmp_path / name

    return make


def result(folder: Path) -> dict[str, Any]:
    found = outcome(folder)
    found.pop("numeric_profile")
    return found


def assert_equal(found: dict[str, Any], expected: dict[str, Any], *, centre: bool = True) -> None:
    """Equal but for the records of a centre, which say how long the run was meant to be."""
    if found["lineage"] != expected["lineage"] and centre:
        for each in (found, expected):
            del each["records"], each["lineage"]
    assert found == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_unbroken_one_and_is_verified(write: Any, kind: str) -> None:
    whole = result(write("whole", **KINDS[kind]))
    folder = write("broken", **KINDS[kind] | {"generations": 2})
    resume(folder, {"generations": 4})
    assert_equal(result(folder), whole, centre=not kind.startswith("ga"))
    assert whole["verified"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["eggroll", pytest.param("ga-lora", marks=pytest.mark.release)])
def test_workers_change_nothing(write: Any, kind: str) -> None:
    chunk = {"chunk": 4}
    assert result(write("two", workers=2, **chunk, **KINDS[kind])) == result(write("none", **chunk, **KINDS[kind]))


def test_the_log_says_what_answers_are_like(write: Any) -> None:
    lines = read_log(write(**ES) / "log.jsonl")
    for line in lines:
        assert 0 < line["answers_changed"] <= 1
        assert line["answers_reward"] == pytest.approx(line["fitness_mean"])
        assert line["tokens"] > line["evaluations"]
    report = lines[1]
    assert report["sample"].startswith("3+5=\n  base: the answer is 8 ok.\n  now: ")
    assert report["validation_reward"] == -18 + report["validation_gained"]
    assert {"test_kl", "test_accuracy", "test_lost"} <= report.keys()
    assert "sample" not in lines[0]


def test_the_report_shows_answers_line_by_line_and_curves_of_rewards(write: Any) -> None:
    folder = write(**{**ES, "generations": 2, "report_every": 1})
    text = report(folder, lambda what, share: None).read_text()
    assert "<pre>3+5=\n  base: the answer is 8 ok.\n  now: " in text
    assert "200 bytes" not in text
    titles = [figure.title for figure in curves_of(facts_of(folder))]
    assert "The members' answers beside the base model's" in titles
    assert "Divergence of the candidate from the base model" in titles
    assert any(title.startswith("Reward of the members' answers") for title in titles)


def test_steps_too_small_to_change_an_answer_are_said(write: Any) -> None:
    lines = read_log(write(**{**ES, "sigma": 1e-5, "lr": 1e-9, "generations": 2}) / "log.jsonl")
    assert lines[0]["answers_changed"] == 0
    (said,) = lines[0]["warnings"]
    assert said.startswith("every member answers as the base model does, to the letter")
    assert lines[0]["fitness_std"] == 0


def test_rewards_may_be_compared_prompt_by_prompt(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are told to the strategy, whatever computes them in how many parts."""
    seen = list[Any]()
    plain = LocalExecutor.join

    def join(self: LocalExecutor, parts: Any, answers: Any) -> Any:
        answers = list(answers)
        seen.append(np.concatenate([part.cases for part in answers]))
        return plain(self, parts, answers)

    monkeypatch.setattr(LocalExecutor, "join", join)
    lines = read_log(write(**{**ES, "baseline": "prompt", "generations": 2, "chunk": 4}) / "log.jsonl")
    for line, rewards in zip(lines, seen, strict=True):
        expected = ((rewards - rewards.mean(axis=0)) / rewards.std(axis=0)).mean(axis=1)
        assert line["fitness_best"] == pytest.approx(expected.max(), rel=1e-5)
        assert line["answers_reward"] == pytest.approx(rewards.mean(), rel=1e-5)
    assert seen[0].std(axis=0).min() > 0


def test_the_share_of_ties_is_in_the_log(write: Any) -> None:
    folder = write(**{**ES, "generations": 3})
    record = read_rows(folder / "scores.bin", record_dtype(12))[-1]
    _, counts = np.unique(record["fitness"], return_counts=True)
    assert read_log(folder / "log.jsonl")[-1]["answers_tied"] == counts[counts > 1].sum() / 12
    same = write("same", **{**ES, "sigma": 1e-5, "lr": 1e-9, "generations": 1})
    assert read_log(same / "log.jsonl")[0]["answers_tied"] == 1


def test_steps_that_wreck_the_language_are_said(write: Any) -> None:
    """As where noise is made twenty times as large as it should be."""
    lines = read_log(write(**{**ES, "sigma": 20 * ES["sigma"], "generations": 1}) / "log.jsonl")
    (said,) = lines[0]["warnings"]
    assert said.startswith("every answer differs from the base model's, and 71% of what")


@pytest.mark.parametrize("start", [0.0005, 0.6])
def test_a_step_size_is_found_at_which_some_answers_change(write: Any, start: float) -> None:
    folder = write(**{**ES, "sigma": start, "find_sigma": "on", "generations": 1})
    assert 0.2 <= read_log(folder / "log.jsonl")[0]["answers_changed"] <= 0.6
    assert 0.01 < open_saved(folder).config.sigma < 0.1
    again = write("again", **{**ES, "sigma": open_saved(folder).config.sigma, "find_sigma": "on", "generations": 1})
    assert result(again) == result(folder), "a step size that does is kept"


def test_a_step_size_that_is_found_has_a_floor_of_its_own(write: Any) -> None:
    folder = write(parents=3, children=8, sigma=0.6, find_sigma="on", generations=1)
    found = open_saved(folder).config
    assert found.sigma < 0.2
    assert found.sigma_floor == resolve(RunConfig(**RUN, parents=3, children=8, sigma=found.sigma)).sigma_floor


def test_no_step_size_that_changes_some_answers_is_one_sentence(write: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a step size at which some answers change, found 0% of them changed"):
        write(**{**ES, "sigma": 1e-6, "find_sigma": "on"})
    assert list(tmp_path.iterdir()) == []


def test_dense_noise_over_all_weights_takes_the_step_of_qiu_et_al(write: Any) -> None:
    """Theta + (alpha / N) sum_n Z_n eps_n with alpha = sigma / 2 and z-scores Z (arXiv 2509.24372)."""
    sigma = 0.05
    changes = {"strategy": "openai-es", "population": 10, "pairs": "one-sided", "shaping": "z-score", "sigma": sigma}
    folder = write(**changes, lr=sigma**2 / 2, generations=1, optimizer="sgd")
    fitness = read_rows(folder / "scores.bin", record_dtype(10))["fitness"][0].astype(float)
    scores = (fitness - fitness.mean()) / fitness.std()
    saved = open_saved(folder)
    plan = plan_of_ranks(saved.layout, [0] * len(saved.layout.names))
    noise = draw(plan, table("normal"), 3, 1, 0, 10)
    for name, base in LanguageModel().named_parameters():
        step = np.tensordot(scores, noise[name].values.double().numpy(), 1) * sigma / 2 / 10
        found = saved.tensors(saved.member(None))[name].numpy() - base.detach().numpy()
        np.testing.assert_allclose(found, step, atol=2e-7)
        assert np.abs(step).max() > 1e-3


def test_a_hacked_reward_is_said(write: Any) -> None:
    folder = write(**{**ES, "adapt": "lora", "sigma": 0.03, "population": 32, "generations": 8})
    said = [sentence for line in read_log(folder / "log.jsonl") for sentence in line.get("warnings", [])]
    assert any(sentence.startswith("the reward is being hacked: it is ") for sentence in said)


def test_a_trained_model_answers(write: Any) -> None:
    saved = open_saved(write(**ES))
    text = bytes(generate(saved, "4+3=", temperature=0)).decode()
    assert text == "the answer is 7 ok."
    drawn = {bytes(generate(saved, "4+3=", temperature=1.0, seed=seed)) for seed in (1, 1, 2, 3, 4, 5)}
    assert 1 < len(drawn) < 6


def test_another_base_under_the_same_name_is_refused(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from galab.models.base_model import load_base

    folder = write(**ES)
    monkeypatch.setattr(load_base("tiny"), "digest", "ab" * 32)
    with pytest.raises(GalabError, match=r"the base model that .* SHA-256 572234e9e284, got abab"):
        resume(folder, {"generations": 6})


def test_a_reward_that_fails_ends_the_run_and_it_can_go_on(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.jsonl").write_text(
        '{"prompt": "3+5=", "target": "8"}\n{"prompt": "2+2=", "target": "4", "split": "test"}\n'
    )
    source = "from pathlib import Path\n\ndef short(answer, target):\n    {}\n    return -len(answer)\n"
    Path("own.py").write_text(source.format("assert not Path('broken').exists()"))
    task = {"task": "prompts(file=own.jsonl, reward=own.py:short)"}
    folder = write(**{**ES, **task, "generations": 2})
    Path("broken").touch()
    with pytest.raises(UsageError, match="task 'own': expected its reward to return a number for the answer"):
        resume(folder, {"generations": 4})
    Path("broken").unlink()
    resume(folder, {"generations": 4})
    assert_equal(result(folder), result(write("whole", **{**ES, **task})))


def test_fitness_has_the_terms_that_it_names(write: Any) -> None:
    lines = read_log(write(**KINDS["eggroll-kl"]) / "log.jsonl")
    for line in lines:
        terms = line["train_reward"] + 8 * line["train_accuracy"] - 2 * line["train_kl"]
        np.testing.assert_allclose(line["fitness_best"], terms, rtol=1e-6)


def deaf(self: Any, x: Any, name: str) -> Any:
    """A product that all members share: what they evolve is not heard."""
    weight = self._weights[name]
    return torch.nn.functional.linear(x, weight.base if isinstance(weight, LowRank) else weight[0])


def shaky(self: Any, x: Any, name: str) -> Any:
    """A product that is another one each time."""
    return torch.nn.functional.linear(x, self._weights[name].base) + 0.1 * torch.randn(x.shape[0], 1, 1)


@pytest.mark.parametrize(
    ("product", "said"), [(deaf, "got the same with a large step"), (shaky, "got others with a step of zero")]
)
def test_steps_that_do_not_reach_the_answers_are_found_at_the_start(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: Any, said: str
) -> None:
    monkeypatch.setattr(MemberProducts, "__call__", product)
    with pytest.raises(UsageError, match=f"expected answers of 'tiny' that follow its evolved weights, {said}"):
        write(**ES)
    assert list(tmp_path.iterdir()) == []
