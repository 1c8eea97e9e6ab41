"""Joint counts of two label maps in one pass: TP, FP and FN of every class follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_library, resolve

MAX_CLASSES = 256


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
    _check_classes(classes_label, "classes_label")
    _check_classes(classes_prediction, "classes_prediction")
    on_gpu = _check_maps(label, prediction)
    name = resolve(backend, on_gpu=on_gpu, kernel="confusion")
    if name == "gpu":
        return _on_gpu(label, prediction, classes_label, classes_prediction)
    arrays = _as_array(label), _as_array(prediction)
    if name == "reference":
        from umd_engine.kernels.confusion import reference

        return reference.confusion(*arrays, classes_label, classes_prediction)
    from umd_engine.kernels.confusion import cpu

    return cpu.confusion(*arrays, classes_label, classes_prediction)


def _on_gpu(label: Any, prediction: Any, classes_label: int, classes_prediction: int) -> np.ndarray:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        raise missing_library("confusion", "gpu", "triton") from error
    from umd_engine.kernels.confusion import gpu

    return gpu.confusion(_as_tensor(label), _as_tensor(prediction), classes_label, classes_prediction)


def _check_classes(classes: int, name: str) -> None:
    if not 1 <= classes <= MAX_CLASSES:
        raise KernelError(f"confusion: {name} is {classes}", mend=f"1 to {MAX_CLASSES}: the maps are uint8")


def _check_maps(label: Any, prediction: Any) -> bool:
    """Whether both maps lie on a CUDA device."""
    for name, array in (("label", label), ("prediction", prediction)):
        if not isinstance(array, (np.ndarray, torch.Tensor)):
            raise KernelError(f"confusion: {name} is a {type(array).__name__}, not an array or a tensor")
        if array.dtype not in (np.dtype(np.uint8), torch.uint8):
            raise KernelError(f"confusion: {name} is {array.dtype}, not uint8", mend="cast it to uint8")
    if tuple(label.shape) != tuple(prediction.shape):
        shapes = f"{tuple(label.shape)} and {tuple(prediction.shape)}"
        raise KernelError(f"confusion: label and prediction have unlike shapes {shapes}")
    if _device(label) != _device(prediction):
        devices = f"{_device(label)} and {_device(prediction)}"
        raise KernelError(f"confusion: label and prediction lie on {devices}", mend="move one to the other")
    return _device(label).type == "cuda"


def _device(array: Any) -> torch.device:
    return array.device if isinstance(array, torch.Tensor) else torch.device("cpu")


def _as_array(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def _as_tensor(array: Any) -> torch.Tensor:
    if isinstance(array, torch.Tensor):
        return array
    # torch takes neither negative strides nor read-only arrays without a copy
    return torch.from_numpy(array if _torch_takes(array) else np.array(array, order="C"))


def _torch_takes(array: np.ndarray) -> bool:
    return array.flags.writeable and all(stride >= 0 for stride in array.strides)
