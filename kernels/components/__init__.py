"""Connected components of a mask or a label map: numbers, sizes, and the largest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_device, missing_library, resolve

CONNECTIVITIES = (6, 18, 26)
MAX_VOXELS = 2**31 - 1  # numbers are int32


@dataclass(frozen=True)
class Components:
    """Connected components, numbered from 1 in the C order of their first voxels.

    Attributes:
        numbers: int32 [X, Y, Z], 0 where the map is 0; of the input's kind and on its device.
        sizes: int64 [N], voxels of component i + 1.
        ids: uint8 [N], the id that component i + 1 is of.
    """

    numbers: Any
    sizes: np.ndarray
    ids: np.ndarray


def components(labels: Any, connectivity: int = 26, backend: str = "auto") -> Components:
    """Number the connected components; neighbours belong together where they have the same id, not 0.

    Equal to `cc3d.connected_components` up to renumbering, and to `scipy.ndimage.label` id by id.

    Args:
        labels: bool or uint8 [X, Y, Z] of any memory order, NumPy array or torch tensor; below 2^31 voxels.
        connectivity: 6 (shared faces), 18 (and edges) or 26 (and corners).
        backend: "auto" (where `labels` lies), "cpu" (numba), "gpu" (CUDA) or "reference" (SciPy).

    Raises:
        KernelError: another dtype, number of axes, connectivity or too many voxels.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    name = _check(labels, connectivity, backend)
    if name == "gpu":
        return _on_gpu(_as_tensor(labels), connectivity, isinstance(labels, np.ndarray))
    volume = _as_array(labels)
    if name == "reference":
        from umd_engine.kernels.components import reference

        found = reference.components(volume, connectivity)
    else:
        from umd_engine.kernels.components import cpu

        found = cpu.components(volume, connectivity)
    return Components(_like(found[0], labels), *found[1:])


def largest_component(labels: Any, connectivity: int = 26, backend: str = "auto") -> Any:
    """The map with the largest component of each id kept and its others set to 0.

    Of components of one size the first in C order is kept. A map without labelled voxels comes back as it is.

    Args and errors as `components`. Returns uint8 [X, Y, Z] of the input's kind and on its device.
    """
    found = components(labels, connectivity, backend)
    keep = np.zeros(found.sizes.size + 1, np.uint8)
    for value in np.unique(found.ids).tolist():
        # argmax takes the first of equals
        keep[1 + int(np.argmax(np.where(found.ids == value, found.sizes, 0)))] = value
    if isinstance(found.numbers, torch.Tensor):
        return torch.from_numpy(keep).to(found.numbers.device)[found.numbers.long()]
    return keep[found.numbers]


def _check(labels: Any, connectivity: int, backend: str) -> str:
    if not isinstance(labels, (np.ndarray, torch.Tensor)):
        raise KernelError(f"components: got a {type(labels).__name__}, not an array or a tensor")
    if labels.dtype not in (np.dtype(np.uint8), np.dtype(bool), torch.uint8, torch.bool):
        raise KernelError(f"components: expected uint8 or bool, got {labels.dtype}", mend="cast it to uint8")
    if labels.ndim != 3:
        raise KernelError(f"components: expected [X, Y, Z], got shape {tuple(labels.shape)}")
    if connectivity not in CONNECTIVITIES:
        raise KernelError(f"components: connectivity {connectivity}", mend="6, 18 or 26")
    voxels = int(np.prod(tuple(labels.shape), dtype=np.int64))
    if voxels > MAX_VOXELS:
        raise KernelError(f"components: {voxels} voxels, at most {MAX_VOXELS}", mend="crop the volume")
    return resolve(backend, on_gpu=isinstance(labels, torch.Tensor) and labels.is_cuda, kernel="components")


def _on_gpu(labels: torch.Tensor, connectivity: int, as_array: bool) -> Components:
    if not torch.cuda.is_available():
        raise missing_device("components")
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        raise missing_library("components", "gpu", "cupy") from error
    from umd_engine.kernels.components import gpu

    numbers, sizes, ids = gpu.components(labels, connectivity)
    return Components(numbers.cpu().numpy() if as_array else numbers.to(labels.device), sizes, ids)


def _as_array(labels: Any) -> np.ndarray:
    array = labels if isinstance(labels, np.ndarray) else labels.detach().cpu().numpy()
    return array.view(np.uint8) if array.dtype == bool else array


def _as_tensor(labels: Any) -> torch.Tensor:
    if isinstance(labels, torch.Tensor):
        return labels.view(torch.uint8)
    return torch.from_numpy(np.array(_as_array(labels), order="C"))


def _like(numbers: np.ndarray, labels: Any) -> Any:
    return torch.from_numpy(numbers).to(labels.device) if isinstance(labels, torch.Tensor) else numbers
