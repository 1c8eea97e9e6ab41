"""One made-up person: sex, size, posture, and where and how large each organ is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from umd_engine.data.phantom.shapes import Point

# An organ that surgery may have taken.
REMOVABLE = ("spleen", "kidney_left", "kidney_right")
REMOVED = 0.12  # of subjects lack one of them
BLADDER = {"empty": 0.4, "normal": 1.0, "full": 1.7}  # of the reference's volume
REFERENCE_HEIGHT = 1.76  # m, what the shapes are drawn for
# Each random part of a phantom draws from a stream of its own, so that changing one changes no other.
STREAMS: dict[str, tuple[int, ...]] = {
    "posture": (0,),  # NumPy pads keys with zeros: the stream that drew the person, from its start
    "brain": (1,),
    "lung vessels": (2,),
    "colon": (3,),
    "bowel": (4,),
    "lesions": (5,),
    "table": (6,),
    "ct signal": (10, 0),
    "ct noise": (10, 1),
    "pet signal": (11, 0),
    "pet noise": (11, 1),
    "mr signal": (12, 0),
    "mr noise": (12, 1),
}


@dataclass(frozen=True, eq=False)
class Person:
    """Traits of one subject; every one is drawn from the subject's own random stream.

    Attributes:
        scale: of the reference body along x, y, z.
        fat: mm under the skin of the belly; elsewhere a share of it.
        arms_up: beside the head, as for most whole-body scans; else beside the body.
        absent: organs that were removed.
        bladder: how full: a key of BLADDER.
        contrast: of the CT, 0 for none to 1 for a portal venous phase.
        sizes, shifts: of each organ: volume ratio and displacement in mm.
        key: of the random streams of the subject.
    """

    key: tuple[int, ...]
    sex: str
    age: int
    scale: Point
    fat: float
    arms_up: bool
    bladder: str
    contrast: float
    absent: frozenset[str]
    sizes: dict[str, float] = field(repr=False)
    shifts: dict[str, np.ndarray] = field(repr=False)

    @property
    def body_scale(self) -> float:
        """Volume of the body against the reference's."""
        return float(np.prod(self.scale))

    def stream(self, what: str, *index: int) -> np.random.Generator:
        """A random stream of this subject, for one of STREAMS; the same names and numbers give the same draws."""
        return _generator((*self.key, *STREAMS[what], *index))

    def place(self, organ: str, point: Sequence[float]) -> Point:
        x, y, z = (float(a + b) for a, b in zip(point, self.shifts[organ], strict=True))
        return x, y, z

    def size(self, organ: str, semi: Sequence[float]) -> Point:
        x, y, z = (float(a * self.sizes[organ] ** (1 / 3)) for a in semi)
        return x, y, z

    def path(self, organ: str, points: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
        """A tube's points, moved and widened: its volume goes with the square of its radius."""
        widened = self.sizes[organ] ** 0.5
        return [(*self.place(organ, point[:3]), point[3] * widened) for point in points]


# SD of an organ's displacement along x, y, z in mm.
_SHIFT = {
    "liver": (3, 2, 5),
    "kidney_left": (4, 3, 9),
    "kidney_right": (4, 3, 9),
    "brain": (0, 1, 1),
    "heart": (4, 3, 5),
    "spleen": (3, 4, 6),
    "aorta": (2, 1, 3),
    "lung": (0, 0, 5),
    "colon": (4, 3, 7),
    "urinary_bladder": (3, 2, 2),
    "pancreas": (4, 3, 6),
    "esophagus": (1.5, 1, 2),
    "stomach": (5, 4, 6),
}
_SIZE_SD = 0.075


def draw_person(key: tuple[int, ...]) -> Person:
    """The person of a key."""
    rng = _generator(key)
    sex = "F" if rng.random() < 0.5 else "M"
    height = rng.normal(1.64, 0.06) if sex == "F" else rng.normal(1.76, 0.065)
    tall = float(np.clip(height, 1.50, 1.92)) / REFERENCE_HEIGHT
    broad = tall**0.6 * rng.normal(1.0, 0.035)
    deep = tall**0.4 * rng.normal(1.0, 0.045)
    shifts = {name: np.clip(rng.normal(size=3), -2, 2) * sd for name, sd in _SHIFT.items()}
    sizes = {name: float(np.exp(np.clip(rng.normal(), -1.7, 1.7) * _SIZE_SD)) for name in _SHIFT}
    absent = {str(rng.choice(REMOVABLE))} if rng.random() < REMOVED else set()
    return Person(
        key=key,
        sex=sex,
        age=int(rng.integers(28, 85)),
        scale=(float(broad), float(deep), tall),
        fat=float(np.clip(rng.lognormal(np.log(20), 0.35), 9, 38)),
        arms_up=bool(rng.random() < 0.7),
        bladder=str(rng.choice(list(BLADDER), p=(0.25, 0.5, 0.25))),
        contrast=float(rng.uniform(0.7, 1.0)) if rng.random() < 0.4 else 0.0,
        absent=frozenset(absent),
        sizes=sizes,
        shifts=shifts,
    )


def _generator(key: tuple[int, ...]) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
