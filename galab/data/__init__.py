"""Public data sets: found on this machine, downloaded and verified, or the embedded subset."""

from galab.data.embedded import digit_images, mnist_subset
from galab.data.idx import parse_idx, read_idx
from galab.data.load import RawImages, check_choice, load_full, load_or_subset
from galab.data.locate import cache_folder
from galab.data.sources import FASHION_MNIST, MNIST, IdxFile, Source

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
