"""The header of a NIfTI-1 or NIfTI-2 file: which bytes are voxels, what they mean, where they lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from umd_engine.data.gzip_stream import ByteStream
from umd_engine.data.volume import Grid, HeaderCodes, check_spacing
from umd_engine.errors import CorruptFileError, GeometryError, VoxelError

HEADER_BYTES = {1: 348, 2: 540}
FIRST_VOXEL = {1: 352, 2: 544}
MAGIC = {1: b"n+1", 2: b"n+2"}
PAIR_MAGIC = (b"ni1", b"ni2")
DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
NOT_NUMBERS = {
    1: "single bits", 32: "complex numbers", 128: "RGB triplets", 1536: "128-bit floats", 1792: "complex numbers",
    2048: "complex numbers", 2304: "RGBA quadruplets",
}  # fmt: skip
OURS = "umd-engine"  # the descrip of a file that is given none
SYNTHETIC = "synthetic phantom"  # what the descrip of a computer-made image or of its masks begins with
MASK_OF = re.compile(rb" mask of ([0-9a-f]{16})$")  # what that of our masks ends with: see `mask_description`
UNITS = {1: "metres", 3: "micrometres"}
AnyHeader: TypeAlias = Nifti1Header  # or NIfTI-2's, which is derived from it


@dataclass(frozen=True)
class Header:
    """What the first bytes of a NIfTI file say.

    Args:
        path: the file.
        grid: where its voxels lie, in canonical order.
        codes: the fields that place them, as stored.
        dtype: of the stored voxels, with the file's byte order.
        slope, inter: voxel = stored * slope + inter; (1, 0) where the header has no scaling.
        first_voxel: offset of the voxels in the (decompressed) file, in bytes.
        synthetic: the file says of itself that it is a computer-made phantom.
        mask_of: of a mask of ours, the hash of its images; "" otherwise. Nothing else of a description is kept: it
            may hold patient data.
    """

    path: Path
    grid: Grid
    codes: HeaderCodes
    dtype: np.dtype
    slope: float
    inter: float
    first_voxel: int
    synthetic: bool = False
    mask_of: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.grid.shape

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) float64, canonical voxel -> mm (RAS)."""
        return self.grid.affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm along [X, Y, Z]."""
        return self.grid.spacing

    @property
    def voxel_bytes(self) -> int:
        x, y, z = self.shape
        return x * y * z * self.dtype.itemsize


def parse_header(stream: ByteStream) -> tuple[Header, int]:
    """The header at the start of `stream`, and how many bytes of the stream that took.

    Raises:
        CorruptFileError: not a NIfTI file, or a header that contradicts itself.
        GeometryError: spacing, affine or unit that place no volume.
        VoxelError: more than one volume, or voxels that are not plain numbers.
    """
    path = stream.path
    block = stream.take(HEADER_BYTES[1])
    version, endian = _version(block, path)
    if version == 2:
        block += stream.take(HEADER_BYTES[2] - HEADER_BYTES[1])
    if len(block) < HEADER_BYTES[version]:
        raise _corrupt("the file ends within its header", path)
    raw = (Nifti1Header if version == 1 else Nifti2Header)(block, endianness=endian, check=False)
    shape = _shape(raw, path)
    slope, inter = _scaling(raw, path)
    descrip = bytes(raw["descrip"].item())
    header = Header(
        path=path,
        grid=_grid(raw, shape, path),
        codes=_codes(raw, version),
        dtype=_dtype(raw, endian, path),
        slope=slope,
        inter=inter,
        first_voxel=_first_voxel(raw, version, path),
        synthetic=descrip.startswith(SYNTHETIC.encode()),
        mask_of=found[1].decode() if (found := MASK_OF.search(descrip)) else "",
    )
    return header, len(block)


def mask_description(images: str, synthetic: bool) -> str:
    """The descrip of a mask, from the hash of its images in 16 hex digits."""
    return f"{SYNTHETIC if synthetic else OURS} mask of {images}"


def _corrupt(fault: str, path: Path) -> CorruptFileError:
    return CorruptFileError(fault, where=path, mend="convert the scan to NIfTI again")


def _version(block: bytes, path: Path) -> tuple[int, str]:
    for endian in "<>":
        size = int(np.frombuffer(block[:4].ljust(4, b"\0"), f"{endian}i4")[0])
        for version, expected in HEADER_BYTES.items():
            if size == expected and len(block) >= 12:
                _check_magic(block[344:347] if version == 1 else block[4:7], version, path)
                return version, endian
    raise _corrupt("not a NIfTI file" if block else "the file is empty", path)


def _check_magic(magic: bytes, version: int, path: Path) -> None:
    if magic in PAIR_MAGIC:
        raise _corrupt("a header whose voxels lie in another file (.hdr/.img)", path)
    if magic != MAGIC[version]:
        raise _corrupt("not a NIfTI file (an Analyze header, or a damaged one)", path)


def _shape(raw: AnyHeader, path: Path) -> tuple[int, int, int]:
    dim = [int(size) for size in raw["dim"]]
    if not 1 <= dim[0] <= 7:
        raise _corrupt(f"the header counts {dim[0]} axes", path)
    sizes = dim[1 : dim[0] + 1]
    if min(sizes) < 1:
        raise _corrupt(f"an axis of {min(sizes)} voxels", path)
    if len(sizes) < 3:
        raise VoxelError(f"a {len(sizes)}D image", where=path, mend="give one 3D volume a file")
    if any(size > 1 for size in sizes[3:]):
        fault = f"a {len(sizes)}D image of {int(np.prod(sizes[3:]))} volumes"
        raise VoxelError(fault, where=path, mend="split it into one 3D file a volume")
    return sizes[0], sizes[1], sizes[2]


def _dtype(raw: AnyHeader, endian: str, path: Path) -> np.dtype:
    code = int(raw["datatype"])
    if code in NOT_NUMBERS:
        raise VoxelError(f"its voxels are {NOT_NUMBERS[code]}", where=path, mend="store one number a voxel")
    if code not in DTYPES:
        raise _corrupt(f"unknown datatype code {code}", path)
    return np.dtype(DTYPES[code]).newbyteorder(endian)  # type: ignore[arg-type]


def _scaling(raw: AnyHeader, path: Path) -> tuple[float, float]:
    slope, inter = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or not np.isfinite(slope):  # the standard's "no scaling", and nibabel's NaN for it
        return 1.0, 0.0
    if not np.isfinite(inter):
        raise _corrupt(f"scl_inter is {inter}", path)
    return slope, inter


def _first_voxel(raw: AnyHeader, version: int, path: Path) -> int:
    offset = float(raw["vox_offset"])
    if offset == 0:
        return FIRST_VOXEL[version]
    if not np.isfinite(offset) or offset < FIRST_VOXEL[version]:
        raise _corrupt(f"vox_offset is {offset:g}, within the header", path)
    return int(offset)


def _grid(raw: AnyHeader, shape: tuple[int, int, int], path: Path) -> Grid:
    unit = int(raw["xyzt_units"]) & 7
    if unit in UNITS:
        raise GeometryError(f"its coordinates are in {UNITS[unit]}", where=path, mend="convert it to mm")
    x, y, z = (float(size) for size in raw["pixdim"][1:4])
    check_spacing((x, y, z), path)
    return Grid.from_file(shape, _affine(raw, path), (x, y, z), where=path)


def _affine(raw: AnyHeader, path: Path) -> np.ndarray:
    """sform, else qform, else nibabel's centred default for a header that has neither."""
    if raw["pixdim"][0] not in (-1, 1):  # qfac 0 means 1 (nifti1.h)
        raw["pixdim"][0] = 1
    try:
        return np.asarray(raw.get_best_affine(), dtype=np.float64)
    except ValueError as error:  # a quaternion longer than 1
        raise GeometryError(f"the qform is no rotation: {error}", where=path, mend="write its header anew") from None


def _codes(raw: AnyHeader, version: int) -> HeaderCodes:
    return HeaderCodes(
        nifti_version=version,
        xyzt_units=int(raw["xyzt_units"]),
        qform_code=int(raw["qform_code"]),
        sform_code=int(raw["sform_code"]),
        pixdim=tuple(float(size) for size in raw["pixdim"]),
        quatern=tuple(float(raw[f"quatern_{axis}"]) for axis in "bcd"),
        qoffset=tuple(float(raw[f"qoffset_{axis}"]) for axis in "xyz"),
        srow=tuple(float(value) for axis in "xyz" for value in raw[f"srow_{axis}"]),
    )


def header_bytes(codes: HeaderCodes, shape: tuple[int, int, int], dtype: np.dtype, descrip: str) -> bytes:
    """A little-endian single-file header, its empty extension block included.

    Args:
        codes: where the voxels lie.
        shape: in file order.
        dtype: of the voxels.
        descrip: at most 79 ASCII characters.

    Raises:
        VoxelError: a dtype that NIfTI cannot store.
    """
    by_dtype = {name: code for code, name in DTYPES.items()}
    name = np.dtype(dtype).str[1:]
    if name not in by_dtype:
        raise VoxelError(f"a NIfTI file cannot hold {dtype} voxels", mend="convert them first")
    # An axis longer than 32767 does not fit NIfTI-1's 16 bits.
    version = 2 if codes.nifti_version == 2 or max(shape) > np.iinfo(np.int16).max else 1
    raw = (Nifti1Header if version == 1 else Nifti2Header)(endianness="<")
    raw["dim"] = [3, *shape, 1, 1, 1, 1]
    raw["datatype"], raw["bitpix"] = by_dtype[name], 8 * np.dtype(dtype).itemsize
    raw["vox_offset"], raw["scl_slope"], raw["scl_inter"] = FIRST_VOXEL[version], 1, 0
    raw["descrip"] = descrip
    for field in ("xyzt_units", "qform_code", "sform_code", "pixdim"):
        raw[field] = getattr(codes, field)
    for number, axis in enumerate("xyz"):
        raw[f"quatern_{'bcd'[number]}"], raw[f"qoffset_{axis}"] = codes.quatern[number], codes.qoffset[number]
        raw[f"srow_{axis}"] = codes.srow[4 * number : 4 * number + 4]
    return bytes(raw.binaryblock) + bytes(4)
