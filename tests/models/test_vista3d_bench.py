"""What the bench's row of windows left out tells, without running a network."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from umd_engine.bench.models import vista3d as bench
from umd_engine.bench.models.counting import Counts
from umd_engine.models.vista3d.options import Options

PLAIN, SKIPPING = Options(), Options(skip_air=True)


def found(labels, windows):
    return bench.Found(labels, Counts(Counter({"vista3d.logits": windows})))


def test_the_row_says_what_was_left_out_and_what_that_changed(monkeypatch):
    monkeypatch.setattr(bench, "FIRST", {})
    monkeypatch.setattr(bench, "scan", lambda: SimpleNamespace(voxels=np.where(np.arange(64) < 32, -1000, 40)))
    first = np.zeros(64, np.uint8)
    first[:8], first[40:48], first[50:54] = 1, 1, 28  # liver in the air and in the body, a lobe
    with pytest.raises(AssertionError, match="no labels"):
        bench._check(SKIPPING)(found(first, 11))
    bench._check(PLAIN)(found(first, 16))
    assert bench._counted(PLAIN)(found(first, 16)) == "16 windows"
    skipped = first.copy()
    skipped[:8] = 0  # in the air alone
    bench._check(SKIPPING)(found(skipped, 11))
    told = bench._counted(SKIPPING)(found(skipped, 11))
    assert "5 of 16 windows left out" in told and "2 organs: mean 0.8333, least 0.6667" in told
    skipped[45] = 0
    with pytest.raises(AssertionError, match="1 of 32 voxels differ"):
        bench._check(SKIPPING)(found(skipped, 11))
