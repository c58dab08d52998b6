"""Question scripts on the terminal: flags, progress, the answer in one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galab.cli.main import main
from galab.cli.output import echo, told_if_interrupted
from galab.cli.trials import Summary
from galab.errors import UsageError

if TYPE_CHECKING:
    from galab.analysis.questions.question import Question
    from galab.analysis.questions.trials import TrialCurve
    from galab.training.trials.trials import Trials


def ask(*questions: Question, arguments: list[str] | None = None) -> None:
    """Run questions' trials where they are missing, draw and answer, then exit; the last line of its script.

    Call it under ``if __name__ == "__main__":``, because trials run in processes that import the script.

    Args:
        questions: what is asked, one after the other; one that is answered by the same runs as another before has a
            line and no figure, and runs nothing.
        arguments: what was typed; those of this process when absent.
    """
    name = Path(sys.argv[0]).name
    main(arguments, command_of(*questions), f"python {name}" if name.endswith(".py") else name)


def guarded(function: Callable[[], None]) -> None:
    """Run a script that reads its own arguments; what is wrong is one sentence, and the exit code says so."""
    name = Path(sys.argv[0]).name
    main([], click.Command(name, callback=function, add_help_option=False), f"python {name}")


def look(
    function: Callable[..., None],
    *,
    shares: Sequence[float],
    output: Path,
    options: Sequence[click.Option] = (),
    arguments: list[str] | None = None,
) -> None:
    """Look at a saved run at some of its generations, then exit; the last line of a script that does so.

    Args:
        function: called with the opened run, the generations, the figure's file, and what the options gave by name.
        shares: of the run, the generations that are looked at when none are named: 0 is its start, 1 its end.
        output: where the figure lies when nothing is said.
        options: of the script's own.
        arguments: what was typed; those of this process when absent.
    """
    when = ", ".join(f"{share:.0%}" for share in shares)
    params: list[click.Parameter] = [
        click.Argument(["run"], type=click.Path(path_type=Path), metavar="RUN"),
        click.Option(["--generations"], metavar="N,N", help=f"Which to look at; {when} of the run when absent."),
        *options,
        click.Option(["-o", "--output"], type=click.Path(path_type=Path, dir_okay=False), default=output,
                     metavar="FILE.png", help="The figure."),
    ]  # fmt: skip

    def look_at_it(run: Path, generations: str | None, output: Path, **own: Any) -> int:
        from galab.saved_runs.saved_run import open_saved
        from galab.storage.log import read_log

        saved = open_saved(run)
        log = [] if saved.folder is None else read_log(saved.folder.log_path)
        reports = [int(line["generation"]) for line in log if "champion" in line]
        function(saved, _chosen(generations, shares, reports, saved.generation), output, **own)
        return 0

    name = Path(sys.argv[0]).name
    command = click.Command(name, callback=look_at_it, params=params, help=function.__doc__)
    main(arguments, command, f"python {name}" if name.endswith(".py") else name)


def _chosen(text: str | None, shares: Sequence[float], reports: Sequence[int], last: int) -> list[int]:
    """The generations that are looked at: those named, or the start and reports of the run by its shares.

    Raises:
        UsageError: they are no numbers, or not all of the run.
    """
    if text is None:
        wanted = [last * share for share in shares if share > 0]
        near = [min([*reports, last], key=lambda report: abs(report - place)) for place in wanted]
        return sorted({*near, *(0 for share in shares if share == 0)})
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"expected --generations as numbers such as 0,100, got '{text}'; correct them") from None
    if not all(0 <= generation <= last for generation in found):
        raise UsageError(f"expected --generations from 0 to {last}, the last of the run, got '{text}'; name others")
    return found


def command_of(question: Question, *others: Question) -> click.Command:
    """The flags that every question script has, and what it does; their defaults are those of the first question."""
    seeds = click.Option(
        ["--seeds"], default=question.seeds, show_default=True, metavar="N-N",
        help="Seeds of each condition's trials, such as 0-9 or 0,3,7.",
    )  # fmt: skip
    generations = click.Option(
        ["--generations"], type=click.IntRange(min=1), default=question.generations, show_default=True,
        help="Of each trial; more than before goes on from there, fewer looks at the start.",
    )  # fmt: skip
    jobs = click.Option(["--jobs"], type=int, metavar="N", help="Processes; as many as cores when absent.")
    place = click.Path(path_type=Path, file_okay=False)
    runs = click.Option(["--runs"], type=place, default=Path("runs"), show_default=True, help="Folder of all runs.")
    file = click.Path(path_type=Path, dir_okay=False)
    output = click.Option(
        ["-o", "--output"], type=file, metavar="FILE.png", help="The figure; tables lie beside it."
    )
    quiet = click.Option(["-q", "--quiet"], is_flag=True, help="Show no progress.")

    @told_if_interrupted(lambda: "the same command goes on from here")
    def answer_it(
        seeds: str, generations: int, jobs: int | None, runs: Path, output: Path | None, quiet: bool
    ) -> int:
        """Each question after the other; the exit code."""
        from galab.analysis.questions.trials import read_question
        from galab.training.trials.trials import parse_seeds

        # A condition that gets nowhere is an answer here and no mistake; what each run warned of is in its log.
        logging.getLogger("galab").setLevel(logging.ERROR)
        if output is not None and output.suffix in ("", ".csv"):
            raise UsageError(f"expected --output as the name of an image such as answer.png, got '{output}'; add .png")
        numbers = parse_seeds(seeds)
        known: list[tuple[Question, Trials, list[TrialCurve]]] = []
        for number, one in enumerate((question, *others)):
            before = next((made for made in known if one.has_runs_of(made[0])), None)
            trials = before[1] if before else _run(one, numbers, generations, jobs=jobs, runs=runs, quiet=quiet)
            if trials.interrupted:
                return _interrupted(trials)
            same = before is not None and (one.follow, one.factor) == (before[0].follow, before[0].factor)
            reads = before[2] if before and same else read_question(one, trials, generations)
            known.append((one, trials, reads))
            image = output
            if output is not None and number:
                image = output.with_name(f"{output.stem}_{number + 1}{output.suffix}")
            _answer(one, reads, generations, data=trials.data, runs=runs, output=image, draw=before is None)
        return 0

    labels = ", ".join(condition.label for condition in question.conditions)
    return click.Command(
        question.name, callback=answer_it, params=[seeds, generations, jobs, runs, output, quiet],
        help=f"{question.title}\n\nConditions: {labels}.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )  # fmt: skip


def _run(
    question: Question, seeds: tuple[int, ...], generations: int, *, jobs: int | None, runs: Path, quiet: bool
) -> Trials:
    """Run what is missing, with a line of progress."""
    from galab.analysis.questions.trials import run_question

    with Summary(len(seeds) * len(question.conditions), quiet=quiet).shown() as summary:
        return run_question(
            question, seeds=seeds, generations=generations, runs=runs, jobs=jobs, progress=summary.update
        )


def _answer(
    question: Question, reads: list[TrialCurve], generations: int, *, data: str, runs: Path, output: Path | None,
    draw: bool,
) -> None:  # fmt: skip
    """One line, and the figure where it is the first of these runs."""
    from galab.analysis.questions.answer import answer, numbers_of_trials, numbers_sentence, sentence, write
    from galab.analysis.questions.trials import home

    found = answer(question, reads, generations)
    echo(sentence(found))
    numbers = numbers_of_trials(question.numbers, found.reads) if question.numbers else {}
    if numbers:
        echo(numbers_sentence(numbers))
    if not draw:
        return
    files = write(found, output or home(question, runs) / f"{question.name}.png", numbers)
    echo(f"on {data or 'unknown data'}; wrote {', '.join(map(str, files))}", err=True)


def _interrupted(trials: Trials) -> int:
    done = sum(one.state == "finished" for one in trials.trials)
    echo(
        f"interrupted with {done} of {len(trials.trials)} trials finished; the same command goes on from here", err=True
    )
    return 130
