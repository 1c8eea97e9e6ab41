"""A person in a scanner: an image of one modality with its exact labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from umd_engine.data.labelset import load_label_set
from umd_engine.data.phantom.ct import ct
from umd_engine.data.phantom.grid import PROTOCOLS, affine, axes
from umd_engine.data.phantom.mr import mr
from umd_engine.data.phantom.pet import pet
from umd_engine.data.phantom.shapes import Shape, render
from umd_engine.data.phantom.subject import Person
from umd_engine.data.phantom.tissues import TISSUES
from umd_engine.data.volume import Volume

LABEL_SET = "umd13"


def acquire(person: Person, shapes: Sequence[Shape], modality: str, size: str) -> tuple[Volume, Volume]:
    """Image and label map of a person on one grid.

    Args:
        modality: ct (int16, HU), pet (float32, SUV) or mr (int16, arbitrary units).
        size: small or full.
    """
    protocol = PROTOCOLS[modality, size]
    codes = render(shapes, axes(person, protocol))
    labels = _label_of_code()[codes]
    if modality == "pet":
        voxels = pet(person, shapes, protocol)
    else:
        voxels = {"ct": ct, "mr": mr}[modality](person, protocol, codes)
    placed = affine(person, protocol)
    return _volume(voxels, placed), _volume(labels, placed)


def _volume(array: np.ndarray, placed: np.ndarray) -> Volume:
    """A volume of [Z, Y, X] in RAS+ whose file runs to the left and the back."""
    return Volume.from_array(array.transpose(2, 1, 0)[::-1, ::-1], placed)


@lru_cache(maxsize=1)
def _label_of_code() -> np.ndarray:
    """The label id of each tissue code, uint8 [256]."""
    ids = load_label_set(LABEL_SET).ids
    table = np.zeros(256, np.uint8)
    for tissue in TISSUES.values():
        if tissue.organ:
            (table[tissue.code],) = ids[tissue.organ]
    return table
