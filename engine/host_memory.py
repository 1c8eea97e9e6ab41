"""Host memory: keep what was freed for the next tensor."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from its heap and to keep them when they are freed.

    By default every tensor above 32 MiB is mapped and unmapped afresh, and the kernel zeroes its pages each
    time: a third to a half of a convolution's time on a CPU. The process's size stays at its peak instead.

    Returns:
        Whether the C library took the settings; elsewhere than on glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    largest = 2**31 - 1
    settings = ((_M_MMAP_THRESHOLD, largest), (_M_TRIM_THRESHOLD, largest), (_M_TOP_PAD, 256 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)
