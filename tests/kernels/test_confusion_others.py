"""Counts from logits and of bit planes: properties, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from op_confusion import check_confusion

from umd_engine.errors import BackendError, KernelError
from umd_engine.kernels.confusion import cases, confusion, confusion_from_logits, confusion_planes

pytest.importorskip("numba")
shapes = st.lists(st.integers(1, 30), min_size=1, max_size=3)


@settings(max_examples=80, deadline=None)
@given(shapes, st.integers(1, 20), st.sampled_from(("float16", "float32", "float64")), st.integers(0, 1000))
def test_logits_of_any_shape(shape: list[int], classes: int, dtype: str, seed: int) -> None:
    case = cases.LogitsCase("any", tuple(shape), (5, classes), dtype)
    label, logits = case.make(seed)
    order = np.random.default_rng(seed).permutation(logits.ndim)
    logits = np.ascontiguousarray(logits.transpose(order)).transpose(np.argsort(order))
    expected = confusion(label, logits.argmax(0).astype(np.uint8), 5, classes, backend="reference")
    np.testing.assert_array_equal(confusion_from_logits(label, logits, 5, backend="cpu"), expected)


@settings(max_examples=80, deadline=None)
@given(shapes, st.sampled_from((("uint8", 8), ("uint16", 16), ("uint32", 32))), st.integers(0, 1000))
def test_planes_of_any_shape(shape: list[int], word: tuple[str, int], seed: int) -> None:
    organs = 1 + seed % word[1]
    words, other = cases.PlanesCase("any", tuple(shape), organs, word[0]).make(seed)
    counts = confusion_planes(words, other, organs, backend="cpu")
    for organ in range(organs):
        one, two = ((array >> organ & 1).astype(np.uint8) for array in (words, other))
        joint = confusion(one, two, 2, 2, backend="reference")
        assert counts[organ].tolist() == [joint[1, 1], joint[0, 1], joint[1, 0]]


def test_brain_floats_and_tensors() -> None:
    label, logits = cases.LogitsCase("any", (20, 30, 40)).make()
    tensors = torch.from_numpy(label), torch.from_numpy(logits).bfloat16()
    expected = confusion_from_logits(label, logits, 14, backend="reference")
    np.testing.assert_array_equal(confusion_from_logits(*tensors, 14), expected)
    np.testing.assert_array_equal(confusion_from_logits(*tensors, 14, backend="reference"), expected)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("where", [(0, 0), (13, 0), (5, 70_000)])
def test_nan_is_refused(backend: str, where: tuple[int, int]) -> None:
    logits = np.zeros((14, 70_001), np.float32)
    logits[where] = np.nan
    with pytest.raises(KernelError, match="logits hold NaN"):
        confusion_from_logits(np.zeros(70_001, np.uint8), logits, 14, backend=backend)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_label_id_above_the_classes_is_refused(backend: str) -> None:
    label = np.full(3000, 5, np.uint8)
    with pytest.raises(KernelError, match="label holds id 5 of 5 classes"):
        confusion_from_logits(label, np.zeros((3, 3000), np.float32), 5, backend=backend)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_a_bit_beyond_the_organs_is_refused(backend: str, dtype: str) -> None:
    clean, faulty = np.zeros(5001, dtype), np.zeros(5001, dtype)
    faulty[5000] = 1 << 13
    for words in ((clean, faulty), (faulty, clean), (faulty, faulty)):
        with pytest.raises(KernelError, match="bit 13 is set and there are 13 organs"):
            confusion_planes(*words, 13, backend=backend)
    assert confusion_planes(clean, faulty, 14, backend=backend)[13].tolist() == [0, 1, 0]


def test_empty_masks_count_as_zeros() -> None:
    words = np.zeros((4, 5, 6), np.uint8)
    assert confusion_planes(words, words, 3).tolist() == [[0, 0, 0]] * 3
    assert confusion_planes(words, words + 2, 3).tolist() == [[0, 0, 0], [0, 120, 0], [0, 0, 0]]


MAP, LOGITS = np.zeros((2, 3), np.uint8), np.zeros((4, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("label", "logits", "classes", "fault"),
    [
        (MAP.astype(np.int64), LOGITS, 2, "label is int64, not uint8"),
        (MAP, LOGITS.astype(np.int32), 2, "logits is int32, not float16 or bfloat16"),
        (MAP, LOGITS[0], 2, r"unlike shapes \(2, 3\) and \(3,\)"),
        (MAP, np.zeros((257, 2, 3), np.float32), 2, "number of classes is 257"),
        (MAP, np.zeros((0, 2, 3), np.float32), 2, "number of classes is 0"),
        (MAP, LOGITS, 0, "classes_label is 0"),
        (MAP, torch.zeros(4, 2, 3, device="meta"), 2, "lie on cpu and meta"),
    ],
)
def test_refuses_logits(label: Any, logits: Any, classes: int, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        confusion_from_logits(label, logits, classes)


@pytest.mark.parametrize(
    ("words", "other", "organs", "fault"),
    [
        (MAP.astype(np.int16), MAP, 2, "reference is int16, not uint8 or uint16 or uint32"),
        (MAP, MAP.astype(np.uint16), 2, "unlike words uint8 and uint16"),
        (MAP, MAP, 9, "9 organs in words of 8 bits"),
        (MAP, MAP, 0, "0 organs"),
        (MAP, MAP.T, 2, "unlike shapes"),
    ],
)
def test_refuses_planes(words: Any, other: Any, organs: int, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        confusion_planes(words, other, organs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    with pytest.raises(BackendError):
        confusion_planes(MAP, MAP, 2, backend="gpu")
    with pytest.raises(BackendError):
        confusion_from_logits(MAP, LOGITS, 2, backend="gpu")


@pytest.mark.full
def test_sixty_million_voxels() -> None:
    check_confusion(cases.FULL, lambda *given: confusion(*given, backend="cpu"))
    words, other = cases.PlanesCase("60-million", cases.FULL.shape).make()
    expected = confusion_planes(words, other, 13, backend="reference")
    np.testing.assert_array_equal(confusion_planes(words, other, 13), expected)
