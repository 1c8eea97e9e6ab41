"""Deliberately wrong joint counts: each a mistake that a fast one makes."""

from __future__ import annotations

import numpy as np


def _count(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    code = label.ravel().astype(np.int64) * columns + prediction.ravel()
    return np.bincount(code, minlength=rows * columns).reshape(rows, columns).astype(np.int64)


def drops_the_tail(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    whole = label.size // 64 * 64
    return _count(label.ravel()[:whole], prediction.ravel()[:whole], rows, columns)


def counts_the_padding(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    pad = -label.size % 64
    left, right = (np.pad(array.ravel(), (0, pad)) for array in (label, prediction))
    return _count(left, right, rows, columns)


def swaps_the_maps(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return _count(prediction, label, columns, rows).reshape(rows, columns)


def saturates(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """16-bit counters that stop at their end."""
    return np.minimum(_count(label, prediction, rows, columns), 2**16 - 1)


def overflows(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """16-bit counters that start again at zero."""
    return _count(label, prediction, rows, columns).astype(np.uint16).astype(np.int64)


def narrow_result(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return _count(label, prediction, rows, columns).astype(np.int32)


def reads_memory_order(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Each map in the order it lies in memory, whatever the other's."""
    return _count(label.ravel(order="K"), prediction.ravel(order="K"), rows, columns)


def ignores_flips(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    left, right = (
        array[tuple(slice(None, None, -1 if step < 0 else 1) for step in array.strides)]
        for array in (label, prediction)
    )
    return _count(left, right, rows, columns)


def drops_background(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    counts = _count(label, prediction, rows, columns)
    counts[0, 0] = 0
    return counts


def seven_bit_ids(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Ids above 127 lose their highest bit."""
    return _count(label & 127, prediction & 127, rows, columns)


WRONG = (
    drops_the_tail,
    counts_the_padding,
    swaps_the_maps,
    saturates,
    overflows,
    narrow_result,
    reads_memory_order,
    ignores_flips,
    drops_background,
    seven_bit_ids,
)


def _logits(label: np.ndarray, predicted: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return _count(label, predicted.astype(np.uint8), rows, columns)


def last_maximum(label: np.ndarray, logits: np.ndarray, rows: int) -> np.ndarray:
    """`>=` in place of `>`."""
    return _logits(label, len(logits) - 1 - logits[::-1].argmax(axis=0), rows, len(logits))


def starts_at_zero(label: np.ndarray, logits: np.ndarray, rows: int) -> np.ndarray:
    """The best of a voxel begins as 0, not as its first logit."""
    return _logits(label, np.maximum(logits, 0).argmax(axis=0), rows, len(logits))


def starts_at_the_lowest_number(label: np.ndarray, logits: np.ndarray, rows: int) -> np.ndarray:
    """Without a finite logit no class is better than the lowest finite number: one past the last stays."""
    found = logits.argmax(axis=0)
    found[np.isneginf(logits).all(axis=0)] = len(logits) - 1
    return _logits(label, found, rows, len(logits))


def compares_in_half(label: np.ndarray, logits: np.ndarray, rows: int) -> np.ndarray:
    return _logits(label, logits.astype(np.float16).argmax(axis=0), rows, len(logits))


def reads_logits_in_memory_order(label: np.ndarray, logits: np.ndarray, rows: int) -> np.ndarray:
    """The bytes as they lie, as if the logits were contiguous."""
    flat = logits.ravel(order="K").reshape(logits.shape)
    return _logits(label, flat.argmax(axis=0), rows, len(logits))


def leaves_out_the_last_voxels(label: np.ndarray, logits: np.ndarray, rows: int) -> np.ndarray:
    whole = label.size // 1024 * 1024
    return _logits(label.ravel()[:whole], logits.argmax(axis=0).ravel()[:whole], rows, len(logits))


def _planes(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    bits = np.arange(organs)
    one, other = ((words.reshape(-1, 1) >> bits & 1).astype(bool) for words in (reference, prediction))
    return np.stack([(one & other).sum(0), (~one & other).sum(0), (one & ~other).sum(0)], axis=1).astype(np.int64)


def swaps_false_counts(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    return _planes(prediction, reference, organs)


def byte_counters(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    """Counters of a byte that start again at zero after 255 voxels."""
    return _planes(reference, prediction, organs).astype(np.uint8).astype(np.int64)


def full_counters(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    """A carry out of the highest plane is lost: 2^16 voxels without a flush count as none."""
    return _planes(reference, prediction, organs) & 0xFFFF


def low_byte_only(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    return _planes(reference & 255, prediction & 255, organs)


def whole_words_only(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    """Voxels past the last whole 64-bit word are dropped."""
    whole = reference.size * reference.itemsize // 8 * 8 // reference.itemsize
    return _planes(reference.ravel()[:whole], prediction.ravel()[:whole], organs)


def masks_do_not_overlap(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    """A voxel counts for its lowest organ only."""
    lowest = [words & (~words + words.dtype.type(1)) for words in (reference, prediction)]
    return _planes(*lowest, organs)


def each_in_its_own_order(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    return _planes(reference.ravel(order="K"), prediction.ravel(order="K"), organs)


WRONG_LOGITS = (
    last_maximum,
    starts_at_zero,
    starts_at_the_lowest_number,
    compares_in_half,
    reads_logits_in_memory_order,
    leaves_out_the_last_voxels,
)
WRONG_PLANES = (
    swaps_false_counts,
    byte_counters,
    full_counters,
    low_byte_only,
    whole_words_only,
    masks_do_not_overlap,
    each_in_its_own_order,
)
