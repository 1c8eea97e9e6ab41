"""DICOM files made for tests: slices of CT, MR and PET, an RTSTRUCT and a SEG. pydicom must be installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="no pydicom (pip install 'umd-engine[dicom]')")

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import UID, ExplicitVRLittleEndian  # noqa: E402

__all__ = ["ROOT", "encapsulate", "item", "save", "series"]
CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
    "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    "SR": "1.2.840.10008.5.1.4.1.1.88.11",
}
ROOT = "1.2.826.0.1.3680043.10.1"
AXIAL = [1.0, 0, 0, 0, 1, 0]


def item(**elements: Any) -> Dataset:
    """A dataset of a few elements."""
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def save(path: Path, modality: str, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Path:
    """A file of a modality; an element that is None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = UID(CLASSES[modality])
    meta.MediaStorageSOPInstanceUID = UID(f"{ROOT}.9.{abs(hash(str(path))) % 10**9}")
    made = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.Modality, made.PatientName = modality, "Doe^Jane"
    for keyword, value in {"PatientID": "P 001", **elements}.items():
        if value is not None:
            setattr(made, keyword, value)
    if meta.TransferSyntaxUID.is_encapsulated:
        made["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def series(
    folder: Path,
    modality: str = "CT",
    voxels: np.ndarray | None = None,
    *,
    number: int = 2,
    origin: tuple[float, float, float] = (-10.0, 20.0, 100.0),
    orientation: list[float] = AXIAL,
    step: float = 3.0,
    per_slice: dict[int, dict[str, Any]] | None = None,
    **elements: Any,
) -> np.ndarray:
    """Slices in an order of their own; returns the stored voxels, int16 [columns, rows, slices]."""
    if voxels is None:
        voxels = np.random.default_rng(number).integers(0, 2000, (6, 5, 4)).astype(np.int16)
    normal = np.cross(orientation[:3], orientation[3:])
    base: dict[str, Any] = {
        "SeriesInstanceUID": f"{ROOT}.{number}", "StudyInstanceUID": f"{ROOT}.1", "SeriesNumber": number,
        "FrameOfReferenceUID": f"{ROOT}.7", "ImageOrientationPatient": orientation, "PixelSpacing": [1.5, 2.0],
        "SliceThickness": 5.0, "Columns": voxels.shape[0], "Rows": voxels.shape[1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": -1024 if modality == "CT" else 0,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PatientSex": "F", "PatientAge": "054Y",
        "Manufacturer": "Maker", "ManufacturerModelName": "Model 1",
    }  # fmt: skip
    for k in range(voxels.shape[2]):
        position = [float(v) for v in np.asarray(origin) + k * step * normal]
        own = {"ImagePositionPatient": position, "InstanceNumber": k + 1, **(per_slice or {}).get(k, {})}
        pixels = np.ascontiguousarray(voxels[..., k].T).tobytes()
        name = f"{number}-{(k * 7 + 3) % 10}.dcm"  # not in the order of the slices
        save(folder / name, modality, **{**base, "PixelData": pixels, **elements, **own})
    return voxels
