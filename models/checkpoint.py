"""Loading of checkpoints: data only, never code."""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from umd_engine.engine.unit import add_weights
from umd_engine.errors import CheckpointError, MissingFileError

# what torch raises on files that are cut, mixed up or something else
_DAMAGE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError, IndexError, AttributeError,
    TypeError, struct.error,
)  # fmt: skip


def _allowed() -> list[Any]:
    """What training code pickles beside tensors: NumPy scalars (nnU-Net's logged metrics) and their dtypes."""
    from numpy._core import multiarray

    dtypes = {type(np.dtype(kind)) for kind in "fdilqILQb?"}
    # files written by NumPy 1 name the module numpy.core
    return [multiarray.scalar, (multiarray.scalar, "numpy.core.multiarray.scalar"), np.dtype, *dtypes]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint file on the CPU, loaded with `weights_only=True` and the allow-list above.

    Raises:
        MissingFileError: no such file.
        CheckpointError: the file is damaged, is no torch file, or its pickle holds anything but data.
    """
    if not path.is_file():
        raise MissingFileError("no such checkpoint", where=path, mend="check the model's folder")
    try:
        with torch.serialization.safe_globals(_allowed()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle protocol; the outcome says what matters
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and asked:
            raise CheckpointError(
                f"the pickle asks for code ({asked[1]}), which was not run",
                where=path,
                mend="get the checkpoint from its authors, or re-save it as tensors only",
            ) from None
        raise CheckpointError(
            f"not a readable torch checkpoint ({type(error).__name__})", where=path, mend="copy or download it again"
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(
            f"holds a {type(content).__name__}, not a dictionary", where=path, mend="give a state dict file"
        )
    return content


def load_strictly(module: torch.nn.Module, state: dict[str, torch.Tensor], where: Path) -> None:
    """Load a state dict; every key and shape must match.

    Raises:
        CheckpointError: names what is missing, unexpected or of another shape.
    """
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    ):
        raise CheckpointError("the weights are no dictionary of tensors", where=where, mend="give a state dict")
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    mend = "give this network's own checkpoint; where plans describe the network, those it was trained with"
    check_names(wanted, state, "network", where, mend)
    module.load_state_dict(state, strict=True)


def check_names(
    wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, torch.Tensor], part: str, where: Path, mend: str
) -> None:
    """Raise CheckpointError, with all names, unless a state dict has exactly the wanted names and shapes.

    Args:
        part: what the weights are of, "network".
    """
    missing = sorted(wanted.keys() - state.keys())
    unexpected = sorted(state.keys() - wanted.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {shape}"
        for name, shape in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    faults = []
    for title, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            faults.append(f"{len(names)} {title} ({', '.join(names[:3])}{more})")
    if faults:
        raise CheckpointError(
            f"the weights do not match the {part}: {'; '.join(faults)}",
            where=where,
            mend=mend,
            missing=missing,
            unexpected=unexpected,
            shapes=shapes,
        )


def hash_of_weights(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of a state dict's names, types, shapes and values."""
    digest = hashlib.sha256()
    add_weights(digest, state)
    return digest.hexdigest()
