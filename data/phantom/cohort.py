"""Subjects of a cohort, made one at a time."""

from __future__ import annotations

from dataclasses import dataclass

from umd_engine.data.manifest import Modality, Unit
from umd_engine.data.phantom.anatomy import anatomy
from umd_engine.data.phantom.scanner import acquire
from umd_engine.data.phantom.subject import Person, draw_person
from umd_engine.data.volume import Volume
from umd_engine.errors import OptionError, UnknownNameError

COHORTS: dict[str, tuple[Modality, ...]] = {"petct": ("ct", "pet"), "petmri": ("mr", "pet")}
SIZES = ("small", "full")
UNITS: dict[str, Unit] = {"ct": "HU", "pet": "SUV", "mr": "none"}


@dataclass(frozen=True, eq=False)
class PhantomScan:
    """One scan of a subject.

    Attributes:
        modality: ct, mr or pet. unit: HU, none or SUV.
        image: int16 (CT, MR) or float32 (PET).
        label: uint8, ids of the label set umd13, on the image's grid.
    """

    modality: Modality
    unit: Unit
    image: Volume
    label: Volume


@dataclass(frozen=True, eq=False)
class Subject:
    """A made-up person with one scan a modality of the cohort."""

    name: str
    person: Person
    scans: tuple[PhantomScan, ...]


def make_subject(cohort: str, number: int, seed: int, size: str = "small") -> Subject:
    """Subject `number` (from 0) of a cohort; the same arguments give the same voxels.

    Args:
        cohort: petct or petmri.
        size: small (CT 128 x 128 at 3.9 x 3.9 x 5 mm) or full (CT 512 x 512 at 0.98 x 0.98 x 3 mm).

    Raises:
        UnknownNameError: no such cohort or size. OptionError: a negative number or seed.
    """
    check_cohort(cohort, size, seed)
    if number < 0:
        raise OptionError(f"subject {number}", where="phantom", mend="count them from 0")
    person = draw_person((seed, list(COHORTS).index(cohort), number))
    shapes = anatomy(person)
    scans = []
    for modality in COHORTS[cohort]:
        image, label = acquire(person, shapes, modality, size)
        scans.append(PhantomScan(modality, UNITS[modality], image, label))
    return Subject(f"phantom-{cohort}-{number:04d}", person, tuple(scans))


def check_cohort(cohort: str, size: str, seed: int) -> None:
    """Raise UnknownNameError or OptionError unless such a cohort can be made."""
    if cohort not in COHORTS:
        raise UnknownNameError("phantom cohort", cohort, COHORTS)
    if size not in SIZES:
        raise UnknownNameError("phantom size", size, SIZES)
    if seed < 0:
        raise OptionError(f"the seed is {seed}", where="--seed", mend="use 0 or more")
