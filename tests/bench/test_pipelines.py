"""The benches of reading and of the whole job: both sides are checked before they are timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from umd_engine.bench import evaluate, reading
from umd_engine.bench.floor.clock import ToldClock, clock_of
from umd_engine.bench.floor.measure import measure
from umd_engine.bench.floor.repetition import Rule
from umd_engine.errors import MissingFileError

REAL = Path(__file__).parents[2].parent / "shared" / "data"
MODEL = Path(__file__).parents[1] / "recordings" / "nnunet_plain_model"
ONCE = Rule(window=1e-6, warm=0.0, most=1)
COPY = {"cpu": 20.0, "cuda": None}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not here")
def test_reading_compares_equal_voxels() -> None:
    ours, peer = (measure(entry, ONCE, COPY) for entry in reading.entries(REAL / "ct_abdomen" / "CT.nii.gz"))
    assert ours.case == peer.case == "2 MiB of voxels"  # 122 x 101 x 112 int16
    assert ours.timing and peer.timing and peer.call == "np.asanyarray(nibabel.load(path).dataobj)"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not here")
def test_a_reader_with_one_wrong_voxel_is_red() -> None:
    ours, _ = reading.entries(REAL / "ct_abdomen" / "CT.nii.gz")

    def wrong() -> object:
        found = ours.run()
        voxels = found.voxels.copy()
        voxels[3, 4, 5] += 1
        return replace(found, voxels=voxels)

    assert measure(replace(ours, run=wrong), ONCE, COPY).status == "check failed"


def test_no_volume_no_entries(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        reading.entries(tmp_path / "none.nii.gz")


@pytest.mark.full
def test_the_job_tells_its_own_seconds_and_its_counts_are_checked() -> None:
    engine, plain = evaluate.entries(MODEL, volumes=1)
    clock = clock_of(engine)
    assert isinstance(clock, ToldClock) and clock.told((2.5, "counts")) == 2.5
    seconds, counts = plain.run()
    assert seconds > 0 and "liver" in counts
    engine.check((1.0, counts))
    with pytest.raises(AssertionError, match="different voxels"):
        engine.check((1.0, counts.replace("liver", "spleen", 1)))
