"""Every operation x case x implementation against the reference."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from tester import CASES, CHECKS, MismatchError, check_all
from wrong import confusion as wrong_confusion
from wrong import resample as wrong_resample

from umd_engine.kernels.confusion import confusion
from umd_engine.kernels.confusion import cpu as confusion_cpu
from umd_engine.kernels.resample import zoom, zoom_separate
from umd_engine.kernels.resample.separable import zoom as separable_zoom

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def _confusion_on_tensors(label: np.ndarray, prediction: np.ndarray, *classes: int, device: str) -> np.ndarray:
    left, right = (torch.from_numpy(array.copy(order="K")).to(device) for array in (label, prediction))
    return confusion(left, right, *classes)


def _zoom_on_tensors(data: np.ndarray, *arguments: Any, device: str) -> np.ndarray:
    result = zoom(torch.from_numpy(data.copy(order="K")).to(device), *arguments)
    assert result.device.type == device
    return result.cpu().numpy()


IMPLEMENTATIONS: dict[str, dict[str, Any]] = {
    "confusion": {
        "cpu": functools.partial(confusion, backend="cpu"),
        "cpu-1-thread": functools.partial(confusion_cpu.confusion, threads=1),
        "cpu-5-threads": functools.partial(confusion_cpu.confusion, threads=5),
        "cpu-tensors": functools.partial(_confusion_on_tensors, device="cpu"),
        "gpu": functools.partial(confusion, backend="gpu"),
        "gpu-tensors": functools.partial(_confusion_on_tensors, device="cuda"),
    },
    "resample": {
        "cpu": functools.partial(zoom, backend="cpu"),
        "cpu-tensors": functools.partial(_zoom_on_tensors, device="cpu"),
        "gpu": functools.partial(zoom, backend="gpu"),
        "gpu-tensors": functools.partial(_zoom_on_tensors, device="cuda"),
    },
    "resample-separate": {
        "cpu": functools.partial(zoom_separate, backend="cpu"),
        "gpu": functools.partial(zoom_separate, backend="gpu"),
    },
}


def _rows() -> list[Any]:
    rows = []
    for op, implementations in IMPLEMENTATIONS.items():
        for name in implementations:
            marks = [pytest.mark.gpu, needs_cuda] if name.startswith("gpu") else []
            for case in CASES[op]:
                rows.append(pytest.param(op, name, case, id=f"{op}-{name}-{case.name}", marks=marks))
    return rows


@pytest.mark.parametrize(("op", "implementation", "case"), _rows())
def test_equals_the_reference(op: str, implementation: str, case: Any) -> None:
    if op == "confusion" and implementation.startswith("cpu"):
        pytest.importorskip("numba")
    CHECKS[op](case, IMPLEMENTATIONS[op][implementation])


@pytest.mark.parametrize("wrong", wrong_confusion.WRONG, ids=lambda wrong: wrong.__name__)
def test_rejects_wrong_joint_counts(wrong: Any) -> None:
    with pytest.raises(MismatchError):
        check_all("confusion", wrong)


@pytest.mark.parametrize("wrong", wrong_resample.WRONG, ids=lambda wrong: wrong.__name__)
def test_rejects_wrong_resampling(wrong: Any) -> None:
    with pytest.raises(MismatchError):
        check_all("resample", wrong)


@pytest.mark.parametrize("wrong", wrong_resample.WRONG_SEPARATE, ids=lambda wrong: wrong.__name__)
def test_rejects_wrong_rules_of_anisotropy(wrong: Any) -> None:
    with pytest.raises(MismatchError):
        check_all("resample-separate", wrong)


def test_rejects_a_band_that_is_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    from umd_engine.kernels.resample import weights

    monkeypatch.setattr(weights, "REACH", 12)
    weights.cubic.cache_clear()
    try:
        with pytest.raises(MismatchError):
            check_all("resample", functools.partial(zoom, backend="cpu"))
    finally:
        monkeypatch.undo()
        weights.cubic.cache_clear()


@pytest.mark.parametrize("case", [case for case in CASES["resample"] if 3 in case.orders], ids=lambda c: c.name)
def test_the_bands_of_a_device_on_the_cpu(case: Any) -> None:
    """The GPU differs from the CPU in the width of its bands only."""

    def wide(data: np.ndarray, shape: Any, orders: Any, clip: Any) -> np.ndarray:
        from umd_engine.kernels.resample.arguments import parse_clip

        apart = parse_clip(clip, data.shape[1:], shape)
        return separable_zoom(torch.from_numpy(data.copy()), shape, orders, apart, rows=512).numpy()

    CHECKS["resample"](case, wide)
