"""The arithmetic of integer networks once more, one number after the other, in plain Python integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Row = list[int]


def clip(value: int) -> int:
    return max(-127, min(127, value))


def product(weights: Sequence[Row], x: Row, b: Sequence[Row], a: Sequence[Row], sign: int, shift: int) -> Row:
    """(m,) of weights (m, n), x (n,), noise b (r, n) and a (r, m)."""
    root = math.isqrt(len(x))
    found = []
    for i, row in enumerate(weights):
        total = sum(w * v for w, v in zip(row, x, strict=True))
        noise = sum(
            sum(bj * v for bj, v in zip(bk, x, strict=True)) * ak[i] * sign for bk, ak in zip(b, a, strict=True)
        )
        found.append(clip((total + (noise >> (4 + shift))) // (16 * root)))
    return found


def table_row(table: Sequence[Row], number: int, b: Sequence[Row], a: Sequence[Row], sign: int, shift: int) -> Row:
    width = len(table[number])
    return [
        clip(table[number][j] + ((sum(ak[number] * bk[j] for bk, ak in zip(b, a, strict=True)) * sign) >> (4 + shift)))
        for j in range(width)
    ]


def vector(weights: Row, noise: Row, sign: int, shift: int) -> Row:
    return [clip(w + ((v * sign) >> (4 + shift))) for w, v in zip(weights, noise, strict=True)]


def normalised(x: Row, weight: Row) -> Row:
    mean = max(1, sum(map(abs, x)) // len(x))
    return [clip(v * w // mean) for v, w in zip(x, weight, strict=True)]


def likelihood(logits: Row, target: int) -> int:
    powers = [math.floor(16 * 2 ** (v / 16)) for v in range(256)]
    total = sum(powers[v + 128] for v in logits)
    # floor(16 log2(total / 16)) without a float: the largest e with 2^e <= (total / 16)^16.
    e = 0
    while 1 << (e + 1 + 64) <= total**16:
        e += 1
    return logits[target] + 128 - e


class PlainEgg:
    """One member of an EGG network.

    Args:
        weights: name to nested lists.
        b, a: the noise of matrices by name, (r, n) and (r, m); of a vector its products are in ``b``.
        sign: 1 or -1; 0 for the centre.
        shift: of the noise, that of the rank included.
        layers: L.
    """

    def __init__(self, weights: dict, b: dict, a: dict, sign: int, shift: int, layers: int) -> None:
        self.weights, self.b, self.a, self.sign, self.shift, self.layers = weights, b, a, sign, shift, layers

    def product(self, name: str, x: Row) -> Row:
        return product(self.weights[name], x, self.b[name], self.a[name], self.sign, self.shift)

    def vector(self, name: str) -> Row:
        return vector(self.weights[name], self.b[name], self.sign, self.shift)

    def step(self, byte: int, states: list[Row]) -> tuple[Row, list[Row]]:
        x = table_row(
            self.weights["embedding"], byte, self.b["embedding"], self.a["embedding"], self.sign, self.shift
        )
        following = []
        for number in range(self.layers):
            name = f"blocks.{number}."
            s = [0] * len(x) if byte == 0 else states[number]
            y = normalised(x, self.vector(name + "norm1"))
            forget = [
                clip(p + q + c) + 127
                for p, q, c in zip(
                    self.product(name + "wf", y), self.product(name + "uf", s), self.vector(name + "bf"), strict=True
                )
            ]
            reset = [(f * v) >> 8 for f, v in zip(forget, s, strict=True)]
            candidate = [
                clip(p + q + c)
                for p, q, c in zip(
                    self.product(name + "wh", y),
                    self.product(name + "uh", reset),
                    self.vector(name + "bh"),
                    strict=True,
                )
            ]
            s = [v + ((f * (h - v)) >> 8) for v, f, h in zip(s, forget, candidate, strict=True)]
            following.append(s)
            x = [clip(v + w) for v, w in zip(x, s, strict=True)]
            y = normalised(x, self.vector(name + "norm2"))
            x = [clip(v + w) for v, w in zip(x, self.product(name + "down", self.product(name + "up", y)), strict=True)]
        return self.product("head", normalised(x, self.vector("norm"))), following

    def score(self, sequence: Sequence[int], states: list[Row]) -> tuple[int, list[Row]]:
        total = 0
        for byte, target in pairwise(sequence):
            logits, states = self.step(byte, states)
            total += likelihood(logits, target)
        return total, states
