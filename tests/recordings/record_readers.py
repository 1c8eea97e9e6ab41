"""Records what nnU-Net's four readers make of one oblique, flipped, anisotropic NIfTI and what they write."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient

READERS = (SimpleITKIO, NibabelIO, NibabelIOWithReorient, SimpleITKIOWithReorient)


def _rotation(axis: int, degrees: float) -> np.ndarray:
    i, j = (a for a in range(3) if a != axis)
    turn = np.eye(3)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return turn


def oriented_affine() -> np.ndarray:
    """File axes run backwards, upwards and to the left (PSL), tilted; zooms 0.9, 3.5 and 1.4 mm."""
    axes = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], float)  # columns: P, S, L in RAS
    tilt = _rotation(0, 17) @ _rotation(1, -9) @ _rotation(2, 6)
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes @ np.diag([0.9, 3.5, 1.4])
    affine[:3, 3] = (31.5, -72.25, 118.0)
    return affine


def write_oriented(path: Path) -> None:
    """An int16 image of shape (21, 9, 14) whose every voxel names its index."""
    i, j, k = np.indices((21, 9, 14))
    image = nib.Nifti1Image((i * 1000 + j * 20 + k - 1024).astype(np.int16), oriented_affine())
    image.set_qform(oriented_affine(), code=1)
    image.set_sform(oriented_affine(), code=2)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def labels_of(shape: tuple[int, ...]) -> np.ndarray:
    """A label map in nnU-Net's order with a rule of index: (d0^2 + 3 d1 + 5 d2) mod 7."""
    d0, d1, d2 = np.indices(shape)
    return ((d0 * d0 + 3 * d1 + 5 * d2) % 7).astype(np.uint8)


def record_readers(out: Path) -> None:
    """readers.npz, for each reader: READER/array and /spacing (mm) as read, /seg as given to write_seg in
    nnU-Net's order, /written and /affine as nibabel reads the file that write_seg wrote (file order).
    """
    source = out / "oriented.nii.gz"
    write_oriented(source)
    stored: dict[str, np.ndarray] = {}
    for reader in READERS:
        array, properties = reader().read_images([str(source)])
        seg = labels_of(array.shape[1:])
        with tempfile.TemporaryDirectory() as scratch:
            target = str(Path(scratch) / "seg.nii.gz")
            reader().write_seg(seg, target, properties)
            written = nib.load(target)
            stored[f"{reader.__name__}/written"] = np.asanyarray(written.dataobj).astype(np.uint8)
            stored[f"{reader.__name__}/affine"] = written.affine
        stored[f"{reader.__name__}/array"] = array.astype(np.int16)
        stored[f"{reader.__name__}/spacing"] = np.array(properties["spacing"], float)
        stored[f"{reader.__name__}/seg"] = seg
    np.savez_compressed(out / "readers.npz", **stored)
