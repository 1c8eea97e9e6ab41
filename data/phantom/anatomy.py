"""A person as a list of shapes, in the order they are painted."""

from __future__ import annotations

import numpy as np

from umd_engine.data.phantom.abdomen import abdomen
from umd_engine.data.phantom.body import outline
from umd_engine.data.phantom.bones import skeleton
from umd_engine.data.phantom.head import head
from umd_engine.data.phantom.shapes import Ellipsoid, Shape
from umd_engine.data.phantom.subject import Person
from umd_engine.data.phantom.thorax import thorax

LESIONS = 0.6  # of subjects have some


def anatomy(person: Person) -> list[Shape]:
    """Outside in: outline, bones, head, chest, belly, and lesions last."""
    return [
        *outline(person),
        *skeleton(person),
        *head(person),
        *thorax(person),
        *abdomen(person),
        *lesions(person),
    ]


def lesions(person: Person) -> list[Shape]:
    """Up to six FDG-avid lesions of liver, lungs, lymph nodes and bone, 6 to 30 mm across."""
    rng = person.stream("lesions")
    if rng.random() > LESIONS:
        return []
    places = (
        ("LESION_LIVER", ("LIVER", "LIVER_VESSEL"), (80, 10, 366), (28, 40, 36)),
        ("LESION_LUNG", ("LUNG", "LUNG_VESSEL"), (0, -10, 530), (100, 50, 60)),
        ("LESION_NODE", ("CAVITY",), (10, 10, 470), (30, 30, 120)),
        ("LESION_BONE", ("MARROW", "BONE"), (0, -40, 320), (20, 20, 150)),
    )
    found: list[Shape] = []
    for _ in range(int(rng.integers(1, 7))):
        tissue, over, middle, spread = places[int(rng.integers(len(places)))]
        x, y, z = np.asarray(middle) + rng.uniform(-1, 1, 3) * spread
        radius = float(rng.uniform(4, 15))
        found.append(Ellipsoid(tissue, over, (float(x), float(y), float(z)), (radius, radius * 0.9, radius)))
    return found
