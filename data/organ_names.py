"""Organs by the names that others give them: left and right, lobes, chambers and spellings made one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SIDES = {"left": "left", "lt": "left", "l": "left", "right": "right", "rt": "right", "r": "right"}
SPELLINGS = {
    "oesophagus": "esophagus",
    "bladder": "urinary_bladder",
    "lungs": "lung",
    "a_aorta": "aorta",  # AAPM TG-263, the names of radiotherapy
    "large_bowel": "colon",
    "postcava": "inferior_vena_cava",
    "portal_splenic_vein": "portal_vein_and_splenic_vein",
}
# organ -> the parts that are it together
PARTS = {
    "lung": re.compile(r"lung_(?:(?:upper|middle|lower)_lobe_)?(?:left|right)"),
    "heart": re.compile(r"heart_(?:myocardium|(?:atrium|ventricle)_(?:left|right))"),
}


def organ_name(text: str) -> str:
    """An organ's name in the words of the label sets: "Left Kidney", "Kidney_L" and "kidney-lt" are kidney_left.

    What is no known organ keeps its letters and digits, joined by "_": "GTV 1" is gtv_1.
    """
    words = re.findall(r"[a-z0-9]+", text.lower())
    sides = [word for word in words if word in SIDES]
    if len(sides) == 1 and len(words) > 1:
        words.remove(sides[0])
        words.append(SIDES[sides[0]])
    name = "_".join(words)
    return SPELLINGS.get(name, name)


def organ_ids(labels: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """Organ -> its ids, of pairs of a name and an id; one name for several ids is their union.

    Where parts of the lung or the heart are named and the whole is not, the whole is the union of the parts.
    """
    ids: dict[str, tuple[int, ...]] = {}
    for text, number in labels:
        name = organ_name(text)
        if number not in ids.get(name, ()):
            ids[name] = (*ids.get(name, ()), number)
    return {**_wholes(ids), **ids}


def _wholes(ids: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    wholes = {}
    for organ, part in PARTS.items():
        found = {number for name, numbers in ids.items() if part.fullmatch(name) for number in numbers}
        if found:
            wholes[organ] = tuple(sorted(found))
    return wholes
