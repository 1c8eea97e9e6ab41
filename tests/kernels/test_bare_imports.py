"""What runs on a bare GPU machine imports with torch, triton, cupy and NumPy alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[2]

# torch's own needs follow torch; "umd_engine" is what is tested
ALLOWED = (
    *("umd_engine", "numpy", "torch", "triton", "cupy", "cupy_backends", "cuda"),
    *("typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec"),
)
HOOK = """
import importlib, sys
allowed = set({allowed!r}) | set(sys.stdlib_module_names)
class Bare:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed and not top.startswith(("__editable__", "_")):
            raise ModuleNotFoundError(f"{{name}} is not on a bare machine", name=top)
        return None
import torch, triton
sys.meta_path.insert(0, Bare())
for name in {names!r}:
    importlib.import_module(name)
    print(name)
"""


def bare_modules() -> list[str]:
    """Every module that has to import there and exists."""
    files = [*_python_files("kernels"), ROOT / "data" / "volume.py", *_python_files("engine")]
    files += _python_files("models/nnunet")
    names = [_module(file) for file in files if file.exists()]
    return [name for name in names if name != "umd_engine.engine.backends.onnx_session"]


def _python_files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(("umd_engine", *(part for part in parts if part != "__init__")))


def _imported(names: list[str]) -> subprocess.CompletedProcess[str]:
    code = HOOK.format(allowed=ALLOWED, names=names)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_bare_machine_imports() -> None:
    names = bare_modules()
    assert "umd_engine.kernels.confusion.gpu" in names and "umd_engine.data.volume" in names
    done = _imported(names)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names


@pytest.mark.parametrize("library", ["scipy.ndimage", "numba", "nibabel", "pydantic"])
def test_the_hook_blocks_the_others(library: str) -> None:
    pytest.importorskip(library)
    done = _imported([library])
    assert done.returncode != 0
    assert f"{library.split('.')[0]} is not on a bare machine" in done.stderr
