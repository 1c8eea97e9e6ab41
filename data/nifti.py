"""NIfTI files: read through ISA-L straight into an array, written whole or not at all.

A volume is never float64: an int16 CT stays int16, scaled values become float32.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from isal import igzip, isal_zlib
from umd_engine.data.volume import Grid, HeaderCodes, Spacing, Triple, Volume
from umd_engine.errors import CorruptFileError, DataError, GeometryError, LabelError, MissingFileError, VoxelError

_HEADER_BYTES = 544  # NIfTI-2's header with the four bytes that say what follows; NIfTI-1's is shorter
_MM = 2
_FIRST_READ = 1 << 16


@dataclass(frozen=True, eq=False)
class Header:
    """What the first bytes say.

    Attributes:
        grid: where the voxels lie.
        dtype: as stored, with byte order.
        offset: where the voxels begin, in bytes.
        slope, intercept: value = stored * slope + intercept; (1, 0) where the file scales nothing.
    """

    grid: Grid
    codes: HeaderCodes
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float

    @property
    def shape(self) -> Triple:
        """Canonical RAS+."""
        return self.grid.shape

    @property
    def spacing(self) -> Spacing:
        return self.grid.spacing

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file, uncompressed."""
        return self.offset + int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def read_header(path: Path | str) -> Header:
    """Geometry and type of a file, from its first bytes alone.

    Raises:
        MissingFileError, CorruptFileError, VoxelError, GeometryError.
    """
    path = Path(path)
    with _readable(path), path.open("rb") as file:
        start = file.read(_FIRST_READ)
    if start[:2] == b"\x1f\x8b":
        try:
            start = isal_zlib.decompressobj(wbits=31).decompress(start, _HEADER_BYTES)
        except isal_zlib.error as error:
            raise _damaged(path, f"the gzip stream is damaged: {error}") from None
    return _parse(start, path)


def read(path: Path | str) -> Volume:
    """A volume in RAS+, read-only, in the stored type; float32 where values are scaled or stored as float64.

    Raises:
        MissingFileError: no such file.
        CorruptFileError: truncated or damaged gzip, not a NIfTI, fewer bytes than the header promises.
        VoxelError: 4D images, colours or complex numbers, NaN or infinity.
        GeometryError: zero or negative spacing, a singular or non-finite affine.
    """
    path = Path(path)
    content = _content(path)
    header = _parse(content[:_HEADER_BYTES], path)
    count = int(np.prod(header.shape, dtype=np.int64))
    if len(content) < header.nbytes:
        raise _damaged(path, f"{len(content)} bytes, but the header promises {header.nbytes}")
    stored = np.frombuffer(content, header.dtype, count, header.offset)
    voxels = _scaled(stored, header).reshape(header.grid.file_shape, order="F")
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise VoxelError(
            f"{int((~np.isfinite(voxels)).sum())} voxels are NaN or infinite",
            where=path,
            mend="replace them, e.g. by 0, and say so in your methods",
        )
    voxels.flags.writeable = False
    return Volume(header.grid.to_canonical(voxels), header.grid, path, header.codes)


def read_labels(path: Path | str) -> Volume:
    """A label map in RAS+: uint8 where its ids fit, else uint16.

    Raises:
        LabelError: values that are no whole numbers, negative or above 65535. And what `read` raises.
    """
    volume = read(path)
    voxels = volume.voxels
    if voxels.dtype == np.uint8 or voxels.size == 0:
        return volume
    low, high = voxels.min(), voxels.max()
    if low < 0 or high > 65535 or (voxels.dtype.kind == "f" and (voxels != np.round(voxels)).any()):
        raise LabelError(
            f"values from {low} to {high} in {voxels.dtype} are not label ids",
            where=path,
            mend="give a label map of whole numbers from 0 to 65535",
        )
    integers = voxels.astype(np.uint8 if high < 256 else np.uint16, order="K")
    integers.flags.writeable = False
    return Volume(integers, volume.grid, volume.path, volume.codes)


def write_labels(path: Path | str, labels: np.ndarray, like: Volume) -> None:
    """Write a label map [X, Y, Z] in RAS+ on `like`'s own grid: file order, affine and header codes are the scan's.

    Raises:
        LabelError: ids outside 0..65535. GeometryError: another shape. CorruptFileError: the folder is not writable.
    """
    path = Path(path)
    if labels.shape != like.shape:
        raise GeometryError(f"labels of shape {labels.shape} for a scan of {like.shape}", where=path)
    high = int(labels.max(initial=0))
    if labels.min(initial=0) < 0 or high > 65535:
        raise LabelError(f"ids up to {high} do not fit a label map", where=path)
    write(path, Volume(labels.astype(np.uint8 if high < 256 else np.uint16), like.grid, path, like.codes))


def write(path: Path | str, volume: Volume) -> None:
    """Write a volume as it is stored, in its file order; `.nii.gz` through ISA-L at level 1.

    The file appears under its name only when it is whole.

    Raises:
        CorruptFileError: the folder is not writable, or the disk is full.
    """
    path = Path(path)
    voxels = volume.grid.to_file_order(volume.voxels)
    image = nibabel.Nifti1Image(np.empty(0), np.eye(4)).header.copy()
    image.set_data_dtype(voxels.dtype)
    image.set_data_shape(voxels.shape)
    image.set_zooms(volume.grid.file_spacing)
    affine, codes = volume.grid.file_affine, volume.codes
    if codes.qform_code:
        image.set_qform(affine, codes.qform_code, strip_shears=True)
    if codes.sform_code or not codes.qform_code:
        image.set_sform(affine, codes.sform_code)
    image["xyzt_units"] = codes.xyzt_units
    image["vox_offset"] = 352
    image["magic"] = b"n+1"
    # big enough pieces for the compressor; F order is the file's
    content = image.binaryblock + b"\0\0\0\0" + voxels.tobytes(order="F")
    with _whole(path) as draft:
        draft.write_bytes(igzip.compress(content, compresslevel=1) if path.name.endswith(".gz") else content)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A draft beside `path` that takes its place at the end."""
    try:
        handle, name = tempfile.mkstemp(prefix=".draft-", suffix=path.name[-7:], dir=path.parent)
    except OSError as error:
        raise CorruptFileError(f"cannot write: {error.strerror}", where=path, mend="check the folder") from None
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise CorruptFileError(
            f"cannot write: {error.strerror}", where=path, mend="check the folder and the free disk space"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise MissingFileError("no such file", where=path, mend="check the path in the manifest") from None
    except OSError as error:
        raise CorruptFileError(f"cannot read: {error.strerror}", where=path, mend="check its permissions") from None


def _damaged(path: Path, fault: str) -> DataError:
    return CorruptFileError(fault, where=path, mend="copy or export the file again")


def _content(path: Path) -> bytes:
    """The uncompressed file, decompressed in one piece into a buffer of its final size."""
    with _readable(path):
        content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    if len(content) < 18:
        raise _damaged(path, "the gzip stream is truncated")
    # the last four bytes: uncompressed size modulo 2^32 of the last member, the only one in nearly every file
    (size,) = struct.unpack("<I", content[-4:])
    size = min(max(size, _HEADER_BYTES), 1032 * len(content))  # deflate shrinks by 1032 at most
    try:
        return _members(content, size)
    except (isal_zlib.error, zlib.error, EOFError) as error:
        raise _damaged(path, f"the gzip stream is truncated or damaged: {error}") from None


def _members(content: bytes, size: int) -> bytes:
    stream = isal_zlib.decompressobj(wbits=31)
    first = stream.decompress(content, size)
    if not stream.eof and stream.unconsumed_tail:
        return igzip.decompress(content)  # the size said less than there is
    if not stream.eof:
        raise EOFError("it ends before its end marker")
    if stream.unused_data.startswith(b"\x1f\x8b"):
        return igzip.decompress(content)
    return first


def _scaled(stored: np.ndarray, header: Header) -> np.ndarray:
    """Values in a native type: integers stay integers where a whole offset fits their type."""
    native = stored if stored.dtype.isnative else stored.astype(stored.dtype.newbyteorder("="))
    if (header.slope, header.intercept) == (1.0, 0.0):
        return native.astype(np.float32) if native.dtype == np.float64 else native
    if native.dtype.kind in "iu" and header.slope == 1 and header.intercept.is_integer() and native.size:
        shift, limits = int(header.intercept), np.iinfo(np.int16)
        if limits.min <= int(native.min()) + shift and int(native.max()) + shift <= limits.max:
            return (native.astype(np.int32) + shift).astype(np.int16)
    return native.astype(np.float32) * np.float32(header.slope) + np.float32(header.intercept)


def _parse(start: bytes, path: Path) -> Header:
    kind = _kind(start, path)
    try:
        raw = kind(start[: kind.template_dtype.itemsize], check=False)
        dtype = raw.get_data_dtype()
        offset = int(raw["vox_offset"])
    except (nibabel.spatialimages.HeaderDataError, ValueError, KeyError) as error:
        raise _damaged(path, f"not a NIfTI file: {error}") from None
    if dtype.kind not in "iufb":
        raise VoxelError(
            f"voxels of type {raw['datatype']} (colours, complex or quadruple numbers)",
            where=path,
            mend="convert the image to one number a voxel",
        )
    shape = _shape(raw, path)
    codes = HeaderCodes(int(raw["qform_code"]), int(raw["sform_code"]), int(raw["xyzt_units"]))
    slope, intercept = _scaling(raw)
    minimum = kind.template_dtype.itemsize
    return Header(_grid(raw, shape, codes, path), codes, dtype, max(offset, minimum), slope, intercept)


def _kind(start: bytes, path: Path) -> Any:
    """The nibabel header class that the first four bytes and the magic name."""
    if len(start) >= 348:
        (size,) = struct.unpack("<i", start[:4])
        if size in (348, 348 << 16 | 348 >> 16, 1543569408) and start[344:348] == b"n+1\0":
            return nibabel.Nifti1Header
        if len(start) >= 540 and start[4:8] == b"n+2\0":
            return nibabel.Nifti2Header
        if start[344:348] == b"ni1\0":
            raise _damaged(path, "a NIfTI header whose voxels lie in another file (.hdr/.img)")
    raise _damaged(path, "not a NIfTI file: it has no NIfTI header")


def _shape(raw: Any, path: Path) -> Triple:
    dim = [int(n) for n in raw["dim"]]
    rank, sizes = dim[0], dim[1:]
    if not 1 <= rank <= 7 or any(n < 1 for n in sizes[:rank]):
        raise _damaged(path, f"dimensions {sizes[: max(rank, 0)]} in the header")
    if any(n > 1 for n in sizes[3:rank]):
        raise VoxelError(
            f"a {rank}D image of shape {tuple(sizes[:rank])}",
            where=path,
            mend="split it into 3D images, one a channel in the manifest",
        )
    padded = sizes[: min(rank, 3)] + [1] * (3 - min(rank, 3))
    return (padded[0], padded[1], padded[2])


def _scaling(raw: Any) -> tuple[float, float]:
    """NIfTI: slope 0 or no number says that nothing is scaled."""
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _grid(raw: Any, shape: Triple, codes: HeaderCodes, path: Path) -> Grid:
    pixdim = np.asarray(raw["pixdim"][1:4], np.float64)
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
        raise GeometryError(
            f"spacing {tuple(float(p) for p in pixdim)} mm in the header", where=path, mend="write the true spacing"
        )
    try:
        affine = np.asarray(raw.get_best_affine(), np.float64)
    except (ValueError, np.linalg.LinAlgError, nibabel.spatialimages.HeaderDataError) as error:
        raise GeometryError(f"no usable affine: {error}", where=path, mend="write a valid qform or sform") from None
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or (norms == 0).any() or abs(np.linalg.det(affine[:3, :3] / norms)) < 1e-3:
        raise GeometryError("the affine is singular or not finite", where=path, mend="write a valid qform or sform")
    # the affine is float32 sums of what the header says in pixdim; where both agree pixdim is the cleaner number
    spacing = pixdim if np.allclose(pixdim, norms, rtol=1e-3, atol=0) else norms
    return Grid.from_file(shape, affine, tuple(float(s) for s in spacing))  # type: ignore[arg-type]
