"""Lungs above the diaphragm's domes, mediastinum, heart, aorta, airways, esophagus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umd_engine.data.phantom.body import CAVITY
from umd_engine.data.phantom.bones import front_of_spine
from umd_engine.data.phantom.shapes import Ellipsoid, Loft, Shape, Tube
from umd_engine.data.phantom.subject import Person

DOMES = (((64, -2, 352), (76, 97, 98)), ((-66, -4, 346), (73, 96, 92)), ((0, 26, 330), (108, 84, 102)))
MEDIASTINUM = (
    (400, -8, 8, 46, 88, 90), (470, -12, 6, 50, 88, 98), (505, -6, 4, 40, 86, 98), (545, 0, 0, 34, 80, 92),
    (580, 0, -6, 30, 64, 82), (615, 0, -14, 28, 50, 66), (650, 0, -20, 26, 36, 50),
)  # fmt: skip


def thorax(person: Person) -> list[Shape]:
    """Everything between the ribs, above the diaphragm; then the abdomen's cavity below it."""
    return [*lungs(person), *heart(person), *vessels(person), *airways(person), *esophagus(person)]


def lungs(person: Person) -> list[Shape]:
    dz = float(person.shifts["lung"][2])
    upper = [row for row in CAVITY if row[0] >= 420]
    low = Loft("LUNG", ("CAVITY",), CAVITY, exponent=2.3, grow=-1.5)
    at = [(368 + dz, *low.at(368 + dz)), (395, *low.at(395)), *((z, *low.at(z)) for z in (row[0] for row in upper))]
    shapes: list[Shape] = [
        Loft("LUNG", ("CAVITY",), at, exponent=2.3),
        Loft("CAVITY", ("LUNG",), MEDIASTINUM, exponent=1.7),
        *_lung_vessels(person),
    ]
    for tissue, over, grow in (
        ("DIAPHRAGM", ("LUNG", "LUNG_VESSEL"), 3.0),
        ("CAVITY", ("LUNG", "LUNG_VESSEL", "DIAPHRAGM"), 0.0),
    ):
        for (x, y, z), (a, b, c) in DOMES:
            shapes.append(Ellipsoid(tissue, over, (x, y, z + dz), (a + grow, b + grow, c + grow)))
    return shapes


def _lung_vessels(person: Person) -> list[Shape]:
    """Branches from each hilum outwards, thinner on their way."""
    rng = person.stream("lung vessels")
    shapes: list[Shape] = []
    for s in (-1, 1):
        hilum = np.array([s * 40, -20, 522.0])
        for _ in range(80):
            end = np.array([s * rng.uniform(50, 130), rng.uniform(-90, 88), rng.uniform(375, 640)])
            first = hilum + rng.normal(size=3) * 6
            middle = (first + end) / 2 + rng.normal(size=3) * 10
            radius = rng.uniform(2.4, 4.6)
            shapes.append(_branch(first, middle, end, radius))
            for _ in range(4):
                twig = middle + (end - first) * rng.uniform(0.2, 0.4) + rng.normal(size=3) * 18
                shapes.append(_branch(middle, (middle + twig) / 2 + rng.normal(size=3) * 3, twig, radius * 0.55))
    return shapes


def _branch(first: np.ndarray, middle: np.ndarray, end: np.ndarray, radius: float) -> Tube:
    points = [(*first, radius), (*middle, radius * 0.75), (*end, radius * 0.4)]
    return Tube("LUNG_VESSEL", ("LUNG",), points)


def heart(person: Person) -> list[Shape]:
    """Left ventricle with its thick wall, right ventricle, both atria; around them a layer of fat."""
    place, size = person.place, person.size
    turn = (-38.0, 0.0, 40.0)  # the long axis (y of the ellipsoids) points to the front, the left and down
    around = ("LUNG", "LUNG_VESSEL", "CAVITY", "DIAPHRAGM")
    inside = (*around, "HEART_WALL", "HEART_BLOOD")
    return [
        Ellipsoid("CAVITY", ("LUNG", "LUNG_VESSEL"), place("heart", (-16, 28, 474)), size("heart", (62, 70, 62)), turn),
        Ellipsoid("HEART_WALL", around, place("heart", (-16, 28, 474)), size("heart", (54, 64, 52)), turn),
        Ellipsoid("HEART_BLOOD", ("HEART_WALL",), place("heart", (-15, 29, 475)), size("heart", (50, 60, 48)), turn),
        Ellipsoid("HEART_BLOOD", around, place("heart", (36, 16, 486)), size("heart", (26, 30, 34))),
        Ellipsoid("HEART_BLOOD", around, place("heart", (4, -20, 502)), size("heart", (36, 20, 22))),
        Ellipsoid("MYOCARDIUM", inside, place("heart", (-34, 30, 468)), size("heart", (34, 50, 34)), turn),
        Ellipsoid("HEART_BLOOD", ("MYOCARDIUM",), place("heart", (-30, 25, 471)), size("heart", (22, 40, 22)), turn),
    ]


def aorta_path(person: Person) -> list[tuple[float, ...]]:
    """Root, arch and descending part in front of the spine, down to the bifurcation at L4."""
    root = [(8, 14, 500, 14.7), (16, 24, 530, 14.7), (14, 16, 562, 13.8), (2, -6, 578, 12.8), (-12, -30, 574, 12.4)]
    down = [
        (-20, 552, 11.9),
        (-21, 510, 11.6),
        (-18, 460, 11.4),
        (-13, 410, 11),
        (-8, 370, 10),
        (-5, 320, 9.3),
        (-3, 236, 8.8),
    ]
    points = [*root, *((x, front_of_spine(z) + (r + 2 if z < 400 else r - 6), z, r) for x, z, r in down)]
    return person.path("aorta", points)


def vessels(person: Person) -> list[Shape]:
    """Aorta with iliac arteries, caval veins, pulmonary trunk."""
    soft = ("CAVITY", "LUNG", "LUNG_VESSEL", "MUSCLE", "DIAPHRAGM")
    aorta = aorta_path(person)
    x, y, z, _ = aorta[-1]
    shapes: list[Shape] = [
        Tube("VESSEL", soft, [(-14, 42, 508, 13), (-20, 20, 532, 13), (-8, -4, 540, 11), (34, -14, 534, 8)]),
        Tube("VESSEL", soft, [(-20, 16, 532, 11), (-40, -16, 536, 8)]),
        Tube("VEIN", soft, [(24, 12, 505, 10), (24, 8, 560, 9.5), (14, 12, 600, 8), (-30, 22, 612, 6)]),
        Tube(
            "VEIN",
            soft,
            [(22, front_of_spine(h) + 9, h, 10) for h in (232, 290, 350, 400)] + [(28, 2, 440, 11), (32, 8, 468, 11)],
        ),
        Tube("VESSEL", soft, [(-4, 0, 585, 5), (-8, -2, 630, 4)]),
        Tube("VESSEL", soft, [(8, 4, 582, 6), (20, -2, 625, 4.5), (70, -6, 622, 4)]),
        Tube("AORTA", (*soft, "VESSEL", "HEART_BLOOD", "HEART_WALL"), aorta),
    ]
    for s in (-1, 1):
        lower = [(s * 34, y - 4, 200, 5.5), (s * 52, -14, 160, 5.5), (s * 66, 28, 110, 5), (s * 76, 58, 60, 5)]
        shapes.append(Tube("VESSEL", ("CAVITY", "MUSCLE"), [(x, y, z, 6), *lower]))
        shapes.append(
            Tube(
                "VEIN",
                ("CAVITY", "MUSCLE"),
                [(18, y - 8, z - 4, 7), *((a + s * 5, b - 9, c, 6) for a, b, c, _ in lower)],
            )
        )
    return shapes


def airways(person: Person) -> list[Shape]:
    """Trachea and main bronchi."""
    trachea = [(0, 15, 668, 8.5), (0, 2, 630, 8.5), (0, -12, 590, 8.5), (2, -20, 556, 8.5)]
    tubes: list[Sequence[Sequence[float]]] = [trachea]
    for s in (-1, 1):
        tubes.append([(2, -20, 556, 7.5), (s * 22, -24, 536, 7), (s * 44, -26, 518, 5.5), (s * 62, -34, 490, 3.5)])
        tubes.append([(s * 30, -24, 530, 5), (s * 48, -10, 546, 4), (s * 60, -2, 566, 3)])
    over = ("CAVITY", "MUSCLE", "FAT", "LUNG", "LUNG_VESSEL", "VESSEL")
    wall: list[Shape] = [Tube("CARTILAGE", over, points, grow=1.5) for points in tubes]
    return [*wall, *(Tube("AIRWAY", (*over, "CARTILAGE"), points, grow=-0.5) for points in tubes)]


def esophagus(person: Person) -> list[Shape]:
    """Behind the trachea, then behind the heart, to the left through the diaphragm."""
    points = [
        (-2, 2, 655, 7.3), (-4, -13, 622, 7.6), (-3, -29, 590, 7.4), (2, -40, 555, 7.3), (3, -46, 515, 7.3),
        (2, -45, 475, 7.3), (-8, -27, 446, 7.3), (-26, -20, 424, 7.7),
    ]  # fmt: skip
    over = ("CAVITY", "MUSCLE", "DIAPHRAGM", "LUNG", "LUNG_VESSEL", "CARTILAGE")
    return [Tube("ESOPHAGUS", over, person.path("esophagus", points))]
