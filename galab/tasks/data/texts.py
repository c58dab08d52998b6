"""Public texts: where they lie, and what they must be.

Sources: Tiny Shakespeare, A. Karpathy (2015), https://github.com/karpathy/char-rnn. TinyStories, R. Eldan, Y. Li
(2023), arXiv 2305.07759, https://huggingface.co/datasets/roneneldan/TinyStories.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from galab.errors import DataError
from galab.tasks.data.download import UnavailableError, cache_folder, data_folder


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a text.

    Attributes:
        folder: in ``$GALAB_DATA`` and in the cache.
        name: of the file.
        sha256: of its content; None where any content is taken.
        address: where it can be had; empty where it must be put there by hand.
    """

    folder: str
    name: str
    sha256: str | None = None
    address: str = ""


class Text(Enum):
    """The texts, each with its files, of which the first that is there is taken."""

    TINYSHAKESPEARE = (
        _File(
            "tinyshakespeare", "input.txt", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        ),
    )  # fmt: skip
    TINYSTORIES = (
        _File("tinystories", "TinyStoriesV2-GPT4-train.txt"),
        _File("tinystories", "tinystories_sample.txt"),
    )


def read_text(text: Text) -> bytes:
    """The bytes of a text, from ``$GALAB_DATA``, the cache, or a download.

    Raises:
        DataError: a file is not the one that its checksum names, or ``GALAB_DATA`` names no folder.
        UnavailableError: it is neither here nor to be downloaded.
    """
    files: tuple[_File, ...] = text.value
    chosen = data_folder()
    for file in files:
        for root in filter(None, (chosen, cache_folder())):
            path = root / file.folder / file.name
            if path.is_file():
                return _checked(path.read_bytes(), file, str(path))
    for file in files:
        if file.address:
            return _downloaded(file)
    names = " or ".join(file.name for file in files)
    raise UnavailableError(
        f"expected {names} in the folder {files[0].folder}/ of a folder that GALAB_DATA names, found none; put it there"
    )


def _downloaded(file: _File) -> bytes:
    import pooch

    folder = cache_folder() / file.folder
    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        found = pooch.retrieve(
            file.address, known_hash=f"sha256:{file.sha256}", fname=file.name, path=folder,
            downloader=pooch.HTTPDownloader(timeout=(5.0, 30.0), progressbar=False),
        )  # fmt: skip
        return _checked(Path(found).read_bytes(), file, file.address)
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"expected {file.name} of {file.folder} from '{file.address}', got {type(error).__name__}; connect to the "
            f"network, or put the file into the folder {file.folder}/ of a folder that GALAB_DATA names"
        ) from error
    finally:
        log.setLevel(level)


def _checked(content: bytes, file: _File, where: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if file.sha256 is not None and found != file.sha256:
        raise DataError(
            f"expected '{where}' to hold {file.name} of {file.folder} (sha256 {file.sha256[:12]}), got {found[:12]}; "
            "delete or replace that file"
        )
    return content
