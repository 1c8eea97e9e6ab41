"""The Triton programs of the operations on windows. Flips are bits: 1 along x, 2 along y, 4 along z."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def gather_kernel(
    table: tl.tensor,
    intensity: tl.tensor,
    out: tl.tensor,
    padding: tl.tensor,
    C: tl.constexpr,
    PX: tl.constexpr,
    PY: tl.constexpr,
    PZ: tl.constexpr,
    PIXEL: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """out [N, C, PX, PY, PZ]; a program fills BLOCK voxels of one channel of one window.

    table [N, 13] int64: the volume's address, sizes x y z, strides c x y z, start x y z, flips, the volume's number.
    intensity [V, C, 4] float32: low, high, mean, std.
    """
    n = tl.program_id(1) // C
    c = tl.program_id(1) % C
    row = table + n * 13
    volume = tl.load(row).to(tl.pointer_type(PIXEL))
    flips = tl.load(row + 11)
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    written = offsets < PX * PY * PZ
    i = offsets // (PY * PZ)
    j = (offsets // PZ) % PY
    k = offsets % PZ
    x = tl.load(row + 8) + tl.where((flips & 1) != 0, PX - 1 - i, i)
    y = tl.load(row + 9) + tl.where((flips & 2) != 0, PY - 1 - j, j)
    z = tl.load(row + 10) + tl.where((flips & 4) != 0, PZ - 1 - k, k)
    inside = (x >= 0) & (x < tl.load(row + 1)) & (y >= 0) & (y < tl.load(row + 2)) & (z >= 0) & (z < tl.load(row + 3))
    where = c * tl.load(row + 4) + x * tl.load(row + 5) + y * tl.load(row + 6) + z * tl.load(row + 7)
    value = tl.load(volume + where, mask=inside & written, other=0).to(tl.float32)
    column = intensity + (tl.load(row + 12) * C + c) * 4
    low = tl.load(column)
    high = tl.load(column + 1)
    value = tl.where(value < low, low, value)  # NaN stays NaN
    value = tl.where(value > high, high, value)
    value = tl.div_rn(value - tl.load(column + 2), tl.load(column + 3))
    value = tl.where(inside, value, padding)
    start = tl.program_id(1).to(tl.int64) * (PX * PY * PZ)
    tl.store(out + start + offsets, value.to(out.dtype.element_ty), mask=written)


@triton.jit
def accumulate_kernel(
    sums: tl.tensor,
    weights: tl.tensor,
    logits: tl.tensor,
    table: tl.tensor,
    windows: tl.tensor,
    x0: tl.tensor,
    y0: tl.tensor,
    z0: tl.tensor,
    tiles_y: tl.tensor,
    tiles_z: tl.tensor,
    heads: tl.tensor,
    stride_h: tl.tensor,
    stride_x: tl.tensor,
    stride_y: tl.tensor,
    stride_z: tl.tensor,
    PX: tl.constexpr,
    PY: tl.constexpr,
    PZ: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """sums [H, X, Y, Z] += weights [PX, PY, PZ] * logits [N, H, PX, PY, PZ]; table [N, 4] int64: start, flips.

    A program owns a tile of one plane of the box around all windows, in every head: no two write to one voxel,
    and a voxel's windows are added in their order.
    """
    tile = tl.program_id(0)
    x = x0 + tile // (tiles_y * tiles_z)
    y = y0 + (tile // tiles_z) % tiles_y * ROWS + tl.arange(0, ROWS)[:, None]
    z = z0 + tile % tiles_z * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    place = x.to(tl.int64) * stride_x + y.to(tl.int64) * stride_y + z.to(tl.int64) * stride_z
    covered = tl.zeros((ROWS, COLUMNS), dtype=tl.int32)
    for n in range(windows):
        i = x - tl.load(table + n * 4).to(tl.int32)
        j = y - tl.load(table + n * 4 + 1).to(tl.int32)
        k = z - tl.load(table + n * 4 + 2).to(tl.int32)
        covered |= ((i >= 0) & (i < PX) & (j >= 0) & (j < PY) & (k >= 0) & (k < PZ)).to(tl.int32)
    if tl.max(tl.max(covered, axis=1), axis=0) > 0:
        at = sums + place
        voxels = tl.full((), PX * PY * PZ, dtype=tl.int64)
        for head in range(heads):
            total = tl.load(at, mask=covered != 0, other=0.0)
            for n in range(windows):
                i = x - tl.load(table + n * 4).to(tl.int32)
                if (i >= 0) & (i < PX):
                    j = y - tl.load(table + n * 4 + 1).to(tl.int32)
                    k = z - tl.load(table + n * 4 + 2).to(tl.int32)
                    flips = tl.load(table + n * 4 + 3)
                    inside = (j >= 0) & (j < PY) & (k >= 0) & (k < PZ)
                    from_i = tl.where((flips & 1) != 0, PX - 1 - i, i)
                    from_j = tl.where((flips & 2) != 0, PY - 1 - j, j)
                    from_k = tl.where((flips & 4) != 0, PZ - 1 - k, k)
                    weight = tl.load(weights + (i * PY + j) * PZ + k, mask=inside, other=0.0)
                    start = logits + (n * heads + head) * voxels
                    value = tl.load(start + (from_i * PY + from_j) * PZ + from_k, mask=inside, other=0.0)
                    total = tl.where(inside, total + weight * value.to(tl.float32), total)
            tl.store(at, total, mask=covered != 0)
            at += stride_h


@triton.jit
def decide_kernel(
    sums: tl.tensor,
    total: tl.tensor,
    codes: tl.tensor,
    bad: tl.tensor,
    voxels: tl.tensor,
    ny: tl.tensor,
    nz: tl.tensor,
    heads: tl.tensor,
    stride_h: tl.tensor,
    stride_x: tl.tensor,
    stride_y: tl.tensor,
    stride_z: tl.tensor,
    total_x: tl.tensor,
    total_y: tl.tensor,
    total_z: tl.tensor,
    REGIONS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """codes [x, y, z] uint8: the first largest head, or 1 + the last head above zero; bad [1] where not finite."""
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < voxels
    x = offsets // (ny * nz)
    y = (offsets // nz) % ny
    z = offsets % nz
    at = sums + x * stride_x + y * stride_y + z * stride_z
    weight = tl.load(total + x * total_x + y * total_y + z * total_z, mask=inside, other=1.0)
    best = tl.full((BLOCK,), float("-inf"), dtype=tl.float32)
    code = tl.zeros((BLOCK,), dtype=tl.int32)
    faults = tl.zeros((BLOCK,), dtype=tl.int32)
    for head in range(heads):
        mean = tl.div_rn(tl.load(at, mask=inside, other=0.0), weight)
        faults |= (tl.abs(mean) < float("inf")).to(tl.int32) ^ 1  # NaN is not below infinity either
        if REGIONS:
            code = tl.where(mean > 0.0, head + 1, code)
        else:
            code = tl.where(mean > best, head, code)
            best = tl.maximum(best, mean)
        at += stride_h
    tl.store(codes + offsets, code.to(tl.uint8), mask=inside)
    if tl.max(faults, axis=0) > 0:
        tl.atomic_max(bad, 1)


@triton.jit
def finish_kernel(
    sums: tl.tensor,
    total: tl.tensor,
    codes: tl.tensor,
    labels: tl.tensor,
    below: tl.tensor,
    above: tl.tensor,
    fraction: tl.tensor,
    out: tl.tensor,
    new_x: tl.tensor,
    new_y: tl.tensor,
    new_z: tl.tensor,
    ny: tl.tensor,
    nz: tl.tensor,
    heads: tl.tensor,
    stride_h: tl.tensor,
    stride_x: tl.tensor,
    stride_y: tl.tensor,
    stride_z: tl.tensor,
    total_x: tl.tensor,
    total_y: tl.tensor,
    total_z: tl.tensor,
    out_x: tl.tensor,
    out_y: tl.tensor,
    out_z: tl.tensor,
    REGIONS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """out [new_x, new_y, new_z] uint8; a program fills BLOCK voxels of a plane (y, z).

    below, above int64 and fraction float32 hold the tables of X, Y and Z, one after another. Where all eight codes
    around a voxel are alike it is theirs; only other voxels read the heads.
    """
    i = tl.program_id(0)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < new_y * new_z
    j = tl.where(inside, offsets // new_z, 0)
    k = tl.where(inside, offsets % new_z, 0)
    x0 = tl.load(below + i)
    x1 = tl.load(above + i)
    y0 = tl.load(below + new_x + j)
    y1 = tl.load(above + new_x + j)
    z0 = tl.load(below + new_x + new_y + k)
    z1 = tl.load(above + new_x + new_y + k)
    c00 = (x0 * ny + y0) * nz
    c01 = (x0 * ny + y1) * nz
    c10 = (x1 * ny + y0) * nz
    c11 = (x1 * ny + y1) * nz
    code = tl.load(codes + c00 + z0).to(tl.int32)
    unlike = code ^ tl.load(codes + c00 + z1)
    unlike |= (code ^ tl.load(codes + c01 + z0)) | (code ^ tl.load(codes + c01 + z1))
    unlike |= (code ^ tl.load(codes + c10 + z0)) | (code ^ tl.load(codes + c10 + z1))
    unlike |= (code ^ tl.load(codes + c11 + z0)) | (code ^ tl.load(codes + c11 + z1))
    mixed = inside & (unlike != 0)
    if tl.max(mixed.to(tl.int32), axis=0) > 0:
        fx = tl.load(fraction + i)
        fy = tl.load(fraction + new_x + j)
        fz = tl.load(fraction + new_x + new_y + k)
        s00 = x0 * stride_x + y0 * stride_y
        s01 = x0 * stride_x + y1 * stride_y
        s10 = x1 * stride_x + y0 * stride_y
        s11 = x1 * stride_x + y1 * stride_y
        t00 = x0 * total_x + y0 * total_y
        t01 = x0 * total_x + y1 * total_y
        t10 = x1 * total_x + y0 * total_y
        t11 = x1 * total_x + y1 * total_y
        below_z = z0 * stride_z
        above_z = z1 * stride_z
        # the eight weights, each over its corner's total
        w000 = (1 - fx) * (1 - fy) * (1 - fz) / tl.load(total + t00 + z0 * total_z, mask=mixed, other=1.0)
        w001 = (1 - fx) * (1 - fy) * fz / tl.load(total + t00 + z1 * total_z, mask=mixed, other=1.0)
        w010 = (1 - fx) * fy * (1 - fz) / tl.load(total + t01 + z0 * total_z, mask=mixed, other=1.0)
        w011 = (1 - fx) * fy * fz / tl.load(total + t01 + z1 * total_z, mask=mixed, other=1.0)
        w100 = fx * (1 - fy) * (1 - fz) / tl.load(total + t10 + z0 * total_z, mask=mixed, other=1.0)
        w101 = fx * (1 - fy) * fz / tl.load(total + t10 + z1 * total_z, mask=mixed, other=1.0)
        w110 = fx * fy * (1 - fz) / tl.load(total + t11 + z0 * total_z, mask=mixed, other=1.0)
        w111 = fx * fy * fz / tl.load(total + t11 + z1 * total_z, mask=mixed, other=1.0)
        best = tl.full((BLOCK,), float("-inf"), dtype=tl.float32)
        found = tl.zeros((BLOCK,), dtype=tl.int32)
        volume = sums
        for head in range(heads):
            value = w000 * tl.load(volume + s00 + below_z, mask=mixed, other=0.0)
            value += w001 * tl.load(volume + s00 + above_z, mask=mixed, other=0.0)
            value += w010 * tl.load(volume + s01 + below_z, mask=mixed, other=0.0)
            value += w011 * tl.load(volume + s01 + above_z, mask=mixed, other=0.0)
            value += w100 * tl.load(volume + s10 + below_z, mask=mixed, other=0.0)
            value += w101 * tl.load(volume + s10 + above_z, mask=mixed, other=0.0)
            value += w110 * tl.load(volume + s11 + below_z, mask=mixed, other=0.0)
            value += w111 * tl.load(volume + s11 + above_z, mask=mixed, other=0.0)
            if REGIONS:
                found = tl.where(value > 0.0, head + 1, found)
            else:
                found = tl.where(value > best, head, found)
                best = tl.maximum(best, value)
            volume += stride_h
        code = tl.where(mixed, found, code)
    label = tl.load(labels + code)
    where = i.to(tl.int64) * out_x + j.to(tl.int64) * out_y + k.to(tl.int64) * out_z
    tl.store(out + where, label, mask=inside)
