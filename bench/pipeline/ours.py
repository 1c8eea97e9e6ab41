"""The engine's side: manifest in, rows in a store and masks out; and the scoring of masks that exist."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from umd_engine.bench.pipeline.clock import Counts, Seconds, Told
from umd_engine.bench.pipeline.cohort import NETWORKS, Cohort, case_of
from umd_engine.data.manifest import ScanRow
from umd_engine.engine.trace import Span, Trace
from umd_engine.evaluation.cases import mask_path
from umd_engine.evaluation.run import Evaluation, Settings
from umd_engine.evaluation.score import score_command
from umd_engine.evaluation.store import Store
from umd_engine.models.catalog import Request


def evaluate(cohort: Cohort, variant: str) -> Told:
    """Each network on the scans of its modality: read, segment, write masks, score into a store."""
    masks = Path(tempfile.mkdtemp(dir=cohort.folder))
    seconds = Seconds()
    counts: Counts = {}
    for modality in NETWORKS:
        rows, run = cohort.of(modality), masks / modality
        with seconds.counted():
            work = _finished(rows, run, [modality], variant, Settings(save_masks=True))
        for case in work.wanted:
            mask_path(case, run).rename(masks / f"{case_of(case.row)}.nii.gz")
        counts |= counts_of(run)
    return Told(seconds, masks, counts)


def evaluate_all(cohort: Cohort) -> Told:
    """Both networks on every scan, as a study does; tells the share of the time with a batch in flight."""
    with tempfile.TemporaryDirectory(dir=cohort.folder) as folder:
        path, seconds = Path(folder) / "trace.json", Seconds()
        with seconds.counted():
            _finished(cohort.rows, Path(folder) / "run", list(NETWORKS), "engine", Settings(trace=path))
        counts = counts_of(Path(folder) / "run", by_model=True)
        return Told(seconds, counts=counts, note=f"a batch in flight {share_in_flight(path):.1%} of the time")


def requests_of(names: Iterable[str], variant: str) -> dict[Request, dict[str, str]]:
    """The networks of modalities, as asked for."""
    return {Request.parse(f"nnunet@{name}={NETWORKS[name]}"): {"variant": variant} for name in names}


def _finished(rows: Sequence[ScanRow], run: Path, names: Sequence[str], variant: str, settings: Settings) -> Evaluation:
    models = [request.load(options) for request, options in requests_of(names, variant).items()]
    work = Evaluation(rows, models, run, settings)
    for ended in work.run():
        if ended.error is not None:
            raise ended.error
    return work


def share_in_flight(path: Path) -> float:
    """Of the time between the first batch's start and the last one's end, from a trace's file."""
    events = [event for event in json.loads(path.read_text(encoding="utf-8"))["traceEvents"] if event["ph"] == "X"]
    trace = Trace()
    trace.spans += [Span(e["cat"], e["name"], str(e["tid"]), e["ts"], e["ts"] + e["dur"]) for e in events]
    return trace.busy()


def counts_of(run: Path, by_model: bool = False) -> Counts:
    """Of every row of a store."""
    counts: Counts = {}
    with Store(run / "store.sqlite") as store:
        for row in store.rows():
            assert row.tp is not None and row.fp is not None and row.fn is not None, row
            case = f"{row.subject}_{row.modality}{f' {row.model}' if by_model else ''}"
            counts.setdefault(case, {})[row.organ] = (row.tp, row.fp, row.fn)
    return counts


def score(cohort: Cohort, masks: Path, metrics: tuple[str, ...] = ("dice",)) -> Told:
    """`umd-engine score MASKS LABELS --metrics ... --json`."""
    seconds = Seconds()
    with seconds.counted():
        text, failed = score_command(masks, cohort.labels, metrics=metrics, as_json=True)
    assert not failed, text
    counts: Counts = {}
    rows = json.loads(text)
    for row in rows:
        counts.setdefault(row["case"], {})[row["organ"]] = (row["tp"], row["fp"], row["fn"])
    measured = sum(row["hd95"] is not None for row in rows)
    return Told(seconds, counts=counts, note=f"NSD, HD, HD95, ASSD of {measured} organs" if measured else "")
