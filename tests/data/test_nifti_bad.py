"""Files that cannot be read: each a typed error that names the file, the fault and the mend."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from umd_engine.data.gzip_stream import ByteStream
from umd_engine.data.nifti import read, read_header
from umd_engine.errors import CorruptFileError, DataError, GeometryError, MissingFileError, VoxelError

FIELDS = {  # offset and type in a NIfTI-1 header
    "dim": (40, "<i2"), "datatype": (70, "<i2"), "pixdim": (76, "<f4"), "vox_offset": (108, "<f4"),
    "scl_slope": (112, "<f4"), "xyzt_units": (123, "u1"), "qform_code": (252, "<i2"), "quatern_b": (256, "<f4"),
    "srow_x": (280, "<f4"), "magic": (344, "S4"),
}  # fmt: skip


@pytest.fixture
def sound(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 1000, (20, 21, 22)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 2, 3, 1.0])), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def patch(path, zipped=True, **fields) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    for name, values in fields.items():
        start, dtype = FIELDS[name]
        new = np.array(values, dtype).tobytes()
        content[start : start + len(new)] = new
    path.write_bytes(gzip.compress(bytes(content), 1) if zipped else bytes(content))


def check_message(error: DataError, path) -> None:
    assert error.where == path and error.fault and error.mend
    assert str(error).startswith(f"{path}: ") and not error.fault.endswith(".")


@pytest.mark.parametrize(
    ("fields", "error", "word"),
    [
        ({"dim": [4, 20, 21, 11, 2]}, VoxelError, "4D image of 2 volumes"),
        ({"dim": [2, 20, 462, 1]}, VoxelError, "2D"),
        ({"dim": [3, 20, 0, 22]}, CorruptFileError, "axis of 0"),
        ({"dim": [3, -20, 21, 22]}, CorruptFileError, "axis of -20"),
        ({"dim": [9, 20, 21, 22]}, CorruptFileError, "9 axes"),
        ({"dim": [3, 32767, 32767, 32767]}, CorruptFileError, "fewer"),
        ({"dim": [3, 20, 21, 23]}, CorruptFileError, "fewer"),
        ({"datatype": 128}, VoxelError, "RGB"),
        ({"datatype": 32}, VoxelError, "complex"),
        ({"datatype": 77}, CorruptFileError, "77"),
        ({"pixdim": [1, 1, 0, 3]}, GeometryError, "1 x 0 x 3 mm"),
        ({"pixdim": [1, 1, -2, 3]}, GeometryError, "1 x -2 x 3 mm"),
        ({"pixdim": [1, 1, np.nan, 3]}, GeometryError, "nan"),
        ({"srow_x": [0, 0, 0, 0]}, GeometryError, "singular"),
        ({"srow_x": [np.inf, 0, 0, 0]}, GeometryError, "infinite"),
        ({"srow_x": np.zeros((3, 4))}, GeometryError, "singular"),
        ({"xyzt_units": 1}, GeometryError, "metres"),
        ({"xyzt_units": 3}, GeometryError, "micrometres"),
        ({"qform_code": [1, 0], "quatern_b": [2, 2, 2]}, GeometryError, "rotation"),
        ({"vox_offset": 100}, CorruptFileError, "vox_offset"),
        ({"vox_offset": np.nan}, CorruptFileError, "vox_offset"),
        ({"scl_slope": [1, np.inf]}, CorruptFileError, "scl_inter"),
        ({"magic": b"ni1"}, CorruptFileError, "another file"),
        ({"magic": b""}, CorruptFileError, "Analyze"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_headers_that_place_no_volume(sound, fields, error, word, zipped):
    patch(sound, zipped, **fields)
    with pytest.raises(error, match=word) as found:
        read(sound)
    check_message(found.value, sound)


def test_a_disk_that_fails_while_it_is_read(sound):
    """A descriptor that may only be written to answers every read with an OSError, as a broken disk does."""
    plain = sound.with_name("plain.nii")
    plain.write_bytes(gzip.decompress(sound.read_bytes()))
    for path in (sound, plain):
        with ByteStream(path) as stream, path.open("ab") as unreadable:
            os.dup2(unreadable.fileno(), stream._file.fileno())
            with pytest.raises(DataError, match="cannot be read: Bad file descriptor") as found:
                stream.take(10)
        check_message(found.value, path)


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="needs Linux's /proc")
def test_a_file_whose_first_bytes_cannot_be_read():
    with pytest.raises(DataError, match="cannot be read: Input/output error") as found:
        read_header("/proc/self/mem")
    check_message(found.value, Path("/proc/self/mem"))


OPEN = """
import os, sys
from umd_engine.data.nifti import read
from umd_engine.errors import DataError
if os.geteuid() == 0:
    os.seteuid(65534)  # root may read anything
try:
    read(sys.argv[1])
except DataError as error:
    print(error)
"""


def test_a_file_that_may_not_be_opened(sound):
    sound.chmod(0)
    done = subprocess.run([sys.executable, "-c", OPEN, str(sound)], capture_output=True, text=True, check=True)
    assert "cannot be opened: Permission denied (check its permissions)" in done.stdout


@pytest.mark.parametrize("keep", [0, 1, 3, 20, 200, 0.5, -9, -8, -1])
def test_truncated_gzip(sound, keep):
    content = sound.read_bytes()
    size = int(len(content) * keep) if isinstance(keep, float) else keep
    sound.write_bytes(content[:size])
    with pytest.raises(CorruptFileError) as found:
        read(sound)
    check_message(found.value, sound)


@pytest.mark.parametrize("at", [-8, -4, 1000, 9000])
def test_a_flipped_bit_is_found(sound, at):
    content = bytearray(sound.read_bytes())
    content[at] ^= 4
    sound.write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match="gzip") as found:
        read(sound)
    check_message(found.value, sound)


def test_bytes_after_the_gzip_stream(sound):
    sound.write_bytes(sound.read_bytes() + b"<html>")
    with pytest.raises(CorruptFileError, match="no gzip follow"):
        read(sound)


@pytest.mark.parametrize("size", [100, 348, 351, 352, 400, -1])
def test_short_files(sound, size):
    path = sound.with_suffix("")
    path.write_bytes(gzip.decompress(sound.read_bytes())[:size])
    with pytest.raises(CorruptFileError, match=r"header|fewer") as found:
        read(path)
    check_message(found.value, path)


@pytest.mark.parametrize(
    "content",
    [b"<html><body>404</body></html>", b"\x89PNG\r\n", b"x" * 5000, gzip.compress(b"y" * 5000, mtime=0), b"\x1f\x8b"],
)
def test_files_that_are_no_nifti(tmp_path, content):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(content)
    for reader in (read, read_header):
        with pytest.raises(CorruptFileError, match=r"not a NIfTI|gzip") as found:
            reader(path)
        check_message(found.value, path)


def test_nothing_there(tmp_path):
    for path in (tmp_path / "none.nii.gz", tmp_path, tmp_path / "none" / "scan.nii.gz"):
        with pytest.raises(MissingFileError) as found:
            read(path)
        check_message(found.value, path)
    (tmp_path / "file").touch()
    with pytest.raises(MissingFileError):
        read(tmp_path / "file" / "scan.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_voxels_that_are_no_numbers(tmp_path, value, dtype):
    array = np.zeros((4, 5, 6), dtype)
    array[1, 2, 3] = value
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    with pytest.raises(VoxelError, match="NaN or infinity in 1 of 120 voxels") as found:
        read(path)
    check_message(found.value, path)
    assert read_header(path).shape == (4, 5, 6)


def test_numbers_beyond_float32_are_reported(tmp_path):
    array = np.full((2, 2, 2), 1e300)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "scan.nii")
    with pytest.raises(VoxelError, match="8 of 8"):
        read(tmp_path / "scan.nii")
