"""What int8 ranges are measured on: windows of one modality, checked as they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from umd_engine.errors import CalibrationError

Window = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Windows as the unit takes them, with the batch axis.

    Attributes:
        windows: read once; input name -> array.
        modality: "ct", "pet" or "mr", of the scans they were cut from.
        source: where they come from, in words; for the artifact's record.
    """

    windows: Iterable[Window]
    modality: str
    source: str


def check_modality(found: str, stated: str | None, source: str) -> None:
    """Raises:
    CalibrationError: windows of another modality than the model is made for.
    """
    if stated is not None and found != stated:
        raise CalibrationError(
            f"the windows are {found}, the model is made for {stated}",
            where=source,
            mend=f"calibrate on {stated} scans",
        )


def digest_of(windows: Iterable[Window]) -> str:
    """SHA-256 of all names, types, shapes and values, in their order."""
    digest = hashlib.sha256()
    for window in windows:
        _add(digest, window)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, window: Window) -> None:
    for name, values in sorted(window.items()):
        digest.update(f"{name}:{values.dtype}:{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())


class CheckedWindows:
    """The windows of a calibration one by one; ONNX Runtime's quantizer asks for the next until there is none.

    Args:
        stated: the modality that the model is made for; None where nothing says it.

    Raises:
        CalibrationError: another modality at once; when it is read, an input that is not finite, or a
            constant first one: that is the image, and clicks or a mask may be constant.
    """

    def __init__(self, calibration: Calibration, stated: str | None):
        check_modality(calibration.modality, stated, calibration.source)
        self.calibration = calibration
        self.count = 0
        self._digest = hashlib.sha256()
        self._windows: Iterator[Window] = iter(calibration.windows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        window = next(self._windows, None)
        if window is None:
            return None
        for number, (name, values) in enumerate(window.items()):
            self._check(name, values, image=number == 0)
        _add(self._digest, window)
        self.count += 1
        return dict(window)

    def record(self) -> dict[str, Any]:
        """For the sidecar, once all windows were read."""
        return {
            "windows": self.count,
            "sha256": self._digest.hexdigest(),
            "modality": self.calibration.modality,
            "source": self.calibration.source,
        }

    def _check(self, name: str, values: np.ndarray, image: bool) -> None:
        if not np.issubdtype(values.dtype, np.floating):
            return
        fault = ""
        if not np.isfinite(values).all():
            fault = "is not finite"
        elif image and values.size > 1 and values.min() == values.max():
            fault = f"is constant, {values.flat[0]:g}"
        if fault:
            raise CalibrationError(
                f"{name} of window {self.count} {fault}",
                where=self.calibration.source,
                mend="leave out windows without a body in them",
            )
