"""NIfTI files that are sound: every kind is read as nibabel reads it, and written back without a difference."""

from __future__ import annotations

import gzip
from functools import partial
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from nibabel.eulerangles import euler2mat

from umd_engine.data.nifti import SYNTHETIC, read, read_header, read_labels, write, write_labels
from umd_engine.data.volume import Volume
from umd_engine.errors import DataError, GeometryError, LabelError, OptionError, VoxelError

REAL = Path(__file__).parents[2].parent / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not here")
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = euler2mat(0.1, -0.2, 0.3) @ np.diag([-0.9, -1.1, 5.0])
OBLIQUE[:3, 3] = 120, -30, 7
INTEGERS = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8")
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)


def save(path, array, affine=OBLIQUE, kind=nibabel.Nifti1Image, slope=None, inter=None, endian="<"):
    """Write with nibabel; with a slope the array is what is stored, not what it means."""
    header = kind.header_class(endianness=endian)
    header.set_data_dtype(array.dtype)
    image = kind(array, affine, header)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nibabel.save(image, path)
    return path


def as_nibabel(path) -> np.ndarray:
    return np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("dtype", [*INTEGERS, "f4", "f8"])
def test_every_kind_of_file_is_read_as_by_nibabel(tmp_path, name, kind, endian, dtype):
    low, high = (0, 120) if dtype.startswith("u") else (-100, 120)
    array = np.random.default_rng(0).integers(low, high, (5, 6, 7)).astype(dtype)
    path = save(tmp_path / name, array, kind=kind, endian=endian)
    volume = read(path)
    assert volume.voxels.dtype == (np.dtype(dtype) if dtype != "f8" else np.float32)
    assert volume.voxels.dtype.isnative and not volume.voxels.flags.writeable
    assert np.array_equal(volume.voxels, as_nibabel(path))
    np.testing.assert_allclose(volume.affine, nibabel.as_closest_canonical(nibabel.load(path)).affine, atol=1e-9)
    header = read_header(path)
    assert header.grid == volume.grid and header.dtype.itemsize == np.dtype(dtype).itemsize


@pytest.mark.parametrize(
    ("dtype", "values", "slope", "inter", "expected"),
    [
        ("i2", (0, 3000), 1, -1024, np.int16),
        ("i2", (-32000, 3000), 1, -1024, np.float32),  # would wrap
        ("u2", (2000, 5000), 1, -1024, np.uint16),
        ("u2", (0, 5000), 1, -1024, np.float32),  # would be negative
        ("i1", (-128, -100), 1, 200, np.int8),  # 200 itself is no int8
        ("i2", (0, 3000), 1, 0.5, np.float32),
        ("i2", (0, 3000), 2, 0, np.float32),
        ("i2", (0, 3000), 0.00037, -1.5, np.float32),
        ("f4", (0, 3), 2.5, 1, np.float32),
        ("f8", (0, 3), 2.5, 1, np.float32),
        ("i4", (2**30, 2**30 + 9), 1e-9, -1, np.float32),  # float64 precision on the way
    ],
)
def test_scaling(tmp_path, dtype, values, slope, inter, expected):
    array = np.linspace(*values, 60).astype(dtype).reshape(3, 4, 5)
    path = tmp_path / "scan.nii.gz"
    save(path, array)
    _set_scaling(path, slope, inter)
    volume = read(path)
    assert volume.voxels.dtype == expected
    stored = volume.grid.to_canonical(array).astype(np.float64)
    meant = stored * np.float64(np.float32(slope)) + np.float64(np.float32(inter))
    assert np.array_equal(volume.voxels, meant.astype(expected))


@pytest.mark.parametrize(("slope", "inter"), [(0, 5), (np.nan, np.nan), (np.nan, 3), (1, 0)])
def test_no_scaling(tmp_path, slope, inter):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    _set_scaling(save(tmp_path / "scan.nii.gz", array), slope, inter)
    volume = read(tmp_path / "scan.nii.gz")
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.grid.to_file_order(volume.voxels), array)


def _set_scaling(path, slope, inter) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[112:120] = np.array([slope, inter], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(gzip.compress(bytes(content)))


def test_gzip_of_several_members_padding_and_bytes_after_the_voxels(tmp_path):
    array = np.random.default_rng(1).integers(-1000, 1000, (64, 64, 70)).astype(np.int16)  # more than a block
    whole = save(tmp_path / "scan.nii", array).read_bytes() + b"a note"
    cuts = [0, 100, 352, 300_000, len(whole)]
    members = [gzip.compress(whole[a:b]) for a, b in pairwise(cuts)]
    path = tmp_path / "members.nii.gz"
    path.write_bytes(b"".join(members) + bytes(700_000))
    volume = read(path)
    assert np.array_equal(volume.grid.to_file_order(volume.voxels), array)


def test_an_extension_before_the_voxels_is_skipped(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(array, OBLIQUE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 5000))
    nibabel.save(image, tmp_path / "scan.nii.gz")
    volume = read(tmp_path / "scan.nii.gz")
    assert np.array_equal(volume.grid.to_file_order(volume.voxels), array)


def test_a_last_axis_of_one_is_no_fourth_dimension(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1)
    volume = read(save(tmp_path / "scan.nii.gz", array))
    assert np.array_equal(volume.grid.to_file_order(volume.voxels), array[..., 0])


@pytest.mark.parametrize(("qform", "sform"), [(0, 0), (1, 0), (0, 2), (1, 1)])
def test_affine_from_sform_qform_or_neither(tmp_path, qform, sform):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), None)
    image.header.set_zooms((0.9, 1.1, 5.0))
    image.set_qform(OBLIQUE if qform else None, qform)
    image.set_sform(OBLIQUE if sform else None, sform)
    path = tmp_path / "scan.nii.gz"
    nibabel.save(image, path)
    volume, expected = read(path), nibabel.load(path)
    np.testing.assert_allclose(volume.grid.file_affine, expected.affine, atol=1e-9)
    assert (volume.codes.qform_code, volume.codes.sform_code) == (qform, sform)
    write(tmp_path / "copy.nii.gz", volume)
    again = nibabel.load(tmp_path / "copy.nii.gz")
    assert np.array_equal(again.affine, expected.affine)
    for field in ("pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "srow_x"):
        assert np.array_equal(again.header[field], expected.header[field]), field


@shared_folder
@given(
    arrays.arrays(st.sampled_from(["u1", "i2", "f4", "i4"]), st.tuples(*[st.integers(1, 6)] * 3), fill=st.nothing(),
                  elements={"allow_nan": False, "allow_infinity": False}),
    st.permutations(range(3)), st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3), st.booleans(),
)  # fmt: skip
def test_what_is_written_is_read(tmp_path, array, order, signs, zipped):
    affine = np.eye(4)
    affine[:3, :3] = OBLIQUE[:3, :3] @ np.eye(3)[list(order)] * signs
    volume = Volume.from_array(array, affine.astype(np.float32))
    path = tmp_path / ("scan.nii.gz" if zipped else "scan.nii")
    write(path, volume)
    again = read(path)
    assert again.voxels.dtype == volume.voxels.dtype and np.array_equal(again.voxels, volume.voxels)
    assert np.array_equal(again.affine, volume.affine) and again.codes.srow == volume.codes.srow
    np.testing.assert_allclose(again.spacing, volume.spacing, rtol=1e-6)  # pixdim is float32
    assert np.array_equal(np.asanyarray(nibabel.load(path).dataobj), array)
    assert [found.name for found in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (np.array([0, 255], np.int64), np.uint8),
        (np.array([0, 256], np.int32), np.uint16),
        (np.array([0, 65535], np.uint16), np.uint16),
        (np.array([False, True]), np.uint8),
    ],
)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_labels_lie_over_their_scan(tmp_path, labels, dtype, kind):
    scan = read(save(tmp_path / "scan.nii.gz", np.zeros((4, 5, 6), np.int16), kind=kind))
    drawn = np.random.default_rng(2).choice(labels, scan.shape)
    for like in (scan, read_header(tmp_path / "scan.nii.gz")):
        write_labels(tmp_path / "out" / "label.nii.gz", drawn, like)
        found = read_labels(tmp_path / "out" / "label.nii.gz")
        assert found.voxels.dtype == dtype and np.array_equal(found.voxels, drawn)
        assert found.grid == scan.grid and found.codes == scan.codes
        ours, theirs = nibabel.load(tmp_path / "out" / "label.nii.gz"), nibabel.load(tmp_path / "scan.nii.gz")
        assert type(ours) is type(theirs) and np.array_equal(ours.affine, theirs.affine)
        assert ours.header.get_xyzt_units() == theirs.header.get_xyzt_units() and ours.get_data_dtype() == dtype


def test_labels_that_cannot_be_written(tmp_path):
    scan = Volume.from_array(np.zeros((4, 5, 6), np.int16))
    path = tmp_path / "label.nii.gz"
    with pytest.raises(GeometryError, match="shape"):
        write_labels(path, np.zeros((4, 5, 7), np.uint8), scan)
    with pytest.raises(LabelError, match="float32"):
        write_labels(path, np.zeros((4, 5, 6), np.float32), scan)
    with pytest.raises(LabelError, match="-1"):
        write_labels(path, np.full((4, 5, 6), -1), scan)
    with pytest.raises(LabelError, match="70000"):
        write_labels(path, np.full((4, 5, 6), 70000), scan)
    with pytest.raises(OptionError, match="nii"):
        write_labels(tmp_path / "label.mha", np.zeros((4, 5, 6), np.uint8), scan)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "u8", "f4", "f8"])
def test_label_files_of_any_type_become_the_smallest_unsigned_one(tmp_path, dtype):
    array = np.random.default_rng(3).integers(0, 105, (4, 5, 6)).astype(dtype)
    found = read_labels(save(tmp_path / "label.nii.gz", array))
    assert found.voxels.dtype == np.uint8
    assert np.array_equal(found.grid.to_file_order(found.voxels), array)


@pytest.mark.parametrize(
    ("values", "error", "word"),
    [
        ((0, 0.5), LabelError, "fractions"),
        ((0, np.nan), VoxelError, "NaN"),
        ((-1, 3), LabelError, "-1"),
        ((0, 65536), LabelError, "65536"),
    ],
)
def test_label_files_that_are_no_labels(tmp_path, values, error, word):
    array = np.zeros((4, 5, 6), np.float32)
    array[0, 0, :2] = values
    with pytest.raises(error, match=word) as found:
        read_labels(save(tmp_path / "label.nii.gz", array))
    assert found.value.where == tmp_path / "label.nii.gz"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "scan.nii.gz"
    write(path, Volume.from_array(np.ones((2, 2, 2), np.int16)))
    before = path.read_bytes()
    with pytest.raises(VoxelError, match="complex"):
        write(path, Volume.from_array(np.ones((2, 2, 2), np.complex64)))
    assert path.read_bytes() == before and [found.name for found in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        write(tmp_path / "file" / "scan.nii.gz", Volume.from_array(np.ones((2, 2, 2), np.int16)))


@needs_real
def test_every_real_file_is_read_as_by_nibabel():
    paths = sorted(REAL.rglob("*.nii.gz"))
    assert len(paths) >= 40
    for path in paths:
        if path.parent.name == "ct_large":
            continue  # below
        volume, expected = read(path), nibabel.load(path)
        assert volume.voxels.dtype == expected.get_data_dtype()
        assert np.array_equal(volume.grid.to_file_order(volume.voxels), np.asanyarray(expected.dataobj)), path
        np.testing.assert_allclose(volume.grid.file_affine, expected.affine, atol=1e-9)


@needs_real
def test_a_clinical_ct_is_written_back_bit_equal(tmp_path):
    volume = read(REAL / "ct_large" / "CT.nii.gz")
    write(tmp_path / "copy.nii.gz", volume)
    again = read(tmp_path / "copy.nii.gz")
    assert again.voxels.dtype == np.int16 and np.array_equal(again.voxels, volume.voxels)
    assert again.grid == volume.grid and again.codes == volume.codes


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_description_is_written_and_none_is_copied(tmp_path, kind):
    source = tmp_path / "source.nii.gz"
    image = kind(np.arange(60, dtype=np.int16).reshape(3, 4, 5), OBLIQUE)
    image.header["descrip"] = b"Doe^John 1950-01-01"
    nibabel.save(image, source)
    volume, out = read(source), tmp_path / "out.nii.gz"
    for text, expected in (("", b"umd-engine"), (SYNTHETIC, b"synthetic phantom"), ("x" * 79, b"x" * 79)):
        write(out, volume, description=text)
        assert nibabel.load(out).header["descrip"].item() == expected
        assert read_header(out).synthetic == (text == SYNTHETIC)
        assert np.array_equal(read(out).voxels, volume.voxels)
        write_labels(out, np.ones(volume.grid.shape, np.uint8), volume, description=text)
        assert nibabel.load(out).header["descrip"].item() == expected
    assert b"Doe" not in gzip.decompress(out.read_bytes()) and not read_header(source).synthetic


@pytest.mark.parametrize("text", ["x" * 80, "größe", "two\nlines", "null\0"])
def test_a_description_that_no_header_holds_is_refused(tmp_path, text):
    volume = read(save(tmp_path / "scan.nii", np.ones((3, 4, 5), np.uint8)))
    for attempt in (write, partial(write_labels, labels=volume.voxels, like=volume)):
        arguments = {"volume": volume} if attempt is write else {}
        with pytest.raises(OptionError, match=r"out\.nii: a description.*79 printable ASCII"):
            attempt(tmp_path / "out.nii", **arguments, description=text)
    assert not (tmp_path / "out.nii").exists()
