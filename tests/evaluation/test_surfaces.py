"""Surface metrics and volumes of rows: by hand under every convention, and against other libraries."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from umd_engine.errors import OptionError, UnknownNameError
from umd_engine.evaluation.conventions import CONVENTIONS, convention
from umd_engine.evaluation.metrics import METRICS, not_computed, row_score, values
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.store import Store
from umd_engine.evaluation.surfaces import EMPTY, FIGURES, TOLERANCES, pack, unpack
from umd_engine.evaluation.tables import build_tables
from umd_engine.kernels.surface import cases, surface_distances
from umd_engine.kernels.surface.grids import ELEMENTS

NAN = math.nan
SURFACE = [name for name, metric in METRICS.items() if metric.of_surfaces]


def packed(label, prediction, spacing=(1.0, 1.0, 1.0)):
    kinds = [surface_distances(label, prediction, (1,), spacing, elements=one)[1] for one in ELEMENTS]
    return pack(kinds)


def row_of(label, prediction, spacing=(1.0, 1.0, 1.0), organ="liver", **more):
    label, prediction = label != 0, prediction != 0
    counts = {
        "tp": int((label & prediction).sum()),
        "fp": int((prediction & ~label).sum()),
        "fn": int((label & ~prediction).sum()),
    }
    key = {"plan": "p", "cohort": "c", "subject": "s", "scan_id": "s_ct", "modality": "ct", "model": "m"}
    fixed = {"status": "ok", "voxel_ml": math.prod(spacing) / 1000, "surfaces": packed(label, prediction, spacing)}
    return Row(**(key | counts | fixed | {"organ": organ} | more))


def three_apart():
    """Two voxels 3 mm apart: as voxels all is 3; of their corners half are 2 and half are 3 mm away, each way."""
    label, prediction = np.zeros((2, 9, 9, 9), bool)
    label[4, 4, 2] = prediction[4, 4, 5] = True
    return label, prediction


# of aorta and liver the NSD; HD, HD95, ASSD, MASD
BY_HAND = {
    "umd": (0.5, 1.0, 3.0, 3.0, 2.5, 2.5),  # 2 mm, 5 mm
    "umd-prompted": (0.5, 1.0, 3.0, 3.0, 2.5, 2.5),
    "nnunet": (0.5, 1.0, 3.0, 3.0, 2.5, 2.5),
    "flare": (0.5, 1.0, 3.0, 3.0, 2.5, 2.5),
    "autopet": (0.5, 1.0, 3.0, 3.0, 2.5, 2.5),
    "cvpr25": (0.5, 0.5, 3.0, 3.0, 2.5, 2.5),  # 2 mm
    "totalsegmentator": (1.0, 1.0, 3.0, 3.0, 2.5, 2.5),  # 3 mm
    "sat": (0.0, 0.0, 3.0, 3.0, 2.5, 2.5),  # 1 mm
    "monai": (0.0, 1.0, 3.0, 3.0, 3.0, 3.0),  # voxels; 2 mm, 5 mm
    "metrics-reloaded": (0.0, 1.0, 3.0, 3.0, 3.0, 3.0),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_two_voxels_by_hand(name):
    rules = convention(name)
    aorta, liver = (row_of(*three_apart(), organ=organ) for organ in ("aorta", "liver"))
    found = [row_score(aorta, rules, "nsd"), *(row_score(liver, rules, metric) for metric in SURFACE)]
    assert found == pytest.approx(BY_HAND[name])
    assert row_score(liver, rules, "dice") == 0


# NSD, then distances: both empty, only the label, only the prediction, absent, failed
EDGES = {
    "umd": ((1, 0, 0, NAN, NAN), (NAN, NAN, NAN, NAN, NAN)),
    "umd-prompted": ((NAN, NAN, 0, NAN, NAN), (NAN, NAN, NAN, NAN, NAN)),
    "nnunet": ((NAN, 0, 0, NAN, NAN), (NAN, NAN, NAN, NAN, NAN)),
    "metrics-reloaded": ((1, 0, 0, 1, 0), (0, NAN, NAN, 0, NAN)),
    "flare": ((1, 0, 0, 1, 0), (NAN, NAN, NAN, NAN, NAN)),
    "cvpr25": ((NAN, NAN, 0, NAN, NAN), (NAN, NAN, NAN, NAN, NAN)),
    "monai": ((NAN, 0, 0, NAN, NAN), (NAN, NAN, NAN, NAN, NAN)),
    "autopet": ((NAN, NAN, 0, NAN, NAN), (NAN, NAN, NAN, NAN, NAN)),
    "totalsegmentator": ((NAN, NAN, 0, NAN, NAN), (NAN, NAN, NAN, NAN, NAN)),
    "sat": ((1, 0, 0, 1, NAN), (NAN, NAN, NAN, NAN, NAN)),
}


def edge_rows():
    nothing, something = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    something[1, 1, 1] = True
    rows = [row_of(*maps) for maps in ((nothing, nothing), (nothing, something), (something, nothing))]
    absent = replace(rows[0], status="absent")
    failed = replace(rows[0], status="bad-label", tp=None, fp=None, fn=None, voxel_ml=None, surfaces=None)
    return [*rows, absent, failed]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_edge_cases_of_surfaces(name):
    nsd, distance = EDGES[name]
    rows = edge_rows()
    assert [row.surfaces for row in rows] == [EMPTY] * 4 + [None]
    assert values(rows, "nsd", convention(name)) == pytest.approx(nsd, nan_ok=True)
    for metric in ("hd", "hd95", "assd", "masd"):
        assert values(rows, metric, convention(name)) == pytest.approx(distance, nan_ok=True)


def test_every_convention_is_in_both_tables():
    assert BY_HAND.keys() == EDGES.keys() == CONVENTIONS.keys()


def test_volumes_in_ml_whatever_the_convention():
    row = replace(edge_rows()[0], tp=10, fp=6, fn=1, voxel_ml=0.5)
    rows = [row, *edge_rows()]
    for name in CONVENTIONS:
        rules = convention(name)
        ml = 0.001
        assert values(rows, "volume", rules) == pytest.approx([2.5, 0, ml, -ml, NAN, NAN], nan_ok=True)
        assert values(rows, "fp-volume", rules) == pytest.approx([3.0, 0, ml, 0, NAN, NAN], nan_ok=True)
        assert values(rows, "fn-volume", rules) == pytest.approx([0.5, 0, 0, ml, NAN, NAN], nan_ok=True)


def test_values_of_no_row_and_of_unknown_names():
    assert all(values([], name, convention("umd")).shape == (0,) for name in METRICS)
    with pytest.raises(UnknownNameError, match="did you mean hd95"):
        values([], "hd9", convention("umd"))
    row = row_of(*three_apart())
    assert row_score(row, convention("umd"), "dsc") == row_score(row, convention("umd"), "dice")


def test_a_tolerance_that_rows_do_not_hold_is_named():
    rules = replace(convention("cvpr25"), tolerance=2.2)
    with pytest.raises(OptionError, match=r"no NSD at 2\.2 mm.*2, 2\.5, 3"):
        values([row_of(*three_apart())], "nsd", rules)


def test_every_convention_and_definition_follows_from_the_bytes_of_a_row():
    for case in cases.CASES:
        if case.full or case.kind in ("both-empty", "one-empty"):
            continue
        label, prediction = case.make()
        kinds = [surface_distances(label, prediction, case.ids, case.spacing, elements=one) for one in ELEMENTS]
        for organ, place in product(case.ids, (0, 1)):
            one = kinds[place][organ]
            if one.status != "ok":
                continue
            blob = pack([kind[organ] for kind in kinds])
            row = replace(edge_rows()[0], tp=1, fp=1, fn=1, surfaces=blob)
            assert len(blob) == 8 * len(ELEMENTS) * len(FIGURES)
            metrics = one.metrics(None)
            for definition in ("max", "pooled", "mean"):
                rules = replace(convention("umd"), elements=ELEMENTS[place], hd95=definition)
                assert row_score(row, rules, "hd95") == getattr(metrics, f"hd95_{definition}")
            for name in ("hd", "assd", "masd"):
                assert row_score(row, rules, name) == pytest.approx(getattr(metrics, name), rel=1e-12)
            for tolerance in TOLERANCES:
                at = replace(rules, tolerance=tolerance, tolerances={})
                assert row_score(row, at, "nsd") == pytest.approx(one.nsd(tolerance), rel=1e-12)


def test_rows_without_surfaces_have_none():
    assert np.isnan(unpack([None, EMPTY], "voxels")).all() and unpack([], "surfels").shape == (0, len(FIGURES))


def test_a_table_of_an_older_store_says_what_was_not_computed():
    rows = [replace(row, subject=str(i), surfaces=None) for i, row in enumerate(edge_rows())]
    rows.append(row_of(*three_apart(), organ="aorta"))
    assert [not_computed(row, METRICS["nsd"]) for row in rows] == [True] * 4 + [False] * 2
    (table,) = build_tables(rows, convention("flare"), "nsd")
    aorta, liver = (row.lines[0].cells[0] for row in sorted(table.organs, key=lambda row: row.organ))
    assert (aorta.n, aorta.not_computed, round(aorta.mean, 12)) == (1, 0, 0.5)
    assert (liver.n, liver.not_computed, liver.failed, liver.mean) == (1, 4, 1, 0)  # the failure alone
    (table,) = build_tables(rows, convention("flare"), "dice")
    assert all(cell.not_computed == 0 for row in table.rows for line in row.lines for cell in line.cells)


def test_the_rows_of_the_whole_study_stay_below_200_mb(tmp_path):
    plan, blob = "0123456789abcdef", row_of(*three_apart()).surfaces
    more = {"plan": plan, "cohort": "petct", "model": "sam-med3d-turbo", "surfaces": blob, "inputs": plan}
    more |= {"prompt": "paper-1pt", "prompt_hash": plan, "uses_label": "click", "seconds": 1.25}
    row = replace(row_of(*three_apart()), **more)
    path = tmp_path / "store.sqlite"
    with Store(path) as store:
        store.add([replace(row, subject=f"subject-{i:04d}", scan_id=f"subject-{i:04d}_ct") for i in range(4000)])
    assert path.stat().st_size / 4000 * 954 * 2 * 13 * 6 < 200e6


MAPS = [(case.make(), case.spacing) for case in cases.CASES if case.name in ("odd", "ten-to-one", "far")]


@pytest.mark.parametrize(("maps", "spacing"), MAPS)
def test_surfels_agree_with_deepminds_library(maps, spacing):
    peer = pytest.importorskip("surface_distance")
    label, prediction = (one == 1 for one in maps)
    row, theirs = row_of(label, prediction, spacing), peer.compute_surface_distances(label, prediction, spacing)
    for name, tolerance in (("flare", 5), ("cvpr25", 2), ("totalsegmentator", 3), ("sat", 1)):
        expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert row_score(row, convention(name), "nsd") == pytest.approx(expected, rel=1e-12)
    for metric, percent in (("hd", 100), ("hd95", 95)):
        expected = peer.compute_robust_hausdorff(theirs, percent)
        assert row_score(row, convention("umd"), metric) == pytest.approx(expected, rel=1e-12)
    average = np.mean(peer.compute_average_surface_distance(theirs))
    assert row_score(row, convention("umd"), "masd") == pytest.approx(average, rel=1e-12)


@pytest.mark.parametrize(("maps", "spacing"), MAPS)
def test_monai_agrees_with_monai(maps, spacing):
    peer = pytest.importorskip("monai.metrics")
    label, prediction = (one == 1 for one in maps)
    one, other = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, label))
    asked = {"include_background": True, "spacing": spacing}
    expected = {
        "dice": peer.compute_dice(one, other),
        "iou": peer.compute_iou(one, other),
        "nsd": peer.compute_surface_dice(one, other, [5.0], **asked),
        "hd": peer.compute_hausdorff_distance(one, other, **asked),
        "hd95": peer.compute_hausdorff_distance(one, other, percentile=95, **asked),
        "assd": peer.compute_average_surface_distance(one, other, symmetric=True, **asked),
    }
    row = row_of(label, prediction, spacing)
    for name, value in expected.items():
        assert row_score(row, convention("monai"), name) == pytest.approx(float(value), rel=1e-5), name


def test_empty_masks_are_monais_where_it_has_a_number():
    peer = pytest.importorskip("monai.metrics")
    masks = torch.zeros(2, 1, 1, 6, 6, 6)
    masks[1, ..., 2:4, 2:4, 2:4] = 1
    pairs = [(0, 0), (0, 1), (1, 0)]  # label, prediction
    nsd = [float(peer.compute_surface_dice(masks[p], masks[t], [1.0], include_background=True)) for t, p in pairs]
    dice = [float(peer.compute_dice(masks[p], masks[t], ignore_empty=True)) for t, p in pairs]
    rows = edge_rows()[:3]
    assert values(rows, "nsd", convention("monai")) == pytest.approx(nsd, nan_ok=True)
    assert values(rows, "dice", convention("monai")) == pytest.approx(dice, nan_ok=True)


@pytest.mark.parametrize(("maps", "spacing"), MAPS)
def test_metrics_reloaded_agrees_with_metrics_reloaded(maps, spacing):
    peer = pytest.importorskip("MetricsReloaded.metrics.pairwise_measures")
    label, prediction = ((one == 1).astype(int) for one in maps)
    theirs = peer.BinaryPairwiseMeasures(
        prediction, label, connectivity_type=1, pixdim=list(spacing), dict_args={"nsd": 5}
    )
    hd, assd, hd95, masd = theirs.measured_distance()
    expected = {"nsd": theirs.normalised_surface_distance(), "hd": hd, "hd95": hd95, "assd": assd, "masd": masd}
    row = row_of(label, prediction, spacing)
    for name, value in expected.items():
        assert row_score(row, convention("metrics-reloaded"), name) == pytest.approx(value, rel=1e-9), name
