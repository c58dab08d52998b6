"""The public data sets that galab can find by itself: their files, checksums and mirrors.

Sources: MNIST, Y. LeCun, C. Cortes, C. Burges (1998), http://yann.lecun.com/exdb/mnist/. Fashion-MNIST, H. Xiao,
K. Rasul, R. Vollgraf (2017), https://arxiv.org/abs/1708.07747.

Checksums are those of the *decompressed* files, because the bytes of a gzip file differ between mirrors.
For Fashion-MNIST they are MD5: published listings give MD5 sums for its decompressed files and SHA-256 sums for its
gzip files alone. MD5 still detects every accident, and a data set is only numbers: it cannot run code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


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
