"""Deliberately wrong clicks: each a mistake that a fast one makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from umd_engine.kernels.clicks import RULES, draw_clicks, reference
from umd_engine.kernels.clicks.cases import Case
from umd_engine.kernels.clicks.volumes import MAX_SLOTS, Volumes

Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def _draw(label: Any, prediction: Any, case: Case, **changes: Any) -> Found:
    case = replace(case, **changes)
    spacing = case.spacing if case.rule == "deepest" else (1.0, 1.0, 1.0)
    found = draw_clicks(label, case.organs, case.key, case.rule, prediction, spacing, "reference")
    return found.voxels, found.positive, found.drawn


def forgets_the_organ(label: Any, prediction: Any, case: Case) -> Found:
    """One random number for all the organs."""
    organs = case.organs[:MAX_SLOTS]
    words = np.repeat(case.key.words(organs)[:1], len(organs), axis=0)
    rows = reference.draw(Volumes(label, prediction, organs, case.spacing), RULES[case.rule], words)
    return rows[:, :3], rows[:, 3] == 1, rows[:, 4] == 1


def forgets_the_click(label: Any, prediction: Any, case: Case) -> Found:
    return _draw(label, prediction, case, key=replace(case.key, click=0))


def forgets_the_repeat(label: Any, prediction: Any, case: Case) -> Found:
    return _draw(label, prediction, case, key=replace(case.key, repeat=0))


def forgets_the_scan(label: Any, prediction: Any, case: Case) -> Found:
    return _draw(label, prediction, case, key=replace(case.key, scan_id=""))


def clicks_in_voxels(label: Any, prediction: Any, case: Case) -> Found:
    """Depths without the spacing."""
    return _draw(label, prediction, case, spacing=(1.0, 1.0, 1.0))


def forgets_the_prediction(label: Any, prediction: Any, case: Case) -> Found:
    return _draw(label, None, case)


def always_positive(label: Any, prediction: Any, case: Case) -> Found:
    voxels, _, drawn = _draw(label, prediction, case)
    return voxels, drawn, drawn


def forgets_the_component(label: Any, prediction: Any, case: Case) -> Found:
    """The deepest voxel of any component, not of the largest one."""
    rule = "deepest" if case.rule == "cvpr25" else case.rule
    return _draw(label, prediction, case, rule=rule)


def draws_in_memory_order(label: Any, prediction: Any, case: Case) -> Found:
    """The k-th voxel in the order the volume lies in memory."""
    if label.flags.c_contiguous:
        return _draw(label, prediction, case)
    spun = None if prediction is None else prediction.T
    voxels, positive, drawn = _draw(label.T, spun, case, spacing=case.spacing[::-1])
    return voxels[:, ::-1].copy(), positive, drawn


def clicks_the_origin(label: Any, prediction: Any, case: Case) -> Found:
    """An empty region gives voxel (0, 0, 0) instead of none."""
    voxels, positive, drawn = _draw(label, prediction, case)
    return np.maximum(voxels, 0), positive, drawn


def ignores_the_border(label: Any, prediction: Any, case: Case) -> Found:
    """Beyond the volume is no outside: what SciPy does without padding."""
    if not label.size:
        return _draw(label, prediction, case)
    pad = [None if one is None else np.pad(one, 2, mode="edge") for one in (label, prediction)]
    voxels, positive, drawn = _draw(pad[0], pad[1], case)
    return np.where(drawn[:, None], np.clip(voxels - 2, 0, np.array(label.shape) - 1), -1), positive, drawn


def prefers_wrong_voxels(label: Any, prediction: Any, case: Case) -> Found:
    """FN and FP change places, so that ties go the other way too."""
    if prediction is None:
        return _draw(label, prediction, case)
    voxels, positive, drawn = _draw(prediction, label, case)
    return voxels, drawn & ~positive, drawn


WRONG = (
    forgets_the_organ,
    forgets_the_click,
    forgets_the_repeat,
    forgets_the_scan,
    clicks_in_voxels,
    forgets_the_prediction,
    always_positive,
    forgets_the_component,
    draws_in_memory_order,
    clicks_the_origin,
    ignores_the_border,
    prefers_wrong_voxels,
)
