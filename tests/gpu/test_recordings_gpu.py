"""Every recording end to end on a CUDA device, torch backend."""

from pathlib import Path

import pytest
import torch

from umd_engine.models.parity.check import check_recordings
from umd_engine.models.parity.recording import find_recordings
from umd_engine.models.parity.table import as_line

RECORDINGS = find_recordings(Path(__file__).parents[1] / "recordings")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.mark.parametrize("recording", RECORDINGS, ids=[r.name for r in RECORDINGS])
def test_recording(recording):
    (row,) = check_recordings([recording], "torch", torch.device("cuda"))
    print(as_line(row))
    assert row.passed, as_line(row)
