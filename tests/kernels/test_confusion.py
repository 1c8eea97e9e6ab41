"""Properties of the joint counts, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from umd_engine.errors import BackendError, KernelError, OptionError
from umd_engine.kernels.confusion import confusion

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytest.importorskip("numba")


@st.composite
def pairs_of_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two maps of one shape; each is a view of its own permutation, flips and steps."""
    shape = draw(st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(lambda s: np.prod(s) < 40_000))
    seed, high = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 6))
    rng = np.random.default_rng(seed)
    maps = []
    for _ in range(2):
        order = draw(st.permutations(range(len(shape))))
        steps = draw(st.lists(st.sampled_from((1, -1, 2)), min_size=len(shape), max_size=len(shape)))
        stored = [shape[axis] * abs(steps[axis]) for axis in order]
        runs = draw(st.sampled_from((1, 7, 200)))
        flat = np.repeat(rng.integers(0, high, int(np.prod(stored)) // runs + 1, dtype=np.uint8), runs)
        view = flat[: int(np.prod(stored))].reshape(stored).transpose(np.argsort(order))
        maps.append(view[tuple(slice(None, None, step) for step in steps)])
    return maps[0], maps[1]


@settings(max_examples=150, deadline=None)
@given(pairs_of_maps())
def test_any_layout(maps: tuple[np.ndarray, np.ndarray]) -> None:
    expected = confusion(*maps, 6, 6, backend="reference")
    np.testing.assert_array_equal(confusion(*maps, 6, 6, backend="cpu"), expected)
    assert expected.sum() == maps[0].size


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, st.integers(1, 3000)), st.integers(1, 256), st.integers(1, 256))
def test_any_id_is_counted_or_refused(label: np.ndarray, rows: int, columns: int) -> None:
    prediction = label[::-1]
    if label.max() >= min(rows, columns):
        with pytest.raises(KernelError, match=f"id {label.max()}"):
            confusion(label, prediction, rows, columns, backend="cpu")
    else:
        expected = confusion(label, prediction, rows, columns, backend="reference")
        np.testing.assert_array_equal(confusion(label, prediction, rows, columns, backend="cpu"), expected)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("where", [0, 777, 4095, 4099])
def test_an_id_above_the_classes_is_refused(backend: str, where: int) -> None:
    clean, faulty = np.zeros(4100, np.uint8), np.zeros(4100, np.uint8)
    faulty[where] = 14
    with pytest.raises(KernelError, match="label holds id 14 of 14 classes"):
        confusion(faulty, clean, 14, 14, backend=backend)
    with pytest.raises(KernelError, match="prediction holds id 14 of 14 classes"):
        confusion(clean, faulty, 14, 14, backend=backend)
    assert confusion(faulty, clean, 15, 14, backend=backend)[14, 0] == 1


MAP = np.zeros((2, 3), np.uint8)


@pytest.mark.parametrize(
    ("label", "prediction", "classes", "fault"),
    [
        (MAP.astype(np.int16), MAP, 2, "int16, not uint8"),
        (MAP, torch.zeros(2, 3), 2, "torch.float32, not uint8"),
        (MAP, MAP.T, 2, "unlike shapes"),
        (MAP.tolist(), MAP, 2, "list, not an array"),
        (MAP, MAP, 0, "classes_label is 0"),
        (MAP, MAP, 257, "classes_label is 257"),
    ],
)
def test_refuses(label: Any, prediction: Any, classes: int, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        confusion(label, prediction, classes, classes)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(OptionError, match="unknown backend 'cuda'"):
        confusion(MAP, MAP, 2, 2, backend="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    with pytest.raises(BackendError):
        confusion(MAP, MAP, 2, 2, backend="gpu")


def test_arrays_and_tensors_mix_and_read_only_maps_are_fine() -> None:
    label = np.arange(6, dtype=np.uint8).reshape(2, 3)
    label.flags.writeable = False
    counts = confusion(label, torch.arange(6, dtype=torch.uint8).view(2, 3), 6, 6)
    np.testing.assert_array_equal(counts, np.eye(6, dtype=np.int64))


# A source in a folder that nobody may write to, not even root, and no home: numba finds no place for its cache.
UNCACHED = """
import sys, types
from pathlib import Path
import numba
import numpy as np
from umd_engine.kernels.confusion import confusion, cpu, loops
copy = types.ModuleType("copy_of_loops")
exec(compile(Path(loops.__file__).read_text(), "/proc/version", "exec"), vars(copy))
try:
    numba.njit(cache=True)(copy.count_flat)
except RuntimeError:
    print("no cache")
cpu.loops = copy
maps = np.random.default_rng(0).integers(0, 5, (2, 40, 41, 42), dtype=np.uint8)
for one, other in (maps, (maps[0], np.asfortranarray(maps[1]))):
    expected = confusion(one, other, 5, 5, backend="reference")
    np.testing.assert_array_equal(confusion(one, other, 5, 5, backend="cpu"), expected)
print("counted")
"""


@pytest.mark.skipif(not Path("/proc/version").is_file(), reason="needs Linux's /proc")
def test_without_a_folder_for_compiled_code_it_compiles_every_time() -> None:
    left_out = ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        [sys.executable, "-c", UNCACHED],
        env={**environment, "HOME": "/proc/version/home"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split("\n")[:2] == ["no cache", "counted"], done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_maps_on_a_device_that_is_not_the_current_one() -> None:
    maps = [torch.arange(6, dtype=torch.uint8, device="cuda:1") for _ in range(2)]
    np.testing.assert_array_equal(confusion(*maps, 6, 6), np.eye(6, dtype=np.int64))
    assert torch.cuda.current_device() == 0


def test_several_threads_may_count_at_once() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 5, (40, 41, 42), dtype=np.uint8) for _ in range(8)]
    expected = [confusion(one, maps[0], 5, 5, backend="reference") for one in maps]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: confusion(one, maps[0], 5, 5, backend="cpu"), maps))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not (DATA / "ct_abdomen").is_dir(), reason="needs the volumes of shared/data")
def test_real_label_maps_of_two_tools() -> None:
    old, new = (
        _voxels(DATA / "ct_abdomen" / name)
        for name in ("labels_v1_104classes.nii.gz", "labels_v2_117classes_fastmodel.nii.gz")
    )
    counts = confusion(old, new, 105, 118, backend="cpu")
    np.testing.assert_array_equal(counts, confusion(old, new, 105, 118, backend="reference"))
    for label in np.unique(old)[:10]:
        assert counts[label].sum() == np.count_nonzero(old == label)


def _voxels(path: Path) -> np.ndarray:
    nibabel = pytest.importorskip("nibabel")
    return np.asanyarray(nibabel.load(path).dataobj).astype(np.uint8)
