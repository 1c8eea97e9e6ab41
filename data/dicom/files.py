"""Which DICOM files a folder has, and which of them are one series."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from umd_engine.data.words import counted
from umd_engine.errors import BackendError, DataError, VoxelError

Dataset: TypeAlias = Any  # pydicom's, which is an extra

MODALITIES = {"CT": "ct", "MR": "mr", "PT": "pet"}
LABELS = ("RTSTRUCT", "SEG")
SUBJECT = re.compile(r"[^A-Za-z0-9._-]+")
MEND = "pip install 'umd-engine[dicom]'"
# What the headers of slices are read for; everything else, names and dates of birth among it, is not looked at.
TAGS = [
    "SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "PatientID", "PatientSex", "PatientAge",
    "Manufacturer", "ManufacturerModelName", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "RescaleSlope",
    "RescaleIntercept", "Units", "SUVType", "DecayCorrection", "CorrectedImage", "PatientWeight",
    "RadiopharmaceuticalInformationSequence", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime",
    "FrameReferenceTime", "ActualFrameDuration",
    0x00090010, 0x0009100D,  # GE's time that a series is decay corrected to
    0x70530010, 0x70531000, 0x70531009,  # Philips' factors
]  # fmt: skip


@dataclass(frozen=True)
class Series:
    """The slices of one series, in no order.

    Attributes:
        modality: ct, mr or pet.
        files: one a header.
    """

    modality: str
    files: tuple[Path, ...]
    headers: tuple[Dataset, ...]

    @property
    def uid(self) -> str:
        return text(self.headers[0], "SeriesInstanceUID")

    @cached_property
    def subject(self) -> str:
        """The patient's id as a name, or the name of the series' folder where there is none."""
        written = SUBJECT.sub("-", text(self.headers[0], "PatientID")).strip("-._")
        return written or SUBJECT.sub("-", self.files[0].parent.name).strip("-._")

    @property
    def number(self) -> str:
        return text(self.headers[0], "SeriesNumber") or "0"

    @property
    def short_uid(self) -> str:
        """Eight digits that tell series of one number apart."""
        return hashlib.sha256((self.uid or str(self.files[0].parent)).encode()).hexdigest()[:8]

    @property
    def is_localizer(self) -> bool:
        return all("LOCALIZER" in map(str, values(header, "ImageType")) for header in self.headers)


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        objects: RTSTRUCT and SEG files with their modality.
        others: how many files of each other kind: a DICOM modality, or "no DICOM".
        damaged: files with a DICOM header that cannot be read.
    """

    series: tuple[Series, ...]
    objects: tuple[tuple[Path, str], ...]
    others: dict[str, list[Path]]
    damaged: tuple[tuple[Path, DataError], ...]


def pydicom() -> Any:
    """The library. It says nothing of odd values: its warnings would repeat what a header says of the patient.

    Raises:
        BackendError: it is not installed.
    """
    try:
        import pydicom as library
    except ImportError:
        raise BackendError("DICOM needs pydicom", mend=MEND) from None
    library.config.settings.reading_validation_mode = library.config.IGNORE
    return library


def find_series(folder: Path) -> Found:
    """The series below a folder, split by SeriesInstanceUID (and folder, where files have none); no pixel is read.

    Raises:
        BackendError: pydicom is not installed.
    """
    library = pydicom()
    slices: dict[tuple[str, str], list[tuple[Path, Dataset]]] = {}
    objects: list[tuple[Path, str]] = []
    others: dict[str, list[Path]] = {}
    damaged: list[tuple[Path, DataError]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            header = library.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
        except library.errors.InvalidDicomError:
            others.setdefault("no DICOM", []).append(path)
            continue
        except Exception as error:  # pydicom raises whatever a damaged file leads it to
            fault = DataError(f"a damaged DICOM file: {type(error).__name__}", where=path, mend="copy it again")
            damaged.append((path, fault))
            continue
        modality = text(header, "Modality")
        if modality in LABELS:
            objects.append((path, modality))
        elif modality in MODALITIES:
            uid = text(header, "SeriesInstanceUID") or str(path.parent)
            slices.setdefault((modality, uid), []).append((path, header))
        else:
            others.setdefault(f"modality {modality or 'unknown'}", []).append(path)
    series = [Series(MODALITIES[kind], *map(tuple, zip(*held, strict=True))) for (kind, _), held in slices.items()]
    return Found(tuple(series), tuple(objects), others, tuple(damaged))


def text(header: Dataset, keyword: str) -> str:
    """An element's text, "" where it is missing or empty."""
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def values(header: Dataset, keyword: str) -> Sequence[Any]:
    """An element's values, none where it is missing or empty."""
    value = header.get(keyword)
    if value is None or value == "":
        return ()
    return [value] if isinstance(value, str | int | float) else list(value)


def number(header: Dataset, keyword: str) -> float | None:
    """An element's number, None where it is missing or empty.

    Raises:
        VoxelError: it is no number.
    """
    written = text(header, keyword)
    try:
        return float(written) if written else None
    except ValueError:
        raise VoxelError(f"{keyword} is no number", mend="mend the header") from None


def listed(others: dict[str, list[Path]]) -> list[str]:
    """A sentence a kind of file that is neither a slice nor labels."""
    return [f"not imported: {counted(len(paths), 'file')} ({kind}), e.g. {paths[0]}" for kind, paths in others.items()]
