"""Counting set bits position by position, plain Python that numba compiles.

A counter of one bit position is a column of bits: plane k holds bit k of the counters of all 64 positions of a
word. Adding a word to it is the carry chain of a binary counter, on 64 positions at once; eight words go through a
tree of full adders first (Harley and Seal's; Mula, Kurz, Lemire 2018). LANES such counters lie side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LANES = 64
GROUP = 8  # words a lane that pass the adders together
PLANES = 12
BLOCK = LANES * GROUP  # words
FULL = (1 << PLANES) // GROUP - 1  # blocks that a counter takes before it could overflow


def count_bits(left: Any, right: Any, totals: Any) -> None:
    """totals [3, 64] int64 += set bits of `left & right`, `left` and `right`, at each position of uint64 words.

    `left` and `right` are [blocks, GROUP, LANES] uint64.
    """
    planes = np.zeros((3, PLANES, LANES), np.uint64)

    def carry(one: Any, two: Any, three: Any) -> Any:
        return (one & two) | (one & three) | (two & three)

    def add(planes: Any, lane: int, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> None:
        ones, twos, fours = planes[0, lane], planes[1, lane], planes[2, lane]
        t0, ones = carry(ones, a, b), ones ^ a ^ b
        t1, ones = carry(ones, c, d), ones ^ c ^ d
        t2, ones = carry(ones, e, f), ones ^ e ^ f
        t3, ones = carry(ones, g, h), ones ^ g ^ h
        f0, twos = carry(twos, t0, t1), twos ^ t0 ^ t1
        f1, twos = carry(twos, t2, t3), twos ^ t2 ^ t3
        rest, fours = carry(fours, f0, f1), fours ^ f0 ^ f1
        planes[0, lane], planes[1, lane], planes[2, lane] = ones, twos, fours
        for plane in range(3, PLANES):
            before = planes[plane, lane]
            planes[plane, lane] = before ^ rest
            rest &= before

    for start in range(0, left.shape[0], FULL):
        stop = min(start + FULL, left.shape[0])
        for block in range(start, stop):
            one, two = left[block], right[block]
            for lane in range(LANES):
                a, b, c, d = one[0, lane], one[1, lane], one[2, lane], one[3, lane]
                e, f, g, h = one[4, lane], one[5, lane], one[6, lane], one[7, lane]
                i, j, k, m = two[0, lane], two[1, lane], two[2, lane], two[3, lane]
                n, o, p, q = two[4, lane], two[5, lane], two[6, lane], two[7, lane]
                add(planes[0], lane, a & i, b & j, c & k, d & m, e & n, f & o, g & p, h & q)
                add(planes[1], lane, a, b, c, d, e, f, g, h)
                add(planes[2], lane, i, j, k, m, n, o, p, q)
        for stream in range(3):
            for plane in range(PLANES):
                for lane in range(LANES):
                    word = planes[stream, plane, lane]
                    for bit in range(64):
                        totals[stream, bit] += np.int64((word >> np.uint64(bit)) & np.uint64(1)) << plane
        planes[:] = 0
