"""Public data sets: found on this machine, downloaded and verified, or the embedded subset."""

from galab.tasks.data.datasets import RawImages, check_choice, digit_images, load_full, load_or_subset, mnist_subset
from galab.tasks.data.download import FASHION_MNIST, MNIST, IdxFile, Source, cache_folder
from galab.tasks.data.idx import parse_idx, read_idx

__all__ = [
    "FASHION_MNIST",
    "MNIST",
    "IdxFile",
    "RawImages",
    "Source",
    "cache_folder",
    "check_choice",
    "digit_images",
    "load_full",
    "load_or_subset",
    "mnist_subset",
    "parse_idx",
    "read_idx",
]
