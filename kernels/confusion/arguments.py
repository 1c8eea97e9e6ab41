"""Checks of the counts' arguments, and conversions that copy only what has to be copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError

MAX_CLASSES = 256
WORD_BITS = {"uint8": 8, "uint16": 16, "uint32": 32}
FLOATS = ("float16", "bfloat16", "float32", "float64")


def check_classes(classes: int, name: str) -> None:
    if not 1 <= classes <= MAX_CLASSES:
        raise KernelError(f"confusion: {name} is {classes}", mend=f"1 to {MAX_CLASSES}: ids are uint8")


def check_maps(label: Any, prediction: Any) -> bool:
    """Whether both maps lie on a CUDA device."""
    for name, array in (("label", label), ("prediction", prediction)):
        _check_dtype(array, name, ("uint8",))
    return _check_pair(("label", label), ("prediction", prediction), tuple(prediction.shape))


def check_logits(label: Any, logits: Any, classes_label: int) -> bool:
    """Whether the label and logits [classes, *label.shape] lie on a CUDA device."""
    check_classes(classes_label, "classes_label")
    _check_dtype(label, "label", ("uint8",))
    _check_dtype(logits, "logits", FLOATS)
    check_classes(len(logits) if logits.ndim else 0, "the logits' number of classes")
    return _check_pair(("label", label), ("logits", logits), tuple(logits.shape[1:]))


def check_planes(reference: Any, prediction: Any, organs: int) -> bool:
    """Whether both words of bit planes lie on a CUDA device."""
    for name, array in (("reference", reference), ("prediction", prediction)):
        _check_dtype(array, name, tuple(WORD_BITS))
    if dtype_name(reference) != dtype_name(prediction):
        unlike = f"{dtype_name(reference)} and {dtype_name(prediction)}"
        raise KernelError(f"confusion: reference and prediction have unlike words {unlike}")
    bits = WORD_BITS[dtype_name(reference)]
    if not 1 <= organs <= bits:
        raise KernelError(f"confusion: {organs} organs in words of {bits} bits", mend=f"1 to {bits}, or wider words")
    return _check_pair(("reference", reference), ("prediction", prediction), tuple(prediction.shape))


def check_bits(totals: np.ndarray, organs: int) -> None:
    """`totals` [bits, 3]: a bit set where there is no organ is an error."""
    beyond = np.flatnonzero(totals[organs:].any(axis=1))
    if beyond.size:
        raise KernelError(f"confusion: bit {organs + int(beyond[0])} is set and there are {organs} organs")


def dtype_name(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def as_array(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def as_tensor(array: Any) -> torch.Tensor:
    if isinstance(array, torch.Tensor):
        return array.detach()
    # torch takes neither negative strides nor read-only arrays without a copy
    return torch.from_numpy(array if _torch_takes(array) else np.array(array, order="C"))


def _torch_takes(array: np.ndarray) -> bool:
    return array.flags.writeable and all(stride >= 0 for stride in array.strides)


def _check_dtype(array: Any, name: str, allowed: tuple[str, ...]) -> None:
    if not isinstance(array, (np.ndarray, torch.Tensor)):
        raise KernelError(f"confusion: {name} is a {type(array).__name__}, not an array or a tensor")
    if dtype_name(array) not in allowed:
        wanted = " or ".join(allowed)
        raise KernelError(f"confusion: {name} is {array.dtype}, not {wanted}", mend=f"cast it to {allowed[0]}")


def _check_pair(one: tuple[str, Any], other: tuple[str, Any], shape: tuple[int, ...]) -> bool:
    names = f"{one[0]} and {other[0]}"
    if tuple(one[1].shape) != shape:
        raise KernelError(f"confusion: {names} have unlike shapes {tuple(one[1].shape)} and {shape}")
    devices = [array.device if isinstance(array, torch.Tensor) else torch.device("cpu") for _, array in (one, other)]
    if devices[0] != devices[1]:
        raise KernelError(f"confusion: {names} lie on {devices[0]} and {devices[1]}", mend="move one to the other")
    return devices[0].type == "cuda"
