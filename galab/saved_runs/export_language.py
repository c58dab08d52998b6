"""Taking a language model out of a run: merged with its base, or as an adapter that PEFT and servers read."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from galab.contracts import Member
from galab.errors import UsageError
from galab.models.adapter_files import adapter_files
from galab.models.language_model import LanguageModel
from galab.saved_runs.saved_run import SavedRun
from galab.storage.files import write_atomic


def merged(saved: SavedRun, individual: Member) -> dict[str, Tensor]:
    """All weights of the base, with what was evolved, by the base's own names."""
    model = language_model(saved)
    found = {name: value.cpu().clone() for name, value in model.base.own_weights().items()}
    return found | {f"{path}.weight": value for path, value in model.merged(saved.tensors(individual)).items()}


def write_adapter(saved: SavedRun, individual: Member, folder: Path) -> int:
    """Write an adapter as PEFT has it: two files in a folder.

    Returns:
        Bytes written.

    Raises:
        UsageError: what was evolved is no adapter, or the folder is a file.
    """
    model = language_model(saved)
    if saved.config.adapt != "lora":
        raise UsageError(
            f"expected a run with --adapt lora for --to peft, got --adapt {saved.config.adapt}, which changes whole "
            "matrices; use --to safetensors, which merges them with the base"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"expected a folder for --to peft, got the file '{folder}'; name another place") from error
    files = adapter_files(model, saved.tensors(individual))
    for name, content in files.items():
        write_atomic(folder / name, [content])
    return sum(map(len, files.values()))


def language_model(saved: SavedRun) -> LanguageModel:
    """The language model of a run.

    Raises:
        UsageError: its network is another one.
    """
    if not isinstance(saved.module, LanguageModel):
        raise UsageError(
            f"{saved.path}: expected a run of a language model, got --model {saved.config.model}; choose another run, "
            "or another format"
        )
    return saved.module

