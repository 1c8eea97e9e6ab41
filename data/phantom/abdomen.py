"""The organs below the diaphragm."""

from __future__ import annotations

import numpy as np

from umd_engine.data.phantom.bones import front_of_spine, spine_at
from umd_engine.data.phantom.shapes import Ellipsoid, Shape, Tube
from umd_engine.data.phantom.subject import BLADDER, Person

INSIDE = ("CAVITY",)


def abdomen(person: Person) -> list[Shape]:
    """In the order of who gives way: a later organ takes only what is left of the cavity."""
    shapes = [*psoas(), *kidney(person, "left"), *kidney(person, "right"), *spleen(person), *pancreas(person)]
    shapes += [*liver(person), *stomach(person), *bladder(person), *colon(person), *pelvic_organ(person)]
    return [*shapes, *small_bowel(person)]


def psoas() -> list[Shape]:
    """The muscle on both sides of the lumbar spine, down to the thigh."""
    shapes: list[Shape] = []
    for s in (-1, 1):
        path = []
        for z, radius in ((350, 7), (310, 13), (270, 19), (220, 23), (170, 22)):
            y, width, _ = spine_at(z)
            path.append((s * (width + radius * 0.8), y - 2, z, radius))
        path += [(s * 76, 6, 128, 19), (s * 90, 34, 96, 15), (s * 104, 16, 40, 10)]
        shapes.append(Tube("MUSCLE", INSIDE, path))
    return shapes


def kidney(person: Person, side: str) -> list[Shape]:
    """A bean with cortex and medulla in one, urine in the pelvis and fat in the sinus."""
    organ, s = f"kidney_{side}", -1 if side == "left" else 1
    if organ in person.absent:
        return []
    parenchyma, urine = f"KIDNEY_{side.upper()}", f"PELVIS_{side.upper()}"
    height = 350 if side == "left" else 330
    turn = (14.0, -s * 10.0, s * 30.0)
    centre = person.place(organ, (s * 64, -40, height))
    x, y, z = centre
    return [
        Ellipsoid("CAVITY", ("MUSCLE",), centre, person.size(organ, (33, 30, 62)), turn, cuts=[(-s, 0, 0, -30)]),
        Ellipsoid(parenchyma, INSIDE, centre, person.size(organ, (27, 24.5, 57.5)), turn),
        Ellipsoid("SINUS_FAT", (parenchyma,), (x - s * 17, y + 8, z), person.size(organ, (15, 10, 22)), turn),
        Ellipsoid(urine, (parenchyma, "SINUS_FAT"), (x - s * 14, y + 6, z), person.size(organ, (9, 6, 13)), turn),
        Tube("PELVIC_ORGAN", INSIDE, [(x - s * 24, y + 14, z - 12, 3), (s * 40, -4, 250, 2.5), (s * 44, 0, 160, 2.5)]),
    ]


def spleen(person: Person) -> list[Shape]:
    if "spleen" in person.absent:
        return []
    centre = person.place("spleen", (-98, -36, 374))
    return [Ellipsoid("SPLEEN", INSIDE, centre, person.size("spleen", (23.7, 40.5, 48.3)), (-28.0, 8.0, 22.0))]


def pancreas(person: Person) -> list[Shape]:
    points = [
        (34, 4, 302, 17), (33, 9, 322, 20), (16, 16, 332, 15.5), (-12, 18, 344, 15), (-40, 8, 356, 15.5),
        (-68, -10, 365, 15), (-82, -20, 369, 12),
    ]  # fmt: skip
    return [Tube("PANCREAS", INSIDE, person.path("pancreas", points), waves=(0.08, 17.0))]


def liver(person: Person) -> list[Shape]:
    """Right and left lobe under the domes, hollowed below by the organs it lies on; vessels; gallbladder."""
    place, size = person.place, person.size
    # the visceral surface faces down, to the left and back
    x, y, z = place("liver", (36, -8, 326))
    normal = np.array((-0.46, -0.34, -0.82))
    below = [(*normal, float(normal @ (x, y, z)))]
    slope = np.array((-0.2, -0.75, -0.63))  # of the left lobe's back
    behind = [(*slope, float(slope @ (-2, 18, 376)))]
    over = ("CAVITY",)
    shapes: list[Shape] = [
        Ellipsoid("LIVER", over, place("liver", (70, 4, 368)), size("liver", (60.5, 84, 85)), cuts=below),
        Ellipsoid("LIVER", over, place("liver", (96, -2, 330)), size("liver", (29, 56, 56))),
        Ellipsoid("LIVER", over, place("liver", (-2, 46, 402)), size("liver", (80, 42, 37)), (0.0, -10.0, 0.0), behind),
    ]
    branches = [
        [(26, 8, 340, 6), (44, 12, 358, 6), (80, 14, 366, 4), (110, 10, 372, 2.5)],
        [(44, 12, 358, 5), (30, 36, 382, 4), (-20, 50, 400, 2.5)],
        [(24, -8, 418, 7), (60, -8, 400, 5), (96, -20, 370, 2.5)],
        [(24, -6, 418, 6), (52, 30, 396, 4.5), (76, 58, 372, 2.5)],
        [(24, -6, 420, 5.5), (6, 30, 412, 4), (-40, 48, 406, 2)],
        [(80, 14, 366, 3.5), (96, 40, 346, 2.2)],
        [(80, 14, 366, 3.5), (100, -28, 350, 2.2)],
    ]
    shapes += [Tube("LIVER_VESSEL", ("LIVER",), [(*place("liver", p[:3]), p[3]) for p in path]) for path in branches]
    shapes.append(
        Ellipsoid("GALLBLADDER", ("CAVITY", "LIVER"), place("liver", (50, 48, 322)), (13, 15, 29), (-22.0, 0.0, 0.0))
    )
    return shapes


def stomach(person: Person) -> list[Shape]:
    """Fundus under the left dome, body, antrum; content with its gas on top, which is in front of one lying down."""
    points = [
        (-52, -30, 400, 27), (-60, -12, 400, 32), (-72, 12, 376, 30), (-72, 36, 346, 26), (-52, 54, 316, 22),
        (-18, 62, 302, 18.5), (10, 56, 308, 14), (26, 40, 318, 10.5),
    ]  # fmt: skip
    path = person.path("stomach", points)
    content = path[1:-1]
    x, y, z, radius = path[2]
    return [
        Tube("STOMACH", ("CAVITY", "ESOPHAGUS"), path),
        Tube("STOMACH_CONTENT", ("STOMACH",), content, grow=-5.0),
        Ellipsoid("STOMACH_GAS", ("STOMACH_CONTENT",), (x, y + 0.75 * radius, z - 4), (26, 14, 34)),
    ]


def bladder(person: Person) -> list[Shape]:
    """Fills upwards; its wall is 3 mm."""
    fill = (BLADDER[person.bladder] * person.sizes["urinary_bladder"]) ** (1 / 3)
    x, y, z = person.place("urinary_bladder", (0, 20, 54))
    centre = (x, y, z + 30 * fill)
    semi = (43.5 * fill, 35 * min(fill, 1.06), 32 * fill**1.15)
    a, b, c = (half - 3 for half in semi)
    over = ("CAVITY", "MUSCLE")
    return [Ellipsoid("BLADDER", over, centre, semi), Ellipsoid("URINE", ("BLADDER",), centre, (a, b, c))]


def colon(person: Person) -> list[Shape]:
    """Caecum to rectum, with haustra; feces in most of it, gas where it lies in front."""
    rise = [(84, 12, 188, 19), (94, 8, 210, 21), (100, -4, 250, 19), (98, -6, 276, 18), (84, 22, 284, 17)]
    across = [(50, 62, 274, 15.5), (10, 74, 258, 15.5), (-34, 74, 262, 15), (-78, 50, 292, 14.5), (-104, 18, 324, 14.5)]
    down = [(-110, -6, 304, 13.5), (-112, -14, 262, 13), (-108, -4, 212, 12.5), (-92, 14, 172, 12.5)]
    sigmoid = [(-66, 26, 146, 12.5), (-34, 34, 140, 13), (-6, 20, 150, 13), (14, -14, 142, 13), (8, -46, 118, 14)]
    rectum = [(0, -52, 92, 17), (0, -46, 60, 17), (0, -38, 34, 12), (0, -34, 14, 9)]
    wall = person.path("colon", [*rise, *across, *down, *sigmoid, *rectum])
    waves = (0.13, 26.0)
    shapes: list[Shape] = [
        Tube("COLON", ("CAVITY", "MUSCLE", "BOWEL"), wall, waves=waves),
        Tube("COLON_CONTENT", ("COLON",), wall[:-1], grow=-3.0, waves=waves),
    ]
    rng = person.stream("colon")
    for x, y, z, radius in wall[:-2]:
        if rng.random() < (0.75 if y > 40 else 0.3):
            semi = (radius * rng.uniform(0.5, 1.1), radius * 0.55, radius * rng.uniform(0.6, 1.3))
            shapes.append(Ellipsoid("COLON_GAS", ("COLON_CONTENT",), (x, y + 0.3 * radius, z), semi))
    return shapes


def pelvic_organ(person: Person) -> list[Shape]:
    """Uterus behind the bladder, or prostate below it."""
    if person.sex == "F":
        return [Ellipsoid("PELVIC_ORGAN", INSIDE, (2, -22, 96), (24, 17, 34), (30.0, 0.0, 0.0))]
    return [
        Ellipsoid("PELVIC_ORGAN", ("CAVITY", "MUSCLE"), (0, 14, 34), (23, 17, 19)),
        *(
            Ellipsoid("PELVIC_ORGAN", ("CAVITY", "MUSCLE"), (s * 18, -18, 62), (17, 7, 8), (0, 0, -s * 20))
            for s in (-1, 1)
        ),
    ]


def small_bowel(person: Person) -> list[Shape]:
    """Loops that fill what is left in front of the spine; a mesentery's vessels among them."""
    rng = person.stream("bowel")
    shapes: list[Shape] = [
        Tube(
            "BOWEL",
            INSIDE,
            [(24, 36, 318, 12), (46, 6, 300, 12), (36, 4, 270, 12), (0, 12, 262, 12), (-30, 16, 290, 12)],
        )
    ]
    for layer in range(4):
        y = 2 + 21 * layer
        points = []
        for row, z in enumerate(np.arange(146, 262, 27.0)):
            reach = 84 - 9 * layer
            xs = np.linspace(-reach, reach, 7) * (1 if row % 2 else -1)
            points += [
                (x + rng.normal() * 3, y + rng.normal() * 6, z + rng.normal() * 8, rng.uniform(9, 12.5)) for x in xs
            ]
        shapes.append(Tube("BOWEL", INSIDE, points, waves=(0.12, 31.0)))
        inner = [(*point[:3], max(point[3] - 3.5, 3)) for point in points]
        shapes.append(Tube("BOWEL_CONTENT", ("BOWEL",), inner))
        for x, gas_y, z, radius in points[:: 3 + layer]:
            if rng.random() < 0.35:
                shapes.append(
                    Ellipsoid(
                        "BOWEL_GAS", ("BOWEL_CONTENT",), (x, gas_y + 3, z), (radius * 1.4, radius * 0.5, radius * 0.7)
                    )
                )
    for z in np.arange(180, 300, 16.0):
        end = rng.uniform((-60, 30, z - 40), (60, 70, z + 10))
        shapes.append(Tube("VESSEL", INSIDE, [(-2, front_of_spine(z) + 16, z, 2.6), (*end, 1.5)]))
    return shapes
