"""A unit to ONNX: opset 20, static spatial shapes, dynamic batch, cached under what it was made from."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import torch

from umd_engine.engine.unit import Unit
from umd_engine.errors import BackendError

OPSET = 20
EXPORTER_VERSION = 1


def cache_folder() -> Path:
    """`UMD_ENGINE_CACHE`, or `umd-engine` in the user's cache folder."""
    if path := os.environ.get("UMD_ENGINE_CACHE"):
        return Path(path)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "umd-engine"


def artifact_key(unit: Unit) -> str:
    """What an artifact depends on: the unit's content, this exporter and the library that wrote the graph."""
    text = f"{unit.content_hash}:onnx:opset{OPSET}:exporter{EXPORTER_VERSION}:torch{torch.__version__}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def export_onnx(unit: Unit, folder: Path | None = None) -> Path:
    """The unit's ONNX file, exported when the cache has none.

    The artifact is written into a folder of its own and moved into place whole, so a half-written one is
    never seen; of two that export at once the first to finish wins and both are equal.

    Raises:
        BackendError: the ONNX packages are missing, or the cache folder is not writable.
    """
    home = (folder or cache_folder()) / "onnx" / artifact_key(unit)
    path = home / "unit.onnx"
    if path.exists():
        return path
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=home.parent))
    except OSError as error:
        raise BackendError(
            f"cannot write the artifact cache: {error.strerror}",
            where=home.parent,
            mend="set UMD_ENGINE_CACHE",
        ) from None
    try:
        _export(unit, draft / path.name)
        draft.replace(home)
    except ImportError as error:
        raise BackendError(f"ONNX export needs {error.name}", mend="pip install onnx onnxscript") from None
    except OSError as error:
        if not path.exists():  # another process has not put it there either
            raise BackendError(
                f"cannot write the artifact: {error.strerror or error}", where=home, mend="free space there"
            ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def _export(unit: Unit, path: Path) -> None:
    module = unit.module.to("cpu").eval()
    names = [spec.name for spec in unit.inputs]
    batch = torch.export.Dim("batch", min=1, max=4096)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # batch 2: torch.export takes a batch of 1 for a constant
        program = torch.onnx.export(
            module,
            unit.example(2),
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=list(unit.outputs),
            dynamic_shapes=tuple({0: batch} for _ in names),
            verbose=False,
        )
        assert program is not None
        program.save(str(path))
