"""CT in HU: partial volume, texture, noise that grows with the thickness of the body, a table."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from umd_engine.data.phantom.grid import Protocol, each_slice
from umd_engine.data.phantom.subject import Person
from umd_engine.data.phantom.tissues import TISSUES

OUTSIDE = -1024  # HU that scanners put outside the circle they reconstruct
HIGHEST = 3071
BLUR = 0.55  # voxels in the plane
TABLE_SHELL, TABLE_FOAM = 250, 251  # codes of what no person is made of
TABLE_HU = {TABLE_SHELL: -60, TABLE_FOAM: -930}
# HU that iodine adds in a portal venous phase
ENHANCED = {
    "LIVER": 52, "LIVER_VESSEL": 110, "LESION_LIVER": 20, "SPLEEN": 70, "KIDNEY_LEFT": 140, "KIDNEY_RIGHT": 140,
    "PANCREAS": 48, "AORTA": 115, "VESSEL": 115, "VEIN": 110, "HEART_BLOOD": 110, "MYOCARDIUM": 60, "HEART_WALL": 60,
    "LUNG_VESSEL": 60, "STOMACH": 35, "COLON": 35, "BOWEL": 40, "ESOPHAGUS": 25, "MUSCLE": 8, "THYROID": 70,
    "PELVIC_ORGAN": 40, "LESION_NODE": 35,
}  # fmt: skip


def ct(person: Person, protocol: Protocol, codes: np.ndarray) -> np.ndarray:
    """HU, int16 [Z, Y, X], of tissue codes, to which the table is added in place."""
    _add_table(codes, protocol)
    mean, texture = _signal(person), _texture()
    inside = _circle(protocol)
    noise = _noise(codes)
    voxels = np.empty(codes.shape, np.int16)

    def image(k: int) -> None:
        rng = person.stream("ct noise", k)
        grain = gaussian_filter(rng.standard_normal(codes.shape[1:], np.float32), 0.6) / 0.47  # SD 1 again
        coarse = gaussian_filter(rng.standard_normal(codes.shape[1:], np.float32), 1.5) * 5.3  # SD 1 again
        here = mean[codes[k]]
        for axis in (0, 1):
            here = gaussian_filter1d(here, BLUR, axis=axis, truncate=2.5)
        here += grain * noise[k] + coarse * texture[codes[k]]
        voxels[k] = np.where(inside, np.clip(np.rint(here), OUTSIDE, HIGHEST), OUTSIDE)

    each_slice(image, len(codes))
    return voxels


def _signal(person: Person) -> np.ndarray:
    """The subject's own mean HU of each code, float32 [256]."""
    rng = person.stream("ct signal")
    table = np.zeros(256, np.float32)
    for tissue in TISSUES.values():
        own = np.clip(rng.normal(), -2, 2) * min(tissue.texture * 0.4, 6)
        table[tissue.code] = tissue.hu + own + person.contrast * ENHANCED.get(tissue.name, 0)
    for code, hu in TABLE_HU.items():
        table[code] = hu
    return table


def _texture() -> np.ndarray:
    """SD in HU of each code, float32 [256]."""
    table = np.zeros(256, np.float32)
    for tissue in TISSUES.values():
        table[tissue.code] = tissue.texture
    return table


def _noise(codes: np.ndarray) -> np.ndarray:
    """SD in HU of each slice: 10 where the body fills a quarter of the field, more through shoulders and hips."""
    body = (codes[:, ::4, ::4] > 0).mean((1, 2))
    return np.asarray(10 * np.sqrt(np.clip(body / 0.25, 0.5, 2.5)))


def _add_table(codes: np.ndarray, protocol: Protocol) -> None:
    """A curved shell filled with foam below the body, in place."""
    _, rows, columns = codes.shape
    middle = slice(columns // 2 - columns // 8, columns // 2 + columns // 8)
    back = np.flatnonzero((codes[:, :, middle] > 0).any((0, 2)))[0] * protocol.spacing[1]  # mm from the first row
    x = (np.arange(columns) - (columns - 1) / 2) * protocol.spacing[0]
    y = np.arange(rows)[:, None] * protocol.spacing[1]
    depth = back - 1 + 0.0011 * x**2 - y  # below the surface, mm
    thick = 36 + 0.0006 * x**2
    across = np.abs(x) < 205
    shell = across & (depth >= 0) & ((depth < 3) | ((depth > thick) & (depth < thick + 3)))
    foam = across & (depth >= 3) & (depth <= thick)
    air = codes == 0
    np.putmask(codes, air & foam, TABLE_FOAM)
    np.putmask(codes, air & shell, TABLE_SHELL)


def _circle(protocol: Protocol) -> np.ndarray:
    """bool [Y, X]: what the scanner reconstructs."""
    x = (np.arange(protocol.columns) - (protocol.columns - 1) / 2) / (protocol.columns / 2)
    y = (np.arange(protocol.rows) - (protocol.rows - 1) / 2) / (protocol.rows / 2)
    return np.asarray(x**2 + y[:, None] ** 2 <= 1)
