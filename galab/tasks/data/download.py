"""The public data sets: their files, checksums and mirrors, and how a file is found or downloaded.

A file is taken from ``$GALAB_DATA``, else from the user's cache, else from one of several mirrors into that cache.

Sources: MNIST, Y. LeCun, C. Cortes, C. Burges (1998), http://yann.lecun.com/exdb/mnist/. Fashion-MNIST, H. Xiao,
K. Rasul, R. Vollgraf (2017), https://arxiv.org/abs/1708.07747.

Checksums are those of the *decompressed* files, because the bytes of a gzip file differ between mirrors.
For Fashion-MNIST they are MD5: published listings give MD5 sums for its decompressed files and SHA-256 sums for its
gzip files alone. MD5 still detects every accident, and a data set is only numbers: it cannot run code.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from galab.errors import DataError
from galab.tasks.data.idx import read_payload

logger = logging.getLogger("galab")
#: How often the list of mirrors is tried.
ROUNDS = 2
#: Seconds between two rounds.
PAUSE = 1.0
#: Seconds to wait for a connection, and then for the next bytes.
TIMEOUT = (5.0, 30.0)


@dataclass(frozen=True, slots=True)
class IdxFile:
    """One file of a data set.

    Attributes:
        name: file name without ``.gz``.
        digest: ``"sha256:<hex>"`` or ``"md5:<hex>"`` of the decompressed content.
    """

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a data set of images lies.

    Attributes:
        name: the name used in messages and for the folder in ``$GALAB_DATA`` and in the cache.
        train_images, train_labels, test_images, test_labels: its files.
        mirrors: addresses to which ``<file name>.gz`` is appended.
    """

    name: str
    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile
    mirrors: tuple[str, ...]

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """The four files."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels


def digest_of(payload: bytes, like: str) -> str:
    """The digest of ``payload`` by the algorithm that the digest ``like`` names."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, payload, usedforsecurity=False).hexdigest()}"


def short(digest: str) -> str:
    """A digest cut to what a person compares, such as ``sha256 ba891046e650``."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm} {value[:12]}"


MNIST = Source(
    name="mnist",
    train_images=IdxFile(
        "train-images-idx3-ubyte", "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    train_labels=IdxFile(
        "train-labels-idx1-ubyte", "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    test_images=IdxFile(
        "t10k-images-idx3-ubyte", "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    test_labels=IdxFile(
        "t10k-labels-idx1-ubyte", "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
)

FASHION_MNIST = Source(
    name="fashion-mnist",
    train_images=IdxFile("train-images-idx3-ubyte", "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    train_labels=IdxFile("train-labels-idx1-ubyte", "md5:9018921c3c673c538a1fc5bad174d6f9"),
    test_images=IdxFile("t10k-images-idx3-ubyte", "md5:8181f5470baa50b63fa0f6fddb340f0a"),
    test_labels=IdxFile("t10k-labels-idx1-ubyte", "md5:15d484375f8d13e6eb1aabb0c3f46965"),
    mirrors=(
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
)


def cache_folder() -> Path:
    """Where downloads are kept: galab's folder in the user's cache."""
    return Path(platformdirs.user_cache_dir("galab"))


def data_folder() -> Path | None:
    """The folder that the environment variable ``GALAB_DATA`` names; None when it is not set.

    Raises:
        DataError: it names something that is not a folder.
    """
    text = os.environ.get("GALAB_DATA", "")
    if not text:
        return None
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise DataError(f"expected a folder at '{folder}' (GALAB_DATA), found none; create it or unset GALAB_DATA")
    return folder


def local_folder(source: Source) -> str | None:
    """The folder where a data set's files lie now, without reading them; None when one is missing."""
    for root in filter(None, (data_folder(), cache_folder())):
        folder = root / source.name
        if all((folder / file.name).is_file() or (folder / f"{file.name}.gz").is_file() for file in source.files):
            return str(folder)
    return None


def payload(source: Source, file: IdxFile) -> bytes:
    """The decompressed, verified content of one file.

    Raises:
        DataError: ``GALAB_DATA`` names no folder, or a file that was found is not the one its checksum names.
        UnavailableError: the file is neither here nor to be downloaded.
    """
    chosen = data_folder()
    for root in filter(None, (chosen, cache_folder())):
        for path in (root / source.name / file.name, root / source.name / f"{file.name}.gz"):
            if path.is_file():
                return _verified(path, source, file)
    try:
        content = fetch(source, file)
    except UnavailableError as error:
        hint = f"'{chosen / source.name}'" if chosen else f"the folder {source.name}/ of a folder that GALAB_DATA names"
        raise UnavailableError(f"{error}; connect to the network or put the four files into {hint}") from error
    _keep(content, cache_folder() / source.name / file.name)
    return content


def _verified(path: Path, source: Source, file: IdxFile) -> bytes:
    content = read_payload(path)
    got = digest_of(content, file.digest)
    if got != file.digest:
        raise DataError(
            f"expected '{path}' to hold {file.name} of {source.name} ({short(file.digest)}), got {short(got)}; "
            "delete or replace that file"
        )
    return content


def _keep(content: bytes, path: Path) -> None:
    """Write beside and rename, so that no other process ever reads half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as handle:
            try:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
                os.replace(handle.name, path)
            except BaseException:
                Path(handle.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        # A read-only home must not stop a run: the data is in memory, only the next start will be slower.
        logger.warning("could not keep %s in the cache '%s': %s", path.name, path.parent, error.strerror or error)


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
