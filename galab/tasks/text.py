"""Predict each next byte of a text: ``tinyshakespeare``, ``tinystories``, and any file of one's own.

Nine tenths of the text are for training, a twentieth each for validation and test, in this order. A generation reads
``--batch`` sequences: the training text is cut into as many parts, and each generation goes on where the last one ended
in every part.
"""

from __future__ import annotations

import gzip
import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from galab.contracts import Examples
from galab.errors import UsageError
from galab.tasks.data.texts import Text, read_text

#: Different bytes.
BYTES = 256
#: Held-out bytes on which validation and test are measured at most.
_HELD_OUT = 25_600
#: Sequences that stand for the training data where no generation has its own.
_FEW = 64


class ByteText:
    """A text whose next bytes are to be predicted; give it ``--fitness loss``.

    Args:
        name: of the task.
        content: the text.
        length: T, bytes that are predicted in a sequence.

    Attributes:
        length: T.
        references: bits a byte that simple predictors reach on the same validation bytes: ``unigram``, ``bigram`` (both
            counted on the training text) and ``gzip`` (which packs the validation bytes alone).
        name, description, fingerprint, input_shape, outputs, train, validation, test: see
            :class:`galab.contracts.Task`. An example is (T,) bytes as numbers; its targets are the (T,) bytes after
            each; an output is the T x 256 logits one after the other, in nats.

    Raises:
        UsageError: the text is too short.
    """

    def __init__(self, name: str, content: bytes, length: int = 32) -> None:
        if type(length) is not int or not 1 <= length <= 65_536:
            raise UsageError(f"task '{name}': expected a length from 1 to 65,536 bytes, got {length!r}; correct it")
        text = np.frombuffer(content, dtype=np.uint8)
        cuts = [len(text) * share // 20 for share in (18, 19)]
        parts = np.split(text, cuts)
        if min(map(len, parts)) <= length:
            raise UsageError(
                f"task '{name}': expected a text whose twentieth part is longer than a sequence of {length} bytes, got "
                f"{len(text):,} bytes in all; take a longer text, or name a shorter length in brackets"
            )
        self.name, self.length = name, length
        self.input_shape, self.outputs = (length,), BYTES * length
        self._text = parts[0]
        self.train = _examples(_windows(parts[0], length, _FEW))
        self.validation, self.test = (_examples(_windows(part, length, _HELD_OUT // length)) for part in parts[1:])
        held_out = _windows(parts[1], length, _HELD_OUT // length)
        self.references = references(parts[0], held_out)
        known = ", ".join(f"{word} {bits:.2f}" for word, bits in self.references.items())
        self.description = (
            f"{name}, {len(parts[0]):,} training bytes, validation and test on {self.validation.targets.numel():,} and "
            f"{self.test.targets.numel():,} held-out ones in sequences of {length}; bits a byte there: {known}"
        )
        self.fingerprint = hashlib.sha256(b"bytes %d\n" % length + content).hexdigest()

    def sequences(self, generation: int, count: int) -> NDArray[np.uint8]:
        """(count, T + 1) the bytes that a generation reads, each with the one after it.

        Args:
            generation: its number, from 1.
            count: into how many parts the training text is cut.

        Raises:
            UsageError: a part is shorter than a sequence.
        """
        part, starts = self._part(count), self._start(generation, count)
        places = (np.arange(count) * part + starts)[:, None] + np.arange(self.length + 1)
        return self._text[places]

    def begins(self, generation: int, count: int) -> bool:
        """Whether a generation reads the beginning of the parts, and not what follows the last one."""
        return self._start(generation, count) == 0

    def sample(self, run_key: int, generation: int, size: int) -> Examples:
        """See :class:`galab.contracts.FreshExamples`; the same for every key."""
        return _examples(self.sequences(generation, size))

    def measure(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Sums over examples of means over their bytes.

        Args:
            outputs: (P, B, T x 256) logits in nats.
            targets: (B, T) bytes.

        Returns:
            ``loss`` in nats a byte, ``bits`` a byte, and ``correct``, the share of bytes that are the likeliest.
        """
        logits = outputs.float().unflatten(2, (-1, BYTES))
        chosen = logits.gather(3, targets.expand(len(logits), *targets.shape)[..., None])[..., 0]
        loss = (logits.logsumexp(3) - chosen).double().mean(2).sum(1)
        correct = (logits.argmax(3) == targets).double().mean(2).sum(1)
        return {"loss": loss.float(), "bits": (loss / math.log(2)).float(), "correct": correct.float()}

    def _part(self, count: int) -> int:
        part = len(self._text) // count
        if part <= self.length:
            raise UsageError(
                f"task '{self.name}': expected parts longer than a sequence of {self.length} bytes, got "
                f"{len(self._text):,} bytes in {count} parts; lower --batch, or take a longer text"
            )
        return part

    def _start(self, generation: int, count: int) -> int:
        windows = (self._part(count) - 1) // self.length
        return (generation - 1) % windows * self.length


def references(train: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> dict[str, float]:
    """Bits a byte of simple predictors, counted on the training text and measured on held-out sequences.

    Args:
        train: the training text.
        held_out: (B, T + 1) bytes; the first of each is known.
    """
    before, after = held_out[:, :-1].ravel(), held_out[:, 1:].ravel()
    single = np.bincount(train, minlength=BYTES) + 1.0
    pairs = np.bincount(train[:-1].astype(np.int64) * BYTES + train[1:], minlength=BYTES**2).reshape(BYTES, BYTES)
    # Unseen pairs fall back on single bytes, which count as one observation in all.
    following = (pairs + single / single.sum()) / (pairs.sum(1, keepdims=True) + 1)
    packed = 8 * len(gzip.compress(after.tobytes(), 9, mtime=0)) / len(after)
    return {
        "unigram": float(-np.log2(single[after] / single.sum()).mean()),
        "bigram": float(-np.log2(following[before, after]).mean()),
        "gzip": packed,
    }


def tinyshakespeare(length: int = 32) -> ByteText:
    """Plays of Shakespeare, 1.1 million bytes: predict each next one."""
    return ByteText("tinyshakespeare", read_text(Text.TINYSHAKESPEARE), length)


def tinystories(length: int = 32) -> ByteText:
    """Short stories for children, or a sample of them: predict each next byte."""
    return ByteText("tinystories", read_text(Text.TINYSTORIES), length)


def bytes_of(file: str, length: int = 32) -> ByteText:
    """Any file: predict each next byte."""
    path = Path(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"expected a file at '{path}', got: {error.strerror or error}; check the path") from None
    if not content:
        raise UsageError(f"expected a text in '{path}', got an empty file; name another")
    return ByteText(path.name, content, length)


def counting(length: int = 16) -> ByteText:
    """Whole numbers in words of digits, counted upwards: a text so regular that little of it has to be learned."""
    return ByteText("counting", " ".join(map(str, range(1000, 4000))).encode(), length)


def _windows(text: NDArray[np.uint8], length: int, most: int) -> NDArray[np.uint8]:
    """(B, T + 1) sequences that follow each other, at most so many, spread evenly over the text."""
    count = (len(text) - 1) // length
    chosen = np.arange(count) if count <= most else np.arange(most) * count // most
    return text[(chosen * length)[:, None] + np.arange(length + 1)]


def _examples(sequences: NDArray[np.uint8]) -> Examples:
    inputs = torch.from_numpy(sequences[:, :-1].astype(np.float32))
    return Examples(inputs, torch.from_numpy(sequences[:, 1:].astype(np.int64)))
