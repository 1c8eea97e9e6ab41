"""Records inputs and outputs of nnU-Net's two resampling functions, to test ours without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

FUNCTIONS = {
    "resample_data_or_seg_to_shape": resample_data_or_seg_to_shape,
    "resample_torch_fornnunet": resample_torch_fornnunet,
}
THICK = {0: (5.0, 1.0, 1.1), 1: (1.0, 5.0, 1.1), 2: (1.0, 1.1, 5.0)}
FINE = {0: (3.5, 0.8, 0.8), 1: (0.8, 3.5, 0.8), 2: (0.8, 0.8, 3.5)}


def skimage_kwargs(order: int, order_z: int = 0, force: bool | None = None) -> dict[str, Any]:
    return {"is_seg": False, "order": order, "order_z": order_z, "force_separate_z": force}


def torch_kwargs(force: bool | None) -> dict[str, Any]:
    return {"is_seg": False, "force_separate_z": force, "memefficient_seg_resampling": False}


def skimage_cases() -> list[tuple[str, str, tuple[float, ...], tuple[float, ...], dict[str, Any]]]:
    """(name, input, current spacing, new spacing, keywords)"""
    cases = []
    for axis in range(3):
        to_fine = ("odd", THICK[axis], FINE[axis])
        cases += [
            (f"order3_z0_axis{axis}", *to_fine, skimage_kwargs(3)),
            (f"order3_z1_axis{axis}", *to_fine, skimage_kwargs(3, 1)),
            (f"order1_z0_axis{axis}", "half", FINE[axis], THICK[axis], skimage_kwargs(1)),
        ]
    return [
        *cases,
        ("only_target_thick", "odd", (1.0, 1.0, 1.2), (1.0, 1.0, 4.0), skimage_kwargs(3)),
        ("two_coarse_axes", "odd", (1.0, 4.0, 4.0), (1.0, 3.0, 3.0), skimage_kwargs(3)),
        ("exactly_three", "odd", (3.0, 1.0, 1.0), (2.4, 0.8, 0.8), skimage_kwargs(3)),
        ("forced", "odd", (1.6, 1.0, 1.1), (1.2, 0.9, 0.8), skimage_kwargs(3, 1, True)),
        ("forced_isotropic", "odd", (1.0, 1.0, 1.0), (1.2, 0.9, 0.8), skimage_kwargs(3, 0, True)),
        ("forbidden", "odd", THICK[0], FINE[0], skimage_kwargs(3, 0, False)),
        ("slices_kept", "odd", (5.0, 1.0, 1.1), (5.0, 0.8, 0.8), skimage_kwargs(3)),
        ("plane_kept", "odd", (5.0, 1.0, 1.0), (2.0, 1.0, 1.0), skimage_kwargs(3, 1)),
        ("nothing_to_do", "odd", THICK[0], THICK[0], skimage_kwargs(3)),
        ("order1", "odd", (1.0, 1.2, 1.1), (1.5, 0.9, 0.8), skimage_kwargs(1, 0, False)),
        ("order0", "odd", (1.0, 1.2, 1.1), (1.5, 0.9, 0.8), skimage_kwargs(0, 0, False)),
        ("order3_down", "odd", (1.0, 1.2, 1.1), (2.0, 2.5, 1.9), skimage_kwargs(3, 0, False)),
        ("order1_half", "half", (1.0, 1.2, 1.1), (1.5, 0.9, 0.8), skimage_kwargs(1)),
    ]


def torch_cases() -> list[tuple[str, str, tuple[float, ...], tuple[float, ...], dict[str, Any]]]:
    separate = [(f"torch_axis{a}", "odd", THICK[a], FINE[a], torch_kwargs(None)) for a in range(3)]
    return [
        *separate,
        ("torch_forbidden", "odd", THICK[0], FINE[0], torch_kwargs(False)),
        ("torch_forced", "odd", (1.6, 1.0, 1.1), (1.2, 0.9, 0.8), torch_kwargs(True)),
        ("torch_down", "odd", (1.0, 1.2, 1.1), (2.0, 2.5, 1.9), torch_kwargs(None)),
        ("torch_half", "half", FINE[1], THICK[1], torch_kwargs(None)),
    ]


def record_resampling(out: Path) -> None:
    """separate_z.npz (inputs and outputs by name) and separate_z.json (one entry a case, in order).

    `half` is float16, as logits are; the output's dtype is the official function's own. Where a case has
    `separate_axis` null, nothing is resampled separately.
    """
    rng = np.random.default_rng(2026)
    inputs = {
        "odd": (rng.standard_normal((1, 9, 13, 11)) * 100).round(1).astype(np.float32),
        "half": (rng.standard_normal((2, 10, 11, 12)) * 3).astype(np.float16),
    }
    stored, listed = dict(inputs), []
    for function, cases in (
        ("resample_data_or_seg_to_shape", skimage_cases()),
        ("resample_torch_fornnunet", torch_cases()),
    ):
        for name, source, current, new, kwargs in cases:
            data = inputs[source].copy()
            shape = [int(n) for n in compute_new_shape(data.shape[1:], current, new)]
            stored[name] = np.asarray(FUNCTIONS[function](data, shape, current, new, **kwargs))
            separate, axis = determine_do_sep_z_and_axis(kwargs["force_separate_z"], current, new)
            listed.append(
                {
                    "name": name,
                    "input": source,
                    "function": function,
                    "kwargs": kwargs,
                    "current_spacing": current,
                    "new_spacing": new,
                    "new_shape": shape,
                    "separate_axis": int(axis) if separate else None,
                }
            )
    np.savez_compressed(out / "separate_z.npz", **stored)
    lines = ",\n".join(json.dumps(case) for case in listed)
    (out / "separate_z.json").write_text(f"[\n{lines}\n]\n")
