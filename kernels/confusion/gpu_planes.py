"""TP, FP and FN of bit planes in Triton: counters of one bit column each, as in loops_planes.py.

A lane reads 32-bit words; eight at a time go through a tree of full adders (one three-input logic instruction an
output), and what it carries into a five-bit counter above. After 31 rounds the eight planes are spread into bytes
and summed over the lanes.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

from umd_engine.kernels.confusion.arguments import check_bits
from umd_engine.kernels.confusion.gpu import common_order, current, device_of

LANES = 256
ROUNDS = 31  # of eight words: 248 < 2^8, the counters' end
STREAMS = 3  # both, prediction, reference


@triton.jit
def carry(a: tl.tensor, b: tl.tensor, c: tl.tensor) -> tl.tensor:
    return (a & b) | (a & c) | (b & c)


@triton.jit
def add_eight(ones, twos, fours, a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]
    """The lower three planes after eight words more, and what they carry."""
    t0, ones = carry(ones, a, b), ones ^ a ^ b
    t1, ones = carry(ones, c, d), ones ^ c ^ d
    t2, ones = carry(ones, e, f), ones ^ e ^ f
    t3, ones = carry(ones, g, h), ones ^ g ^ h
    f0, twos = carry(twos, t0, t1), twos ^ t0 ^ t1
    f1, twos = carry(twos, t2, t3), twos ^ t2 ^ t3
    return ones, twos, fours ^ f0 ^ f1, carry(fours, f0, f1)


@triton.jit
def add_one(p3, p4, p5, p6, p7, rest):  # type: ignore[no-untyped-def]
    """The upper five planes after a carry more."""
    c3 = p3 & rest
    c4 = p4 & c3
    c5 = p5 & c4
    c6 = p6 & c5
    return p3 ^ rest, p4 ^ c3, p5 ^ c4, p6 ^ c5, p7 ^ c6


@triton.jit
def add_totals(totals, p0, p1, p2, p3, p4, p5, p6, p7):  # type: ignore[no-untyped-def]
    """totals [32] int64 += the lanes' counters."""
    for shift in range(8):
        # four positions of a lane, a byte each
        low = ((p0 >> shift) & 0x01010101) | (((p1 >> shift) & 0x01010101) << 1)
        low |= (((p2 >> shift) & 0x01010101) << 2) | (((p3 >> shift) & 0x01010101) << 3)
        high = ((p4 >> shift) & 0x01010101) | (((p5 >> shift) & 0x01010101) << 1)
        high |= (((p6 >> shift) & 0x01010101) << 2) | (((p7 >> shift) & 0x01010101) << 3)
        spread = low | (high << 4)
        for byte in tl.static_range(4):
            found = tl.sum((spread >> (8 * byte)) & 255, axis=0)
            if found > 0:
                tl.atomic_add(totals + 8 * byte + shift, found.to(tl.int64))


@triton.jit
def planes_kernel(
    reference: tl.tensor,
    prediction: tl.tensor,
    totals: tl.tensor,
    words: tl.tensor,
    LANES: tl.constexpr,
    ROUNDS: tl.constexpr,
) -> None:
    """totals [3, 32] int64 += set bits of both, of the prediction and of the reference, by position of a word."""
    start = tl.program_id(0).to(tl.int64) * (LANES * ROUNDS * 8) + tl.arange(0, LANES)
    none = tl.zeros((LANES,), dtype=tl.int32)
    b0, b1, b2, b3, b4, b5, b6, b7 = none, none, none, none, none, none, none, none
    p0, p1, p2, p3, p4, p5, p6, p7 = none, none, none, none, none, none, none, none
    r0, r1, r2, r3, r4, r5, r6, r7 = none, none, none, none, none, none, none, none
    for _ in range(ROUNDS):
        a, i = load_both(reference, prediction, start, words)
        b, j = load_both(reference, prediction, start + LANES, words)
        c, k = load_both(reference, prediction, start + 2 * LANES, words)
        d, m = load_both(reference, prediction, start + 3 * LANES, words)
        e, n = load_both(reference, prediction, start + 4 * LANES, words)
        f, o = load_both(reference, prediction, start + 5 * LANES, words)
        g, p = load_both(reference, prediction, start + 6 * LANES, words)
        h, q = load_both(reference, prediction, start + 7 * LANES, words)
        b0, b1, b2, rest = add_eight(b0, b1, b2, a & i, b & j, c & k, d & m, e & n, f & o, g & p, h & q)
        b3, b4, b5, b6, b7 = add_one(b3, b4, b5, b6, b7, rest)
        p0, p1, p2, rest = add_eight(p0, p1, p2, i, j, k, m, n, o, p, q)
        p3, p4, p5, p6, p7 = add_one(p3, p4, p5, p6, p7, rest)
        r0, r1, r2, rest = add_eight(r0, r1, r2, a, b, c, d, e, f, g, h)
        r3, r4, r5, r6, r7 = add_one(r3, r4, r5, r6, r7, rest)
        start += 8 * LANES
    add_totals(totals, b0, b1, b2, b3, b4, b5, b6, b7)
    add_totals(totals + 32, p0, p1, p2, p3, p4, p5, p6, p7)
    add_totals(totals + 64, r0, r1, r2, r3, r4, r5, r6, r7)


@triton.jit
def load_both(reference, prediction, offsets, words):  # type: ignore[no-untyped-def]
    inside = offsets < words
    return tl.load(reference + offsets, mask=inside, other=0), tl.load(prediction + offsets, mask=inside, other=0)


def confusion_planes(reference: torch.Tensor, prediction: torch.Tensor, organs: int) -> np.ndarray:
    """int64 [organs, 3]: TP, FP, FN; words on the CPU are copied to the device.

    Raises:
        KernelError: a bit set at or above `organs`.
        BackendError: there is no CUDA device.
    """
    device, bits = device_of(reference), 8 * reference.itemsize
    left, right = common_order(reference.to(device), prediction.to(device))
    totals = torch.zeros(STREAMS, 32, dtype=torch.int64, device=device)
    with current(device):
        for one, other in zip(_words(left), _words(right), strict=True):
            programs = triton.cdiv(one.numel(), LANES * ROUNDS * 8)
            planes_kernel[(programs,)](one, other, totals, one.numel(), LANES=LANES, ROUNDS=ROUNDS, num_warps=4)
    # a 32-bit word holds voxels side by side: organ k lies at k, k + bits, ...
    both, found, wanted = totals.view(STREAMS, -1, bits).sum(1).cpu().numpy()
    counts = np.stack([both, found - both, wanted - both], axis=1)
    check_bits(counts, organs)
    return counts[:organs].copy()


def _words(flat: torch.Tensor) -> list[torch.Tensor]:
    """The same bits as int32: all whole words where they lie, and one padded with zeros."""
    if not flat.numel():
        return []
    flat = flat.view(torch.uint8)
    if flat.data_ptr() % 4:
        flat = flat.clone()
    whole = flat.numel() // 4 * 4
    parts = [flat[:whole].view(torch.int32)] if whole else []
    if flat.numel() - whole:
        rest = torch.zeros(4, dtype=torch.uint8, device=flat.device)
        rest[: flat.numel() - whole] = flat[whole:]
        parts.append(rest.view(torch.int32))
    return parts
