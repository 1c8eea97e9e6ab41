"""The fused finish gives the labels of nnU-Net's rule taken head by head."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from umd_engine.engine.accumulator import Sums
from umd_engine.models.nnunet.finish import (
    _head_by_head,
    kernel_orders,
    labels_from_logits,
    probabilities_from_logits,
    resampled_heads,
)
from umd_engine.models.nnunet.plans import Resampling, read_plans
from umd_engine.models.nnunet.prepare import Prepared

MODEL = Path(__file__).parents[1] / "recordings" / "nnunet_plain_model"
DEFAULT, BY_TORCH = "resample_data_or_seg_to_shape", "resample_torch_fornnunet"
CROP = (slice(2, 23), slice(0, 17), slice(5, 35))
RULES = [
    (Resampling(DEFAULT, 1, 0, None), (1, 1, 1), (1, 1, 1)),
    (Resampling(DEFAULT, 0, 0, None), (1, 1, 1), (0, 0, 0)),
    (Resampling(DEFAULT, 1, 0, None), (5, 1, 1), (0, 1, 1)),
    (Resampling(DEFAULT, 1, 1, None), (1, 1, 5), (1, 1, 1)),
    (Resampling(DEFAULT, 1, 0, False), (1, 5, 1), (1, 1, 1)),
    (Resampling(BY_TORCH, 3, 3, None), (1, 5, 1), (1, 0, 1)),
    (Resampling(BY_TORCH, 3, 3, False), (1, 1, 1), (1, 1, 1)),
    (Resampling(DEFAULT, 3, 0, None), (1, 1, 1), None),
]


@pytest.mark.parametrize("regions", [None, (2, 1, 3)])
@pytest.mark.parametrize(("rule", "spacing", "orders"), RULES)
def test_every_rule(rule, spacing, orders, regions):
    plans = read_plans(MODEL, "3d_fullres")
    labels = replace(plans.labels, heads=3, regions_order=regions)
    plans = replace(plans, resampling_probabilities=rule, spacing=(1.5, 1.5, 1.5), labels=labels)
    case = Prepared(torch.zeros(1, 13, 12, 19), spacing, (25, 17, 40), CROP)
    generator = torch.Generator().manual_seed(0)
    total = torch.rand((13, 12, 19), generator=generator) * 20 + 0.1
    sums = Sums(torch.randn((3, 13, 12, 19), generator=generator) * total, total)
    assert kernel_orders(sums, case, plans) == orders
    found = labels_from_logits(sums, case, plans, official=False)
    expected = _head_by_head(sums.mean(), case, plans, False).permute(plans.transpose_back)
    assert found.shape == expected.shape and found.dtype == torch.uint8 and len(found.unique()) > 2
    logits = torch.stack(list(resampled_heads(sums.mean().double(), case, plans, True)))
    margin = logits.abs().amin(0) if regions else torch.diff(logits.sort(0).values[-2:], dim=0)[0]
    near = torch.zeros(case.full_shape, dtype=torch.bool)
    near[CROP] = margin < 1e-5 * (logits.max() - logits.min())
    assert not ((found != expected) & ~near.permute(plans.transpose_back)).any()
    if regions is None:
        probabilities = probabilities_from_logits(sums, case, plans, official=False)
        assert np.isclose(probabilities.sum(0), 1, atol=1e-5).all()
