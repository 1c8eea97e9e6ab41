"""The skeleton: cortical bone around marrow, discs, cartilage, and the spinal cord in its canal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from umd_engine.data.phantom.body import CAVITY, arm
from umd_engine.data.phantom.shapes import Ellipsoid, Loft, Point, Shape, Tube
from umd_engine.data.phantom.subject import Person

SOFT = ("MUSCLE", "FAT", "CAVITY")
CORTEX = 1.8  # mm

# z, y of the middle of the vertebral bodies, half width, half depth
SPINE = (
    (45, -62, 8, 6),
    (80, -84, 22, 10),
    (130, -88, 26, 14),
    (180, -62, 27, 18),
    (205, -44, 27, 18),
    (240, -32, 26, 18),
    (275, -28, 25, 17.5),
    (310, -32, 24, 17),
    (345, -41, 23, 16.5),
    (400, -58, 20, 15.5),
    (468, -70, 17, 14.5),
    (540, -70, 15.5, 13),
    (600, -58, 14.5, 11),
    (640, -42, 13.5, 10),
    (690, -26, 12, 9),
    (750, -20, 12, 9),
)
_SPINE = PchipInterpolator([row[0] for row in SPINE], [row[1:] for row in SPINE])


@dataclass(frozen=True)
class Vertebra:
    """Middle and height of a vertebral body with its disc, mm."""

    name: str
    z: float
    height: float


def vertebrae() -> list[Vertebra]:
    """From L5 up to C1."""
    names = (
        [f"L{n}" for n in range(5, 0, -1)] + [f"T{n}" for n in range(12, 0, -1)] + [f"C{n}" for n in range(7, 0, -1)]
    )
    heights = [35.0] * 5 + list(np.linspace(26.5, 19.5, 12)) + [16.5] * 7
    tops = 188 + np.cumsum(heights)
    return [Vertebra(n, float(top - h / 2), float(h)) for n, top, h in zip(names, tops, heights, strict=True)]


def spine_at(z: float) -> tuple[float, float, float]:
    """y, half width and half depth (mm) of the vertebral bodies at height z."""
    y, width, depth = _SPINE(z)
    return float(y), float(width), float(depth)


def front_of_spine(z: float) -> float:
    """y of the front of the vertebral bodies."""
    y, _, depth = spine_at(z)
    return y + depth


def bony_tube(
    points: Sequence[Sequence[float]],
    over: tuple[str, ...] = SOFT,
    cortex: float = CORTEX,
    marrow: str = "MARROW",
) -> list[Shape]:
    """A tube of cortical bone with marrow inside."""
    thin = [(*point[:3], point[3] - cortex) for point in points]
    return [Tube("BONE", over, points), Tube(marrow, ("BONE",), thin)]


def bony_ellipsoid(
    centre: Point, semi: Point, turn: Point = (0.0, 0.0, 0.0), over: tuple[str, ...] = SOFT, cortex: float = CORTEX
) -> list[Shape]:
    """An ellipsoid of cortical bone with marrow inside."""
    a, b, c = (max(half - cortex, 0.6) for half in semi)
    return [Ellipsoid("BONE", over, centre, semi, turn), Ellipsoid("MARROW", ("BONE",), centre, (a, b, c), turn)]


def skeleton(person: Person) -> list[Shape]:
    """All bones, from the skull's base down."""
    return [*spine(), *pelvis(), *ribs(), *shoulders(person)]


def spine() -> list[Shape]:
    """Vertebrae with arches and processes, discs between, the canal with the cord."""
    found = vertebrae()
    arches: list[Shape] = []
    bodies: list[Shape] = []
    for v in found:
        y, width, depth = spine_at(v.z)
        canal = y - depth - 8
        neck = v.name.startswith("C")
        low, high = v.z - 0.34 * v.height, v.z + 0.34 * v.height
        arches.append(Loft("BONE", SOFT, [(low, 0, canal, 13, 10, 12), (high, 0, canal, 13, 10, 12)]))
        drop = 14 if v.name.startswith("T") else 6
        reach = {"C": 16, "T": 20, "L": 27}[v.name[0]]
        arches += bony_tube([(0, canal - 10, v.z, 4.5), (0, canal - 10 - reach, v.z - drop, 4.5)], cortex=1.2)
        for s in (-1, 1):
            tip = (s * (14 + (8 if neck else 20)), canal - (0 if neck else 6), v.z + 2, 4.5)
            arches += bony_tube([(s * 11, canal + 2, v.z, 5), tip], cortex=1.2)
        edge, waist = (0.41 * v.height, 0.93)
        for tissue, over, grow in (("BONE", (*SOFT, "DISC"), 0.0), ("MARROW", ("BONE",), -CORTEX)):
            sections = [
                (v.z - edge - grow * 0.8, 0, y, width, depth, depth),
                (v.z, 0, y, width * waist, depth * waist, depth * waist),
                (v.z + edge + grow * 0.8, 0, y, width, depth, depth),
            ]
            bodies.append(Loft(tissue, over, sections, exponent=2.4, grow=grow))
    discs = [(z, 0, *_disc(z)) for z in np.arange(188.0, found[-1].z, 8.0)]
    bottom, top = 150.0, 772.0
    canal_at = [(z, 0, spine_at(z)[0] - spine_at(z)[2] - 8, 9, 8, 8) for z in np.arange(bottom, top, 12.0)]
    cord = [(0, y, z, 5.0) for z, _, y, *_ in canal_at if z > 330]
    return [
        Loft("DISC", SOFT, discs, exponent=2.3),
        *arches,
        *bodies,
        Loft("CSF", (*SOFT, "BONE", "MARROW", "DISC"), canal_at, exponent=2.0),
        Tube("CORD", ("CSF",), cord),
    ]


def _disc(z: float) -> tuple[float, float, float, float]:
    y, width, depth = spine_at(z)
    return y, width * 0.95, depth * 0.95, depth * 0.95


def ribs() -> list[Shape]:
    """Twelve pairs that leave the spine, sink towards the front and end in cartilage; the sternum."""
    cage = Loft("BONE", SOFT, CAVITY, exponent=2.3, grow=7.0)
    thoracic = [v for v in vertebrae() if v.name.startswith("T")][::-1]  # T1 first
    shapes: list[Shape] = []
    for number, v in enumerate(thoracic, start=1):
        drop = (28, 52, 72, 86, 96, 104, 108, 106, 98, 86, 62, 44)[number - 1]
        end = 148 if number <= 7 else (140, 132, 122, 84, 56)[number - 8]
        for s in (-1, 1):
            path = [_on_cage(cage, v, s, angle, drop) for angle in np.linspace(13, end, 14)]
            shapes += bony_tube([(*point, 5.2) for point in path], over=(*SOFT, "LUNG"), cortex=1.5)
            if number <= 10:
                tip = 168 if number <= 7 else end + 22
                bar = [
                    _on_cage(cage, v, s, angle, drop - 14 * (angle - end) / 30) for angle in np.linspace(end, tip, 5)
                ]
                shapes.append(Tube("CARTILAGE", SOFT, [(*point, 5.5) for point in bar]))
    breastbone = [
        (z, 0, cage.at(z)[1] + cage.at(z)[3] + 2, w, 6, 6) for z, w in ((448, 11), (470, 18), (560, 17), (604, 26))
    ]
    inner = [(z, x, y, w - 2, f - 2, b - 2) for z, x, y, w, f, b in breastbone]
    shapes += [Loft("BONE", SOFT, breastbone, exponent=2.6), Loft("MARROW", ("BONE",), inner, exponent=2.6)]
    return shapes


def _on_cage(cage: Loft, v: Vertebra, side: int, angle: float, drop: float) -> tuple[float, float, float]:
    """The point of a rib at an angle (degrees, 0 behind, 180 in front)."""
    turn = math.radians(angle)
    z = v.z + 4 - drop * (1 - math.cos(turn)) / 2
    x, y, width, front, back = cage.at(max(z, 300.0))
    across, along = math.sin(turn), -math.cos(turn)
    n = 2 / cage.exponent
    depth = front if along > 0 else back
    return float(x + side * width * across**n), float(y + depth * math.copysign(abs(along) ** n, along)), z


def shoulders(person: Person) -> list[Shape]:
    """Clavicles, shoulder blades, upper arms and what of the forearms is seen."""
    shapes: list[Shape] = []
    for s in (-1, 1):
        path = [(s * 16, 44, 607, 6), (s * 60, 48, 616, 5.5), (s * 105, 16, 622, 5.5), (s * 142, -12, 618, 6.5)]
        shapes += bony_tube(path)
        blade_turn = (0.0, s * 6.0, -s * 24.0)
        shapes += bony_ellipsoid((s * 98, -100, 548), (44, 4.2, 62), blade_turn, cortex=1.6)
        shapes += bony_tube([(s * 58, -112, 585, 5), (s * 105, -96, 600, 6), (s * 140, -40, 612, 7)])
        joint, *rest = arm(person, s)
        shapes += bony_ellipsoid((joint[0], joint[1], joint[2]), (24, 24, 24), over=())
        shaft = [
            (joint[0], joint[1], joint[2], 13),
            *((x, y, z, 10.5 if i < 3 else 9) for i, (x, y, z, _) in enumerate(rest)),
        ]
        shapes += bony_tube(shaft, marrow="YELLOW_MARROW", cortex=4.0)
    return shapes


def pelvis() -> list[Shape]:
    """Sacrum, hip bones, femora."""
    sacrum = [
        (48, 0, -64, 9, 6, 6), (80, 0, -84, 26, 9, 10), (120, 0, -88, 42, 13, 14), (165, 0, -70, 52, 18, 20),
        (196, 0, -52, 50, 18, 22),
    ]  # fmt: skip
    inner = [(z, x, y, w - CORTEX, f - CORTEX, b - CORTEX) for z, x, y, w, f, b in sacrum]
    shapes: list[Shape] = [Loft("BONE", SOFT, sacrum, exponent=2.2), Loft("MARROW", ("BONE",), inner, exponent=2.2)]
    for s in (-1, 1):
        shapes += [
            *bony_ellipsoid((s * 104, -22, 168), (8, 56, 66), (0.0, s * 22.0, -s * 34.0)),
            *bony_ellipsoid((s * 62, -62, 165), (9, 22, 40), (0.0, s * 8.0, -s * 40.0)),
            *bony_ellipsoid((s * 86, -4, 84), (30, 34, 36)),
            *bony_tube([(s * 84, -24, 66, 16), (s * 70, -44, 24, 15), (s * 58, -40, 4, 11)]),
            *bony_tube([(s * 82, 26, 84, 10), (s * 50, 56, 74, 8), (s * 12, 70, 58, 10)]),
            *bony_tube([(s * 12, 68, 46, 8), (s * 36, 26, 20, 6.5), (s * 58, -30, 8, 7)]),
            Ellipsoid("CARTILAGE", ("BONE", "MARROW"), (s * 90, 0, 80), (26.5, 26.5, 26.5)),
            *bony_ellipsoid((s * 90, 0, 80), (24.5, 24.5, 24.5), over=()),
            *bony_tube([(s * 92, 0, 78, 17), (s * 118, -6, 62, 15), (s * 138, -10, 44, 19)],
                       over=(*SOFT, "CARTILAGE", "BONE")),
            *bony_tube([(s * 138, -12, 60, 17), (s * 136, -8, 10, 17), (s * 118, 2, -60, 14), (s * 98, 6, -300, 13.5)],
                       marrow="YELLOW_MARROW", cortex=5.0),
        ]  # fmt: skip
    shapes.append(Ellipsoid("CARTILAGE", SOFT, (0, 70, 54), (5, 8, 18)))
    return shapes
