"""Counts in one pass, from which TP, FP and FN of every class follow: label maps, logits, overlapping masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from umd_engine.kernels.backends import missing_library, resolve
from umd_engine.kernels.confusion.arguments import (
    as_array,
    as_tensor,
    check_classes,
    check_logits,
    check_maps,
    check_planes,
)


def confusion(
    label: Any,
    prediction: Any,
    classes_label: int,
    classes_prediction: int,
    backend: str = "auto",
) -> np.ndarray:
    """Count the voxels of every pair (label id, predicted id).

    Args:
        label: uint8 label map of any shape and memory order, NumPy array or torch tensor.
        prediction: uint8 label map of the same shape, on the same device.
        classes_label: number of ids in `label`, background included: ids are 0 to classes_label - 1.
        classes_prediction: the same of `prediction`.
        backend: "auto" (where the inputs lie), "cpu" (numba), "gpu" (Triton) or "reference" (NumPy).

    Returns:
        int64 [classes_label, classes_prediction]; `counts[i, j]` voxels have label i and prediction j. With
        the same ids in both, TP of class c is `counts[c, c]`, TP + FN its row's sum, TP + FP its column's.

    Raises:
        KernelError: another dtype, unlike shapes or devices, or a voxel whose id is not below the number of
            classes.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    check_classes(classes_label, "classes_label")
    check_classes(classes_prediction, "classes_prediction")
    name = resolve(backend, on_gpu=check_maps(label, prediction), kernel="confusion")
    if name == "gpu":
        _need_triton()
        from umd_engine.kernels.confusion import gpu

        return gpu.confusion(as_tensor(label), as_tensor(prediction), classes_label, classes_prediction)
    arrays = as_array(label), as_array(prediction)
    if name == "reference":
        from umd_engine.kernels.confusion import reference

        return reference.confusion(*arrays, classes_label, classes_prediction)
    from umd_engine.kernels.confusion import cpu

    return cpu.confusion(*arrays, classes_label, classes_prediction)


def confusion_from_logits(label: Any, logits: Any, classes_label: int, backend: str = "auto") -> np.ndarray:
    """The joint counts of a label map and the argmax of logits; the predicted map is never written.

    Args:
        label: uint8 label map of any shape [...].
        logits: [classes, ...] float16, bfloat16 (torch), float32 or float64, on the same device. The predicted
            id is the first class that holds the maximum; infinities are allowed.
        classes_label: number of ids in `label`.
        backend: "auto", "cpu", "gpu" or "reference".

    Returns:
        int64 [classes_label, classes] as `confusion(label, logits.argmax(0), classes_label, classes)`.

    Raises:
        KernelError: another dtype, shapes that do not match, more than 256 classes, a label id not below
            `classes_label`, or logits that hold NaN.
        BackendError: the named backend cannot run here.
    """
    name = resolve(backend, on_gpu=check_logits(label, logits, classes_label), kernel="confusion")
    if name == "gpu":
        _need_triton()
        from umd_engine.kernels.confusion import gpu_logits

        return gpu_logits.confusion_from_logits(as_tensor(label), as_tensor(logits), classes_label)
    if name == "reference":
        from umd_engine.kernels.confusion import reference

        return reference.confusion_from_logits(as_array(label), as_tensor(logits).double().numpy(), classes_label)
    from umd_engine.kernels.confusion import cpu_logits

    return cpu_logits.confusion_from_logits(as_tensor(label), as_tensor(logits), classes_label)


def confusion_planes(reference: Any, prediction: Any, organs: int, backend: str = "auto") -> np.ndarray:
    """TP, FP and FN of masks that may overlap, one bit an organ.

    Args:
        reference: uint8, uint16 or uint32 words of any shape; bit k of a voxel's word is the mask of organ k.
        prediction: words of the same type and shape, on the same device.
        organs: bits in use, at most those of a word; the others have to be zero.
        backend: "auto", "cpu", "gpu" or "reference".

    Returns:
        int64 [organs, 3]: TP, FP, FN. A pair of empty masks is three zeros.

    Raises:
        KernelError: another dtype, unlike dtypes, shapes or devices, or a bit set at or above `organs`.
        BackendError: the named backend cannot run here.
    """
    name = resolve(backend, on_gpu=check_planes(reference, prediction, organs), kernel="confusion")
    if name == "gpu":
        _need_triton()
        from umd_engine.kernels.confusion import gpu_planes

        return gpu_planes.confusion_planes(as_tensor(reference), as_tensor(prediction), organs)
    arrays = as_array(reference), as_array(prediction)
    if name == "reference":
        from umd_engine.kernels.confusion import reference as plain

        return plain.confusion_planes(*arrays, organs)
    from umd_engine.kernels.confusion import cpu_planes

    return cpu_planes.confusion_planes(*arrays, organs)


def _need_triton() -> None:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        raise missing_library("confusion", "gpu", "triton") from error
