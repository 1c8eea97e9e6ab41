"""Philox4x32-10: random words from a counter and a key, the same on every machine.

Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011). NumPy's Philox is the 4x64 one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from umd_engine.errors import KernelError

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF
Words = tuple[int, ...]


def philox4x32(counter: Words, key: Words) -> Words:
    """Four random 32-bit words of a counter of four and a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        one, two = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (two >> 32) ^ c1 ^ k0, two & MASK, (one >> 32) ^ c3 ^ k1, one & MASK
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class ClickKey:
    """What a click's random draw depends on, besides its organ, and on nothing else.

    Attributes:
        seed: the run's seed, 0 to 2^64 - 1.
        scan_id: of the scan, any text.
        click: which click of the scan and organ, from 0, below 2^32.
        repeat: which repetition of the scan, from 0, below 2^16.

    Raises:
        KernelError: a number out of range.
    """

    seed: int
    scan_id: str
    click: int = 0
    repeat: int = 0

    def __post_init__(self) -> None:
        for name, value, bits in (("seed", self.seed, 64), ("click", self.click, 32), ("repeat", self.repeat, 16)):
            if not 0 <= value < 2**bits:
                raise KernelError(f"clicks: {name} is {value}", mend=f"0 to 2^{bits} - 1")

    def words(self, organs: tuple[int, ...]) -> np.ndarray:
        """uint32 [N, 6]: each organ's counter (scan, scan, organ | repeat << 16, click) and key (the seed).

        The scan is the first 8 bytes of the SHA-256 of its id, little-endian.
        """
        scan = int.from_bytes(hashlib.sha256(self.scan_id.encode()).digest()[:8], "little")
        shared = (self.click, self.seed & MASK, self.seed >> 32)
        rows = [(scan & MASK, scan >> 32, organ | self.repeat << 16, *shared) for organ in organs]
        return np.array(rows, np.uint32).reshape(len(organs), 6)


def draw_index(words: np.ndarray, count: int) -> int:
    """An index below `count`: the high 64 bits of count times 64 random bits; its bias is below count / 2^64."""
    row = tuple(words.tolist())
    low, high, *_ = philox4x32(row[:4], row[4:])
    return (low | high << 32) * count >> 64
