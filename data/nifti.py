"""NIfTI files: read through ISA-L straight into an array, written whole and compressed."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import isal_zlib

from umd_engine.data.atomic import atomic_file
from umd_engine.data.content import Content
from umd_engine.data.gzip_stream import ByteStream
from umd_engine.data.nifti_header import OURS, SYNTHETIC, Header, header_bytes, mask_description, parse_header
from umd_engine.data.remote import HEADER_BLOCK
from umd_engine.data.volume import Volume
from umd_engine.data.words import counted
from umd_engine.errors import CorruptFileError, DataError, GeometryError, LabelError, OptionError, VoxelError

__all__ = [
    "SYNTHETIC", "Header", "check_finite", "mask_description", "read", "read_header", "read_labels", "write",
    "write_labels",
]  # fmt: skip

SUFFIXES = (".nii.gz", ".nii")
IGZIP_LEVEL = 1  # 367 MB/s of labels against 65 of zlib's level 6
GZIP = 31  # window bits that ask for a gzip header and trailer
WRITE_BLOCK = 1 << 22
DESCRIPTION_BYTES = 79  # of the header's 80; the last one is 0
MAX_LABEL = np.iinfo(np.uint16).max


def read_header(path: str | Path) -> Header:
    """What the first bytes of a NIfTI file say, without reading its voxels.

    Raises:
        MissingFileError, CorruptFileError, GeometryError, VoxelError: as `parse_header`.
    """
    with ByteStream(Path(path), block=HEADER_BLOCK) as stream:
        return parse_header(stream)[0]


def read(path: str | Path, hashed: bool = False) -> Volume:
    """A scan: .nii or .nii.gz, NIfTI-1 or -2, either byte order.

    With `hashed` the volume knows its file's content.

    Voxels keep the stored integer type where the scaling is trivial or adds a whole number that keeps them in
    that type's range; else they are float32 (float64 files too).

    Raises:
        MissingFileError: no such file.
        CorruptFileError: truncated or damaged gzip, not a NIfTI, fewer bytes than the header promises.
        GeometryError: zero or negative spacing, a singular or non-finite affine, units other than mm.
        VoxelError: more than one volume, RGB or complex voxels, NaN or infinity.
    """
    header, stored, content = _load(Path(path), hashed)
    array = _scaled(stored, header.slope, header.inter)
    volume = Volume.from_file_order(array, header.grid, header.path, header.codes, content)
    check_finite(volume)
    return volume


def read_labels(path: str | Path, hashed: bool = False) -> Volume:
    """A label map: whole numbers >= 0, as uint8 where they fit, else uint16. Floating files are accepted.

    `hashed` is as for `read`.

    Raises:
        LabelError: fractions, negative ids, ids beyond 65535.
        MissingFileError, CorruptFileError, GeometryError, VoxelError: as `read`.
    """
    header, stored, content = _load(Path(path), hashed)
    array = _whole(_scaled(stored, header.slope, header.inter), header.path)
    return Volume.from_file_order(array, header.grid, header.path, header.codes, content)


def check_finite(volume: Volume) -> None:
    """Raise VoxelError if a floating volume holds NaN or infinity."""
    if not np.issubdtype(volume.voxels.dtype, np.floating):
        return
    extremes = np.array([volume.voxels.min(), volume.voxels.max()])  # NaN wins both; no mask is allocated
    if np.isfinite(extremes).all():
        return
    count = int(volume.voxels.size - np.isfinite(volume.voxels).sum())
    fault = f"NaN or infinity in {count} of {counted(volume.voxels.size, 'voxel')}"
    raise VoxelError(fault, where=volume.path, mend="export it again")


def write(path: str | Path, volume: Volume, description: str = "") -> None:
    """Write a volume in its file's own axis order, affine, codes and dtype; compressed if `path` ends in .gz.

    Args:
        description: the header's `descrip`, at most 79 ASCII characters; "umd-engine" without one. That of the
            file the volume was read from is never copied: it may hold patient data.

    Raises:
        OptionError: a description that does not fit, another ending. DataError: a folder that cannot be written to.
    """
    array = volume.grid.to_file_order(volume.voxels)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    header = header_bytes(volume.codes, volume.grid.file_shape, array.dtype, _description(description, path))
    _store(Path(path), header, array)


def write_labels(path: str | Path, labels: np.ndarray, like: Volume | Header, description: str = "") -> None:
    """Write a label map [X, Y, Z] (canonical order) as uint8, or uint16 if needed, over the scan `like`.

    The file has the scan's own axis order, affine, qform, sform and units, so that any viewer overlays them.
    `description` is as for `write`.

    Raises:
        OptionError: a description that does not fit, another ending.
        GeometryError: labels of another shape than the scan.
        LabelError: labels that are no integers, negative or beyond 65535.
        DataError: a folder that cannot be written to.
    """
    if labels.shape != like.grid.shape:
        raise GeometryError(f"labels of shape {labels.shape} over a scan of shape {like.grid.shape}", where=path)
    if labels.dtype != np.bool_ and not np.issubdtype(labels.dtype, np.integer):
        raise LabelError(f"labels of type {labels.dtype}", where=path, mend="give integers")
    array = _narrow(like.grid.to_file_order(labels), Path(path))
    header = header_bytes(like.codes, like.grid.file_shape, array.dtype, _description(description, path))
    _store(Path(path), header, array)


def _description(text: str, path: str | Path) -> str:
    if not text.isascii() or not text.isprintable() or len(text) > DESCRIPTION_BYTES:
        mend = f"at most {DESCRIPTION_BYTES} printable ASCII characters"
        raise OptionError(f"a description that no header holds: {text!r}", where=path, mend=mend)
    return text or OURS


def _load(path: Path, hashed: bool) -> tuple[Header, np.ndarray, Content | None]:
    """The header and the stored numbers, native byte order, [file axes] in Fortran order."""
    with ByteStream(path, hashed) as stream:
        header, position = parse_header(stream)
        if header.first_voxel + header.voxel_bytes > stream.most_bytes():
            raise _short(header)
        stream.take(header.first_voxel - position)
        flat = np.empty(header.voxel_bytes // header.dtype.itemsize, dtype=header.dtype)
        if stream.read_into(flat.view(np.uint8).data) < header.voxel_bytes:
            raise _short(header)
        stream.finish()
    if not header.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(header.dtype.newbyteorder("="))
    return header, flat.reshape(header.grid.file_shape, order="F"), stream.content


def _short(header: Header) -> CorruptFileError:
    fault = f"it holds fewer than the {header.voxel_bytes} voxel bytes that its header promises"
    return CorruptFileError(fault, where=header.path, mend="copy the file again from its source")


def _scaled(stored: np.ndarray, slope: float, inter: float) -> np.ndarray:
    """stored * slope + inter, in the stored integers where that is exact; may reuse the memory of `stored`."""
    if slope == 1 and inter == 0:
        return stored if stored.dtype != np.float64 else _single(stored)
    if slope == 1 and inter == int(inter) and _stays_in_range(stored, int(inter)):
        bits = 8 * stored.dtype.itemsize
        shift = np.array(int(inter) % 2**bits, dtype=f"u{stored.dtype.itemsize}").view(stored.dtype)
        return np.add(stored, shift, out=stored)  # modular arithmetic: the sum is in range, the shift need not be
    scaled = np.empty_like(stored, dtype=np.float32)
    for z in range(stored.shape[2]):  # a slice at a time: float64 precision without a float64 volume
        scaled[..., z] = _single(stored[..., z].astype(np.float64) * slope + inter)
    return scaled


def _stays_in_range(stored: np.ndarray, inter: int) -> bool:
    if not np.issubdtype(stored.dtype, np.integer):
        return False
    limits = np.iinfo(stored.dtype)
    return int(stored.min()) + inter >= limits.min and int(stored.max()) + inter <= limits.max


def _single(stored: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # beyond float32's range becomes infinity, which check_finite reports
        return stored.astype(np.float32)


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite([array.min(), array.max()]).all():
            raise VoxelError("a label map with NaN or infinite voxels", where=path, mend="write it as integers")
        if not np.array_equal(array, np.rint(array)):
            raise LabelError("a label map with fractions", where=path, mend="resample labels to the nearest voxel")
    return _narrow(array, path)


def _narrow(array: np.ndarray, path: Path) -> np.ndarray:
    """uint8 where the ids fit, else uint16; the same array if it is uint8."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    low, high = array.min(), array.max()
    if low < 0 or high > MAX_LABEL:
        raise LabelError(f"label ids from {low} to {high}", where=path, mend="use ids from 0 to 65535")
    return array.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)


def _store(path: Path, header: bytes, array: np.ndarray) -> None:
    if not path.name.endswith(SUFFIXES):
        raise OptionError("a NIfTI file must end in .nii.gz or .nii", where=path)
    flat = np.ravel(array, order="F").astype(array.dtype.newbyteorder("<"), copy=False)  # no copy of what was read
    content = flat.view(np.uint8).data
    try:
        with atomic_file(path) as file:
            _pack(file, header, content, zipped=path.name.endswith(".gz"))
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=path, mend="check the folder and its space") from None


def _pack(file: BinaryIO, header: bytes, content: memoryview, zipped: bool) -> None:
    if not zipped:
        file.write(header)
        file.write(content)
        return
    packer = isal_zlib.compressobj(IGZIP_LEVEL, isal_zlib.DEFLATED, GZIP)
    file.write(packer.compress(header))
    for start in range(0, len(content), WRITE_BLOCK):
        file.write(packer.compress(content[start : start + WRITE_BLOCK]))
    file.write(packer.flush())
