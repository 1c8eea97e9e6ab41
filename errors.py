"""Every error a user can meet, one tree. Each says where, what is wrong and how to mend it.

    UmdEngineError
    ├── DataError                 a file of the user's
    │   ├── MissingFileError      a path that leads nowhere
    │   ├── ReadTimeoutError      a file that a disk or network does not deliver in time
    │   ├── CorruptFileError      truncated gzip, not a NIfTI, fewer bytes than its header promises
    │   ├── VoxelError            NaN, infinity, a 4D image, an intensity its unit cannot have
    │   ├── GeometryError         zero or negative spacing, a singular affine, a label on another grid
    │   ├── LabelError            ids outside the label set
    │   │   └── EmptyLabelError   a label map without a single labelled voxel
    │   └── ManifestError         a manifest, label set or layout that does not hold together
    ├── ModelError                a model or its files
    │   ├── CheckpointError       weights that do not match their plans, or a pickle with code in it
    │   └── UnsupportedModelError 2d and cascaded nnU-Nets, classes outside the allow-list
    ├── UnknownNameError          a name that is not in its list; suggests the nearest
    ├── OptionError               options that do not go together or are out of range
    ├── PromptError               a prompt outside the scan, or of a kind that the model does not take
    ├── BackendError              a named backend, device or precision that cannot run here
    ├── AccuracyError             a precision whose answers are too far from float32's
    ├── CalibrationError          windows that int8 ranges cannot be measured on: another modality, constant, NaN
    ├── KernelError               an argument of a kernel: dtype, shape, device, range
    ├── OutOfMemoryError          a case that does not fit even at batch 1
    ├── WorkerError               a case that ends the process of its worker, or no worker is left
    └── StoreError                a result store of another version, or another program's file; a full disk
        └── RunLockedError        a run folder that another process is writing to

`status` is what a result row says of a case that ended with the error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?!/)([^/@\s:]*:[^/@\s]*@)?([^\s?]*)(\?\S*)?")


def shown(text: str | Path) -> str:
    """A text whose URLs are whole again, as a path folds their slashes, and tell no password and no signature."""

    def safe(url: re.Match[str]) -> str:
        scheme, secret, rest, query = url.groups()
        return f"{scheme}://{'***@' if secret else ''}{rest}{'?***' if query else ''}"

    return _URL.sub(safe, str(text))


class UmdEngineError(Exception):
    """An error with a place, a fault and a mend.

    Args:
        fault: what is wrong, in one sentence without a full stop.
        where: the file, option or row it was found in.
        mend: what the user can do about it.
    """

    status = "error"

    def __init__(self, fault: str, *, where: str | Path | None = None, mend: str = ""):
        self.fault, self.where, self.mend = fault, where, mend
        super().__init__(fault)

    def __str__(self) -> str:
        place = f"{shown(self.where)}: " if self.where is not None else ""
        mend = f" ({self.mend})" if self.mend else ""
        return place + shown(f"{self.fault}{mend}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.fault, self.__dict__)  # not by __init__, whose arguments are a subclass's own


def _again(kind: type[UmdEngineError], fault: str, state: dict[str, Any]) -> UmdEngineError:
    error = kind.__new__(kind, fault)
    error.__dict__.update(state)
    return error


class DataError(UmdEngineError):
    status = "data-error"


class MissingFileError(DataError):
    status = "missing-file"


class ReadTimeoutError(DataError):
    status = "read-timeout"


class CorruptFileError(DataError):
    status = "corrupt-file"


class VoxelError(DataError):
    status = "bad-voxels"


class GeometryError(DataError):
    status = "bad-geometry"


class LabelError(DataError):
    status = "bad-label"


class EmptyLabelError(LabelError):
    status = "empty-label"


class ManifestError(DataError):
    status = "bad-manifest"


class ModelError(UmdEngineError):
    status = "model-error"


class CheckpointError(ModelError):
    """Weights that cannot be used.

    Args:
        missing: names of all weights that the network has and the file lacks.
        unexpected: names of all weights that the file has and the network lacks.
        shapes: all weights of another shape, each as "name (found) instead of (wanted)".
    """

    status = "bad-checkpoint"

    def __init__(
        self,
        fault: str,
        *,
        where: str | Path | None = None,
        mend: str = "",
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        shapes: Sequence[str] = (),
    ):
        super().__init__(fault, where=where, mend=mend)
        self.missing, self.unexpected, self.shapes = tuple(missing), tuple(unexpected), tuple(shapes)


class UnsupportedModelError(ModelError):
    status = "unsupported-model"


class UnknownNameError(UmdEngineError):
    """A name that is not in `known`.

    Args:
        kind: what the name names ("model", "convention", "label set").
    """

    status = "unknown-name"

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str | Path | None = None):
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3)
        mend = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} '{name}'", where=where, mend=mend)


class OptionError(UmdEngineError):
    status = "bad-option"


class PromptError(UmdEngineError):
    status = "bad-prompt"


class BackendError(UmdEngineError):
    status = "backend-error"


class AccuracyError(UmdEngineError):
    status = "inaccurate"


class CalibrationError(UmdEngineError):
    status = "bad-calibration"


class KernelError(UmdEngineError):
    status = "kernel-error"


class OutOfMemoryError(UmdEngineError):
    status = "out-of-memory"


class WorkerError(UmdEngineError):
    status = "worker-died"


class StoreError(UmdEngineError):
    status = "store-error"


class RunLockedError(StoreError):
    status = "run-locked"
