"""The made store of `bench report`: its shape, and that the reports can be made and timed."""

from umd_engine.bench.report import REPORTS, SUBJECTS, make_store, timed
from umd_engine.evaluation.store import Store


def test_the_made_store_is_a_small_study_and_reports_of_it_are_timed(tmp_path):
    assert make_store(tmp_path, 6) == 6 * 2 * 13 * 6 and SUBJECTS == 954
    with Store(tmp_path / "store.sqlite", read_only=True) as store:
        rows, groups = list(store.rows()), store.groups()
    pairs = {("petct", "ct"), ("petct", "pet"), ("petmri", "mr"), ("petmri", "pet")}
    assert {(r.cohort, r.modality) for r in rows} == pairs
    assert len(groups) == 12
    assert set(groups[rows[0].cohort, rows[0].subject, rows[0].scan_id]) == {"sex", "age", "scanner", "site"}
    took = timed(tmp_path, REPORTS[0])
    assert took.cpu_seconds > 0 and 0.05 < took.gigabytes < 1
