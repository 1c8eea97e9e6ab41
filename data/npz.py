"""Arrays of NPZ files that strangers wrote: no pickles, no array larger than its file says or memory holds."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from umd_engine.errors import CorruptFileError, VoxelError

ENDING = ".npy"
MOST_BYTES = 1 << 33  # 2048 x 2048 x 2048 voxels of one byte
FAULTS = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError)
MEND = "copy the file again from its source"


def array_names(path: Path) -> frozenset[str]:
    """The names of a file's arrays; nothing is unpacked.

    Raises:
        CorruptFileError: it is no NPZ file, or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return frozenset(name.removesuffix(ENDING) for name in file.namelist() if name.endswith(ENDING))
    except (OSError, zipfile.BadZipFile) as error:
        raise CorruptFileError(f"no NPZ file: {error}", where=path, mend=MEND) from None


def read_array(path: Path, name: str) -> np.ndarray:
    """An array of numbers.

    Raises:
        CorruptFileError: a damaged file, or an array with fewer bytes than its header promises.
        VoxelError: no numbers but objects, which only a pickle could hold, or more than 8 GiB.
    """
    array_shape(path, name)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])
    except FAULTS as error:
        raise CorruptFileError(f"array {name}: {error}", where=path, mend=MEND) from None


def array_shape(path: Path, name: str) -> tuple[int, ...]:
    """An array's shape, from its header alone.

    Raises:
        CorruptFileError, VoxelError: as `read_array`.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return _check_size(file, path, name)
    except FAULTS as error:
        raise CorruptFileError(f"array {name}: {error}", where=path, mend=MEND) from None


def _check_size(file: zipfile.ZipFile, path: Path, name: str) -> tuple[int, ...]:
    member = file.getinfo(name + ENDING)
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        begin = stream.tell()
    if dtype.hasobject or dtype.kind not in "biuf":
        raise VoxelError(f"array {name} holds no numbers", where=path, mend="save it as an array of numbers")
    size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    if size > MOST_BYTES:
        fault = f"array {name} has {size} bytes, and at most {MOST_BYTES} are read"
        raise VoxelError(fault, where=path, mend="split or crop the scan")
    if size != member.file_size - begin:
        fault = f"array {name} holds {member.file_size - begin} bytes, not the {size} of its header"
        raise CorruptFileError(fault, where=path, mend=MEND)
    return tuple(shape)
