"""Dice, IoU and counts: their properties, their edge cases under each convention."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.conventions import CONVENTIONS, convention
from umd_engine.evaluation.metrics import counts_from_confusion, dice, iou, metric, row_score, volume
from umd_engine.evaluation.rows import Row

COUNT = st.integers(0, 10**9)
UMD = CONVENTIONS["umd"]


def counted(masks):
    label, prediction = masks
    return int((label & prediction).sum()), int((prediction & ~label).sum()), int((label & ~prediction).sum())


masks = st.tuples(*[st.lists(st.booleans(), min_size=24, max_size=24).map(np.array)] * 2)


@given(masks)
def test_dice_and_iou_are_those_of_the_sets(pair):
    label, prediction = (set(np.flatnonzero(mask).tolist()) for mask in pair)
    if label and prediction:
        assert dice(*counted(pair), UMD) == 2 * len(label & prediction) / (len(label) + len(prediction))
        assert iou(*counted(pair), UMD) == len(label & prediction) / len(label | prediction)


@given(COUNT, COUNT, COUNT)
def test_dice_is_symmetric_bounded_and_rises_with_iou(tp, fp, fn):
    score, other = dice(tp, fp, fn, UMD), iou(tp, fp, fn, UMD)
    assert score == dice(tp, fn, fp, UMD)
    assert 0 <= other <= score <= 1
    if tp:
        assert score == pytest.approx(2 * other / (1 + other))


@given(st.sampled_from(list(CONVENTIONS.values())), st.integers(1, 10**9))
def test_identical_masks_score_1_and_disjoint_ones_0(rules, n):
    assert dice(n, 0, 0, rules) == iou(n, 0, 0, rules) == 1
    assert dice(0, n, n, rules) == iou(0, n, n, rules) == 0


NAN = math.nan
EMPTIES = {  # both empty, only the label empty, only the prediction empty; a failed case; ddof
    "umd": (1, 0, 0, NAN, 0),
    "umd-prompted": (NAN, NAN, 0, NAN, 0),
    "nnunet": (NAN, 0, 0, NAN, 1),
    "metrics-reloaded": (1, 0, 0, 0, 1),
    "flare": (1, 0, 0, 0, 1),
    "cvpr25": (NAN, NAN, 0, NAN, 1),
    "monai": (NAN, NAN, 0, NAN, 1),
    "autopet": (NAN, NAN, 0, NAN, 1),
    "totalsegmentator": (NAN, NAN, 0, NAN, 1),
    "sat": (1, 0, 0, NAN, 1),
}


def failed_row(status):
    return Row(
        plan="p", cohort="c", subject="s", scan_id="s", modality="ct", model="m", organ="o", status=status
    )  # fmt: skip


@pytest.mark.parametrize("score", [dice, iou])
@pytest.mark.parametrize("name", EMPTIES)
def test_edge_cases_of_each_convention(name, score):
    rules = convention(name)
    failed = row_score(failed_row("corrupt-file"), rules, score.__name__)
    found = [score(0, 0, 0, rules), score(0, 5, 0, rules), score(0, 0, 5, rules), failed, rules.ddof]
    assert found == pytest.approx(EMPTIES[name], nan_ok=True)
    assert math.isnan(row_score(failed_row("no-reference"), rules, score.__name__))


def test_every_convention_is_listed_under_its_name_and_has_a_source():
    assert EMPTIES.keys() == CONVENTIONS.keys()
    assert all(name == rules.name and rules.source for name, rules in CONVENTIONS.items())
    assert {name for name, rules in CONVENTIONS.items() if rules.inferred} == {"umd", "umd-prompted"}


def test_unknown_names_suggest():
    with pytest.raises(UnknownNameError, match="did you mean nnunet"):
        convention("nnunett")
    with pytest.raises(UnknownNameError, match="did you mean dice"):
        metric("dicee")


def test_volume_in_ml():
    assert volume(2000, 0.0135) == pytest.approx(27)


labels = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(labels, st.randoms(use_true_random=False))
def test_counts_of_organs_that_are_unions_of_ids(label, random):
    label = np.array(label)
    prediction = np.array([random.randint(0, 6) for _ in label])
    matrix = np.zeros((5, 7), np.int64)
    np.add.at(matrix, (label, prediction), 1)
    label_ids = {"lung": (1, 2), "lobe": (2,), "liver": (4,), "only_in_label": (3,), "absent": ()}
    prediction_ids = {"liver": (1,), "lung": (5, 3, 3), "lobe": (5,), "absent": (6,), "only_in_prediction": (2,)}
    counts = counts_from_confusion(matrix, label_ids, prediction_ids)
    assert list(counts) == ["lung", "lobe", "liver", "absent"]
    for organ, found in counts.items():
        assert found == counted((np.isin(label, label_ids[organ]), np.isin(prediction, prediction_ids[organ])))
        assert all(type(n) is int for n in found)
