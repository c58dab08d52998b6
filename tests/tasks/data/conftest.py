"""A small data set of four IDX files, a cache in a temporary folder, and no network."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from galab.tasks.data import IdxFile, Source

NOWHERE = "http://127.0.0.1:9/"


def as_idx(array: np.ndarray) -> bytes:
    """An array as IDX; written from the format's description, not with the reader's tables."""
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    header = bytes([0, 0, codes[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


class SmallSet:
    """Twelve training and six test images of 3x2 pixels."""

    def __init__(self) -> None:
        numbers = np.arange(12 * 6, dtype=np.uint8)
        self.arrays = {
            "train-images": numbers.reshape(12, 3, 2),
            "train-labels": np.arange(12, dtype=np.uint8) % 3,
            "t10k-images": numbers[:36].reshape(6, 3, 2),
            "t10k-labels": np.arange(6, dtype=np.uint8) % 3,
        }
        self.payloads = {name: as_idx(array) for name, array in self.arrays.items()}
        files = [IdxFile(n, "sha256:" + hashlib.sha256(p).hexdigest()) for n, p in self.payloads.items()]
        self.source = Source("small", *files, mirrors=(NOWHERE, NOWHERE + "b/"))

    def write(self, folder: Path, *, gzipped: bool = True) -> None:
        """Lay the four files out below ``folder``, as ``GALAB_DATA`` has them."""
        (folder / "small").mkdir(parents=True, exist_ok=True)
        for name, payload in self.payloads.items():
            path = folder / "small" / (f"{name}.gz" if gzipped else name)
            path.write_bytes(gzip.compress(payload) if gzipped else payload)


@pytest.fixture(autouse=True)
def quick(images_read_once: None) -> None:
    """Several tests read the embedded images."""


@pytest.fixture
def idx_bytes():
    """Writes an array as IDX."""
    return as_idx


@pytest.fixture
def small() -> SmallSet:
    return SmallSet()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache; ``GALAB_DATA`` unset; downloads do not pause between rounds."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(folder))
    monkeypatch.setattr("galab.tasks.data.download.PAUSE", 0.0)
    monkeypatch.delenv("GALAB_DATA", raising=False)
    return folder
