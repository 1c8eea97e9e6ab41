"""Outline, fat, muscle and the body's cavity; arms and legs."""

from __future__ import annotations

import numpy as np

from umd_engine.data.phantom.shapes import Ellipsoid, Loft, Shape, Tube
from umd_engine.data.phantom.subject import Person

SKIN = 2.0  # mm

# z, x, y, half width, front, back of the muscles' outline, mm; z = 0 is the perineum, 920 the vertex
TORSO = (
    (-52, 0, -8, 10, 8, 14),
    (-30, 0, -8, 60, 40, 60),
    (0, 0, -8, 135, 72, 96),
    (60, 0, -6, 160, 88, 108),
    (120, 0, -4, 160, 96, 110),
    (200, 0, 0, 146, 98, 98),
    (280, 0, 0, 138, 99, 96),
    (360, 0, 0, 145, 104, 104),
    (450, 0, 0, 152, 109, 114),
    (530, 0, 0, 160, 106, 122),
    (580, 0, -4, 158, 92, 116),
    (612, 0, -10, 128, 66, 96),
    (635, 0, -14, 84, 54, 74),
    (660, 0, -12, 59, 52, 58),
    (700, 0, -8, 53, 52, 54),
    (740, 0, -8, 50, 50, 56),
)
HEAD = (
    (684, 0, 34, 26, 30, 30),
    (696, 0, 22, 48, 60, 50),
    (715, 0, 12, 60, 76, 66),
    (745, 0, 6, 66, 84, 80),
    (775, 0, 4, 70, 86, 90),
    (810, 0, 2, 75, 92, 95),
    (845, 0, 0, 77, 94, 96),
    (880, 0, -2, 69, 82, 87),
    (902, 0, -4, 52, 62, 68),
    (916, 0, -6, 28, 34, 40),
    (921, 0, -6, 8, 10, 12),
)
# the space inside the ribs and the belly's wall
CAVITY = (
    (22, 0, -4, 34, 28, 34),
    (40, 0, -2, 58, 48, 48),
    (75, 0, 0, 78, 64, 60),
    (120, 0, 2, 92, 78, 68),
    (190, 0, 4, 117, 86, 62),
    (240, 0, 5, 121, 88, 60),
    (300, 0, 5, 123, 91, 68),
    (360, 0, 4, 130, 94, 82),
    (420, 0, 2, 134, 96, 93),
    (480, 0, 0, 134, 93, 97),
    (540, 0, -2, 123, 82, 93),
    (585, 0, -6, 97, 62, 80),
    (615, 0, -12, 66, 42, 58),
    (636, 0, -20, 36, 22, 32),
    (646, 0, -24, 12, 8, 10),
)


def outline(person: Person) -> list[Shape]:
    """Skin, fat and muscle of the whole body, and its cavity filled with visceral fat."""
    layers: list[tuple[str, tuple[str, ...], float]] = [
        ("SKIN", ("AIR",), SKIN),
        ("FAT", ("AIR", "SKIN"), 0.0),
    ]
    shapes: list[Shape] = []
    for tissue, over, grow in layers:
        shapes += [
            Loft(tissue, over, _fattened(TORSO, person).tolist(), exponent=2.4, grow=grow),
            Loft(tissue, over, HEAD, exponent=2.2, grow=grow - SKIN),
            *_limbs(person, tissue, over, grow + 0.45 * person.fat),
            *_breasts(person, tissue, over, grow),
        ]
    muscle = ("SKIN", "FAT")
    shapes += [
        Loft("MUSCLE", muscle, TORSO, exponent=2.5),
        Loft("MUSCLE", muscle, HEAD, exponent=2.2, grow=-3 - 0.08 * person.fat),
        *_limbs(person, "MUSCLE", muscle, 0.0),
        *_fat_planes(),
        Loft("CAVITY", ("MUSCLE", "FAT"), CAVITY, exponent=2.3),
    ]
    if person.sex == "F":
        shapes += [Ellipsoid("GLAND", ("FAT",), (side * 72, 118, 497), (34, 22, 32)) for side in (-1, 1)]
    return shapes


def _fattened(sections: tuple[tuple[float, ...], ...], person: Person) -> np.ndarray:
    """Fat is thickest over belly and hips and thin over chest and neck."""
    table = np.asarray(sections, float)
    z = table[:, 0]
    belly = np.interp(z, (-30, 60, 160, 300, 420, 600, 660, 740), (0.9, 1, 1, 1, 0.6, 0.4, 0.2, 0.15))
    hips = np.interp(z, (-30, 80, 200, 330, 660), (0.9, 1.35 if person.sex == "F" else 0.9, 1, 0.8, 0.2))
    back = np.interp(z, (-30, 60, 180, 300, 660), (0.9, 1.1, 0.9, 0.6, 0.2))
    table[:, 3] += person.fat * hips
    table[:, 4] += person.fat * belly
    table[:, 5] += person.fat * back
    return table


def _limbs(person: Person, tissue: str, over: tuple[str, ...], grow: float) -> list[Shape]:
    thighs = [
        Tube(tissue, over, grow=grow * 1.3,
             points=[(s * 92, 4, -300, 58), (s * 90, -2, -110, 76), (s * 88, -8, -10, 82), (s * 86, -10, 40, 78)])
        for s in (-1, 1)
    ]  # fmt: skip
    semi = (56 + 0.4 * grow, 62 + 0.4 * grow, 66 + 0.4 * grow)
    blades = [Ellipsoid(tissue, over, (s * 108, -62, 575), semi, (0, 0, -s * 20)) for s in (-1, 1)]
    nose = [Ellipsoid(tissue, over, (0, 86, 755), (11, 14, 22), (-18, 0, 0))] if tissue != "FAT" else []
    return [*thighs, *blades, *nose, *(Tube(tissue, over, arm(person, s), grow=grow * 0.6) for s in (-1, 1))]


def arm(person: Person, side: int) -> list[tuple[float, float, float, float]]:
    """Points and radii (mm, of the muscles) along an arm, from the shoulder."""
    if person.arms_up:
        path = [(146, -14, 598, 44), (170, 0, 650, 44), (182, 20, 760, 39), (186, 38, 860, 36), (160, 58, 935, 34)]
    else:
        path = [(148, -16, 592, 46), (176, -22, 540, 40), (196, -26, 420, 37), (206, -20, 300, 34)]
        path += [(206, 4, 180, 30), (200, 28, 70, 23), (192, 38, 10, 24), (186, 40, -50, 16)]
    return [(side * x, y, z, radius) for x, y, z, radius in path]


def _breasts(person: Person, tissue: str, over: tuple[str, ...], grow: float) -> list[Shape]:
    if person.sex != "F":
        return []
    semi = (56 + grow, 44 + grow, 52 + grow)
    return [Ellipsoid(tissue, over, (side * 74, 100, 497), semi) for side in (-1, 1)]


def _fat_planes() -> list[Shape]:
    """Fat between the muscles of back, buttocks and thighs."""
    shapes: list[Shape] = []
    for s in (-1, 1):
        shapes += [
            Ellipsoid("FAT", ("MUSCLE",), (s * 78, -66, 270), (4, 26, 90), (0, 0, s * 28)),
            Ellipsoid("FAT", ("MUSCLE",), (s * 92, -62, 110), (60, 4, 70), (12, 0, -s * 24)),
            Ellipsoid("FAT", ("MUSCLE",), (s * 88, 12, -80), (3, 58, 100), (0, 0, s * 35)),
            Ellipsoid("FAT", ("MUSCLE",), (s * 96, -14, -80), (46, 3, 100), (0, 0, s * 20)),
            Ellipsoid("FAT", ("MUSCLE",), (s * 100, -104, 520), (52, 3, 60), (0, 0, -s * 24)),
            Tube("FAT", ("MUSCLE",), [(s * 26, 24, 650, 12), (s * 26, 20, 720, 9)]),
        ]
    return shapes
