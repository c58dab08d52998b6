"""Philox4x64-10 (Salmon et al. 2011) in plain Python: what the noise of a genome must be, without NumPy."""

from __future__ import annotations

MASK = 2**64 - 1


def block(counter: list[int], key: list[int]) -> list[int]:
    """The four 64-bit words of one counter value."""
    c, k = list(counter), list(key)
    for _ in range(10):
        left, right = c[0] * 0xD2E7470EE14C6C93, c[2] * 0xCA5A826395121157
        c = [right >> 64 ^ c[1] ^ k[0], right & MASK, left >> 64 ^ c[3] ^ k[1], left & MASK]
        k = [k[0] + 0x9E3779B97F4A7C15 & MASK, k[1] + 0xBB67AE8584CAA73B & MASK]
    return c


def words(run_key: int, index: int, stream: int, n: int) -> list[int]:
    """``n`` words; the counter is raised before the first block, as NumPy does."""
    found: list[int] = []
    first = 0
    while len(found) < n:
        first += 1
        found += block([first, 0, index, 0], [run_key, stream])
    return found[:n]


def codes(run_key: int, index: int, stream: int, n: int) -> list[int]:
    """``n`` 16-bit codes, the low bits of each word first."""
    return [word >> shift & 0xFFFF for word in words(run_key, index, stream, -(-n // 4)) for shift in (0, 16, 32, 48)][
        :n
    ]
