"""Downloads a file of a data set from one of several mirrors, verified by the checksum of what it decompresses to."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

from galab.data.idx import read_payload
from galab.data.sources import IdxFile, Source, digest_of, short
from galab.errors import DataError

#: How often the list of mirrors is tried.
ROUNDS = 2
#: Seconds between two rounds.
PAUSE = 1.0
#: Seconds to wait for a connection, and then for the next bytes.
TIMEOUT = (5.0, 30.0)

logger = logging.getLogger("galab")


class UnavailableError(DataError):
    """A data set can neither be found on this machine nor be downloaded; another one may do."""


def fetch(source: Source, file: IdxFile) -> bytes:
    """The decompressed, verified content of a file, from the first mirror that delivers it.

    Raises:
        UnavailableError: no mirror could be reached, or none delivered the right content; the sentence lacks its
            last clause, what to do, which the caller knows.
    """
    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="galab-") as folder:
        for attempt in range(ROUNDS):
            if attempt:
                time.sleep(PAUSE)
            for mirror in source.mirrors:
                try:
                    return _from_mirror(mirror, source, file, Path(folder))
                except (OSError, ValueError, DataError) as error:
                    reasons[mirror] = _reason(error)
                    logger.debug("%s%s.gz: %s", mirror, file.name, error)
    kinds = ", ".join(sorted(set(reasons.values())))
    raise UnavailableError(
        f"expected {file.name} of {source.name} from a download, got it from none of {len(reasons)} mirrors ({kinds})"
    )


def _from_mirror(mirror: str, source: Source, file: IdxFile, folder: Path) -> bytes:
    import pooch

    # pooch tells the hash of every file it was given none for; here the payload's hash is what counts.
    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.WARNING)
    target = folder / f"{file.name}.gz"
    target.unlink(missing_ok=True)
    try:
        pooch.retrieve(
            url=f"{mirror}{target.name}",
            known_hash=None,
            fname=target.name,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=False),
        )
    finally:
        log.setLevel(level)
    content = read_payload(target)
    got = digest_of(content, file.digest)
    if got != file.digest:
        raise DataError(f"expected {file.name} of {source.name} ({short(file.digest)}), got {short(got)}; try a mirror")
    return content


def _reason(error: Exception) -> str:
    """A failure in a few words: the libraries' own messages run over several lines."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"HTTP {status}"
    if isinstance(error, DataError):
        return "wrong content"
    name = type(error).__name__
    return "no connection" if "Connect" in name else "no answer in time" if "Timeout" in name else name
