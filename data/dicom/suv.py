"""The SUV by body weight of a PET from its headers.

The rules are those of QIBA (RSNA), FDG-PET/CT profile, "vendor-neutral pseudo-code for SUV calculation": SUVbw =
Bq/mL * weight in g / dose in Bq, the dose decayed to the time that the image's activity is of. What it leaves open
(DecayCorrection ADMIN and NONE) follows from the attributes' definitions in DICOM PS3.3 C.8.9.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from umd_engine.data.dicom.files import Dataset, number, text, values
from umd_engine.errors import VoxelError

PHILIPS = "Philips PET Private Group"
PHILIPS_SUV, PHILIPS_ACTIVITY = 0x00, 0x09
GE, GE_SCAN_TIME = "GEMS_PETD_01", 0x0D
HEAVIEST_KG = 700.0
LEAST_BQ = 1e5  # a dose below is one in MBq
MOST_HALF_LIVES = 10.0
DAY = timedelta(days=1)
TIME = re.compile(r"(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?")
MEND = "mend the header from the scanner's record, or import the PET as Bq/mL in another layout"


def suv_factors(headers: Sequence[Dataset], where: Path) -> np.ndarray:
    """What each slice's rescaled values are multiplied with to be SUV by body weight (g/mL).

    Args:
        headers: of all slices of a series.
        where: for messages.

    Returns:
        float64 [slices].

    Raises:
        VoxelError: no weight, dose, half-life or time; units or corrections that do not give it.
    """
    first = headers[0]
    try:
        units = text(first, "Units").upper()
        if units == "GML":
            _check_suv_type(first)
            return np.ones(len(headers))
        if units == "CNTS":
            return _of_counts(headers)
        if units != "BQML":
            raise VoxelError(f"Units is '{units}', not BQML, GML or CNTS" if units else "no Units")
        return _of_activity(headers)
    except VoxelError as error:
        raise VoxelError(f"no SUV: {error.fault}", where=where, mend=error.mend or MEND) from None


def _check_suv_type(header: Dataset) -> None:
    kind = text(header, "SUVType").upper()
    if kind not in ("", "BW"):
        raise VoxelError(f"SUVType is {kind}, not BW (body weight)")


def _of_counts(headers: Sequence[Dataset]) -> np.ndarray:
    """Philips: a private factor gives SUV, or another one Bq/mL."""
    suv = [_private(header, 0x7053, PHILIPS, PHILIPS_SUV) for header in headers]
    if all(suv):
        _check_suv_type(headers[0])
        return np.array(suv, np.float64)
    activity = [_private(header, 0x7053, PHILIPS, PHILIPS_ACTIVITY) for header in headers]
    if all(activity):
        return np.array(activity, np.float64) * _of_activity(headers)
    raise VoxelError("Units is CNTS, and Philips' private factors (7053,xx00) and (7053,xx09) are missing or 0")


def _of_activity(headers: Sequence[Dataset]) -> np.ndarray:
    """Of Bq/mL: weight / dose, the dose decayed to when each slice's activity is of."""
    first = headers[0]
    weight = number(first, "PatientWeight")
    if not weight or not 0 < weight <= HEAVIEST_KG:
        raise VoxelError("no PatientWeight" if not weight else f"PatientWeight is {weight:g}, which is no weight in kg")
    drug = (first.get("RadiopharmaceuticalInformationSequence") or [None])[0]
    if drug is None:
        raise VoxelError("no RadiopharmaceuticalInformationSequence")
    dose = number(drug, "RadionuclideTotalDose")
    if not dose or dose < LEAST_BQ:
        raise VoxelError(
            "no RadionuclideTotalDose" if not dose else f"RadionuclideTotalDose is {dose:g}, not a dose in Bq"
        )
    corrected = {str(value) for value in values(first, "CorrectedImage")}
    correction = text(first, "DecayCorrection").upper()
    if "ATTN" not in corrected:
        raise VoxelError("CorrectedImage lacks ATTN: not corrected for attenuation")
    if correction in ("START", "ADMIN") and "DECY" not in corrected:
        raise VoxelError(f"DecayCorrection is {correction}, but CorrectedImage lacks DECY")
    return weight * 1000 / (dose * _decay(headers, drug, correction))


def _decay(headers: Sequence[Dataset], drug: Dataset, correction: str) -> np.ndarray:
    """The share of the dose that is left at the time that each slice's activity is of."""
    if correction == "ADMIN":  # the image is corrected to the injection
        return np.ones(len(headers))
    if correction not in ("START", "NONE"):
        raise VoxelError(f"DecayCorrection is '{correction}', not START, ADMIN or NONE")
    half_life = number(drug, "RadionuclideHalfLife")
    if not half_life or half_life <= 0:
        raise VoxelError("no RadionuclideHalfLife")
    if correction == "START":
        times = [_series_start(headers, half_life)] * len(headers)
    else:
        times = [_acquired(header) + _mean_time(header, half_life) for header in headers]
    return np.array([0.5 ** (_uptake(time, drug, half_life) / half_life) for time in times])


def _series_start(headers: Sequence[Dataset], half_life: float) -> datetime:
    """What a START image is corrected to: the series' time, unless it was set by processing after the scan.

    Then GE writes the time into a private element; and of others, the frame's reference time counts from it.
    """
    acquired = min(_acquired(header) for header in headers)
    start = _when(headers[0], "SeriesDate", "SeriesTime")
    if start is not None and start <= acquired:
        return start
    if private := _private_text(headers[0], 0x0009, GE, GE_SCAN_TIME):
        return _parse(private[:8], private[8:])
    header = min(headers, key=_acquired)
    offset = number(header, "FrameReferenceTime")  # ms
    if offset is None or not number(header, "ActualFrameDuration"):
        raise VoxelError("the series' time is after the scan's, and nothing else tells what the decay is corrected to")
    return acquired + _mean_time(header, half_life) - timedelta(milliseconds=offset)


def _mean_time(header: Dataset, half_life: float) -> timedelta:
    """From a frame's begin to when its activity was the frame's mean."""
    duration = (number(header, "ActualFrameDuration") or 0) / 1000  # s
    if duration <= 0:
        raise VoxelError("no ActualFrameDuration")
    decay = math.log(2) / half_life
    return timedelta(seconds=math.log(decay * duration / -math.expm1(-decay * duration)) / decay)


def _uptake(time: datetime, drug: Dataset, half_life: float) -> float:
    """Seconds from the injection to `time`.

    A date and time that cannot be (dates that were shifted to hide the patient's) give way to the time alone, of
    `time`'s day or, past midnight, of the day before.
    """
    most = MOST_HALF_LIVES * half_life
    dated = text(drug, "RadiopharmaceuticalStartDateTime")
    if dated:
        seconds = (time - _parse(dated[:8], dated[8:])).total_seconds()
        if 0 <= seconds <= most:
            return seconds
    clock = text(drug, "RadiopharmaceuticalStartTime")
    if not clock:
        raise VoxelError("the injection is later than the scan or long before it" if dated else "no time of injection")
    injected = _parse(time.strftime("%Y%m%d"), clock)
    seconds = (time - (injected if injected <= time else injected - DAY)).total_seconds()
    if seconds > most or half_life > DAY.total_seconds() / 2:
        raise VoxelError("the time of injection has no date that fits, and the day is not certain")
    return seconds


def _acquired(header: Dataset) -> datetime:
    time = _when(header, "AcquisitionDate", "AcquisitionTime")
    if time is None:
        raise VoxelError("no AcquisitionDate and AcquisitionTime")
    return time


def _when(header: Dataset, date: str, time: str) -> datetime | None:
    day, clock = text(header, date), text(header, time)
    return _parse(day, clock) if day and clock else None


def _parse(date: str, time: str) -> datetime:
    """DICOM's YYYYMMDD and HHMMSS.FFFFFF; an offset from UTC is left away, as all times of a scan have the same."""
    match = TIME.match(time)
    try:
        day = datetime.strptime(date, "%Y%m%d")
    except ValueError:
        match = None
    if match is None:
        raise VoxelError("a date or time that is none")
    hours, minutes, seconds, fraction = (float(part or 0) for part in match.groups())
    return day + timedelta(hours=hours, minutes=minutes, seconds=seconds + fraction)


def _private(header: Dataset, group: int, creator: str, element: int) -> float | None:
    written = _private_text(header, group, creator, element)
    try:
        return float(written) if written else None
    except ValueError:
        raise VoxelError(f"a private factor ({group:04x},xx{element:02x}) that is no number") from None


def _private_text(header: Dataset, group: int, creator: str, element: int) -> str:
    try:
        value: Any = header.private_block(group, creator)[element].value
    except KeyError:
        return ""
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")
