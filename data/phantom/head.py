"""Skull, brain, face and neck."""

from __future__ import annotations

import numpy as np

from umd_engine.data.phantom.shapes import Ellipsoid, Loft, Shape, Tube
from umd_engine.data.phantom.subject import Person

SOFT = ("MUSCLE", "FAT")
SKULL = (
    (762, 0, -30, 40, 28, 42),
    (772, 0, -14, 58, 62, 66),
    (790, 0, -2, 66, 80, 84),
    (815, 0, 0, 70, 86, 89),
    (845, 0, -2, 71.5, 87, 90),
    (878, 0, -3, 64, 76, 81),
    (898, 0, -5, 48, 58, 64),
    (911, 0, -7, 24, 30, 36),
    (915, 0, -7, 8, 10, 12),
)


def head(person: Person) -> list[Shape]:
    """Bone and air of head and neck, then the brain."""
    face: list[Shape] = [
        Ellipsoid("BONE", SOFT, (0, 52, 742), (40, 26, 28)),
        Ellipsoid("MUSCLE", ("BONE",), (0, 48, 740), (37, 24, 26)),
        *(Ellipsoid("BONE", SOFT, (s * 46, 46, 762), (16, 20, 7), (0, 0, s * 20)) for s in (-1, 1)),
        Tube("BONE", SOFT, [(-50, -2, 758, 6), (-49, 8, 722, 6.5), (-40, 34, 704, 6.5), (-18, 64, 696, 7),
                            (0, 71, 695, 7.5), (18, 64, 696, 7), (40, 34, 704, 6.5), (49, 8, 722, 6.5),
                            (50, -2, 758, 6)]),
        *(Tube("TEETH", (), [(-30, 40, z, 3.6), (-20, 60, z, 3.6), (0, 68, z, 3.6), (20, 60, z, 3.6), (30, 40, z, 3.6)])
          for z in (709, 719)),
        *(Ellipsoid("AIRWAY", (), (s * 23, 50, 747), (12, 15, 13)) for s in (-1, 1)),
        *(Ellipsoid("AIRWAY", (), (s * 7, 52, 756), (4, 28, 16)) for s in (-1, 1)),
        Ellipsoid("AIRWAY", (), (0, 82, 794), (18, 6, 10)),
        Ellipsoid("AIRWAY", (), (0, 30, 768), (9, 12, 8)),
        Tube("AIRWAY", (), [(0, 26, 752, 8), (0, 12, 728, 7), (0, 8, 700, 7), (0, 16, 672, 6.5)]),
    ]  # fmt: skip
    eyes: list[Shape] = []
    for s in (-1, 1):
        eyes += [
            Ellipsoid("FAT", (), (s * 31, 62, 781), (17, 24, 15)),
            Ellipsoid("EYE", ("FAT", "MUSCLE", "BONE"), (s * 31, 76, 781), (12, 12, 12)),
            Tube("MUSCLE", ("FAT",), [(s * 30, 66, 781, 4), (s * 18, 38, 780, 3)]),
        ]
    neck: list[Shape] = [
        *(Tube("VESSEL", SOFT, [(s * 24, -2, 630, 3.5), (s * 27, 0, 690, 3.5), (s * 26, -4, 745, 3)]) for s in (-1, 1)),
        *(Tube("VEIN", SOFT, [(s * 32, -4, 625, 5.5), (s * 36, -4, 690, 5), (s * 34, -10, 745, 4)]) for s in (-1, 1)),
        *(Ellipsoid("THYROID", SOFT, (s * 17, 20, 652), (8, 9, 20)) for s in (-1, 1)),
        Ellipsoid("CARTILAGE", SOFT, (0, 24, 676), (17, 15, 17)),
        Ellipsoid("AIRWAY", ("CARTILAGE", "MUSCLE"), (0, 20, 676), (9, 10, 22)),
    ]
    skull: list[Shape] = [
        Loft("BONE", (*SOFT, "AIRWAY"), SKULL, exponent=2.2),
        Loft("MARROW", ("BONE",), [row for row in SKULL if row[0] > 780], exponent=2.2, grow=-2.2),
        Loft("BONE", ("MARROW",), [row for row in SKULL if row[0] > 775], exponent=2.2, grow=-4.2),
        *(Ellipsoid("BONE", SOFT, (s * 46, -18, 768), (16, 26, 12), (0, 0, s * 40)) for s in (-1, 1)),
        *(Ellipsoid("AIRWAY", ("BONE", "MUSCLE"), (s * 56, -26, 764), (6, 9, 10)) for s in (-1, 1)),
        Loft("CSF", ("BONE", "MARROW"), [(z + 3, *rest) for z, *rest in SKULL], exponent=2.2, grow=-6.2),
    ]
    return [*neck, *face, *skull, *eyes, *brain(person)]


def brain(person: Person) -> list[Shape]:
    """Grey matter around white, with folds; ventricles, deep nuclei, cerebellum, brainstem."""
    inside = ("CSF",)
    place, size = person.place, person.size
    middle = np.asarray(place("brain", (0, -3, 842)))
    x, y, z = (float(v) for v in middle)
    shapes: list[Shape] = [
        Ellipsoid("GREY_MATTER", inside, (x, y, z), size("brain", (61.5, 78, 59))),
        *(Ellipsoid("GREY_MATTER", inside, (x + s * 36, y + 14, z - 46), size("brain", (27, 46, 24))) for s in (-1, 1)),
        *(Ellipsoid("GREY_MATTER", inside, (x + s * 22, y - 48, z - 56), size("brain", (30, 32, 24))) for s in (-1, 1)),
        *_white_matter(person, middle),
        Ellipsoid("CSF", ("GREY_MATTER", "WHITE_MATTER"), (x, y, z + 46), (1.4, 74, 30)),
    ]
    for s in (-1, 1):
        shapes += [
            Ellipsoid("GREY_MATTER", ("WHITE_MATTER",), (x + s * 25, y + 4, z - 6), (9, 17, 11)),
            Ellipsoid("GREY_MATTER", ("WHITE_MATTER",), (x + s * 10, y - 8, z - 2), (8, 13, 9)),
            Tube(
                "VENTRICLE",
                (),
                [(x + s * 9, y + 34, z + 6, 4), (x + s * 10, y + 6, z + 16, 5.5), (x + s * 18, y - 34, z + 6, 6)],
            ),
            Ellipsoid("WHITE_MATTER", ("GREY_MATTER",), (x + s * 20, y - 46, z - 56), (15, 14, 10)),
        ]
    shapes.append(Tube("WHITE_MATTER", ("CSF", "GREY_MATTER", "BONE", "MARROW"),
                       [(x, y - 8, z - 28, 13), (x, y - 16, z - 52, 14), (x, y - 20, z - 74, 8)]))  # fmt: skip
    return shapes


def _white_matter(person: Person, middle: np.ndarray) -> list[Shape]:
    """A core, and fingers of it that reach between the folds of the cortex."""
    x, y, z = (float(v) for v in middle)
    core = person.size("brain", (44.5, 60, 41))
    shapes: list[Shape] = [
        Ellipsoid("WHITE_MATTER", ("GREY_MATTER",), (x + s * 24, y, z + 2), (core[0] * 0.47, core[1], core[2]))
        for s in (-1, 1)
    ]
    shapes.append(Ellipsoid("WHITE_MATTER", ("GREY_MATTER",), (x, y, z + 8), (30, 34, 12)))
    # directions spread evenly over the sphere (a Fibonacci lattice), turned by chance
    count = 150
    turn = person.stream("brain").uniform(0, 2 * np.pi)
    for i in range(count):
        up = 1 - 2 * (i + 0.5) / count
        angle = turn + np.pi * (1 + 5**0.5) * i
        flat = np.sqrt(1 - up * up)
        way = np.array([flat * np.cos(angle), flat * np.sin(angle), up])
        if up < -0.75 or abs(way[0]) < 0.12:
            continue
        start, end = way * np.array(core) * (0.8, 0.85, 0.85), way * np.array([57, 73, 56])
        shapes.append(Tube("WHITE_MATTER", ("GREY_MATTER",), [(*(middle + start), 3.6), (*(middle + end), 2.2)]))
    return shapes
