"""From logits at the plans' spacing back to a label map on the image's own grid."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from umd_engine.engine.accumulator import Sums
from umd_engine.kernels.windows import finish
from umd_engine.models.nnunet.plans import Plans
from umd_engine.models.nnunet.prepare import Prepared
from umd_engine.models.nnunet.resampling import resample, separate_axis


def resampled_heads(logits: torch.Tensor, case: Prepared, plans: Plans, official: bool) -> Iterator[torch.Tensor]:
    """Each head's logits on the cropped image's grid, one at a time: memory does not grow with the classes."""
    for head in range(logits.shape[0]):
        yield resample(
            logits[head : head + 1],
            case.crop_shape,
            plans.spacing,
            case.spacing,
            plans.resampling_probabilities,
            exact=official,
        )[0]


def labels_from_logits(logits: Sums, case: Prepared, plans: Plans, official: bool) -> torch.Tensor:
    """The label map, uint8, in the order of nnU-Net's readers.

    Without regions the first largest head wins; with regions each head with sigmoid > 0.5 is painted in
    the plans' order, later over earlier. Outside `official`, nearest and linear rules are the kernel's: it divides,
    resamples and decides in one pass, in float32, without a head on the image's grid.

    Args:
        logits: [heads, X, Y, Z], on the prepared grid.
        official: resampled logits keep the type of the sums (float16 in the official code).
    """
    orders = None if official else kernel_orders(logits, case, plans)
    if orders is None:
        return _head_by_head(logits.mean(), case, plans, official).permute(plans.transpose_back)
    labels = finish(
        logits.values,
        case.crop_shape,
        total=logits.total,
        orders=orders,
        regions=plans.labels.regions_order,
        full=case.full_shape,
        corner=[side.start for side in case.crop],
    )
    return labels.permute(plans.transpose_back)


def kernel_orders(logits: Sums, case: Prepared, plans: Plans) -> tuple[int, int, int] | None:
    """The plans' rule for probabilities as an order an axis; None where it is neither nearest nor linear."""
    rule = plans.resampling_probabilities
    if tuple(logits.values.shape[1:]) == case.crop_shape:
        return (0, 0, 0)
    if rule.function == "no_resampling_hack":
        return None
    by_torch = rule.function == "resample_torch_fornnunet"
    in_plane, across = (1, 0) if by_torch else (rule.order, rule.order_z)
    axis = separate_axis(rule.force_separate_z, plans.spacing, case.spacing, rule.anisotropy_threshold)
    orders = [in_plane] * 3
    if axis is not None:
        orders[axis] = across
    return None if max(orders) > 1 else tuple(orders)  # type: ignore[return-value]


def _head_by_head(logits: torch.Tensor, case: Prepared, plans: Plans, official: bool) -> torch.Tensor:
    """Each head resampled by the plans' rule, then compared with the largest so far."""
    cropped = torch.zeros(case.crop_shape, dtype=torch.uint8, device=logits.device)
    best: torch.Tensor | None = None
    for head, values in enumerate(resampled_heads(logits, case, plans, official)):
        if plans.labels.regions_order is not None:
            cropped[torch.sigmoid(values.float()) > 0.5] = plans.labels.regions_order[head]
        elif best is None:
            best = values
        else:
            cropped[values > best] = head
            best = torch.maximum(best, values)
    full = torch.zeros(case.full_shape, dtype=torch.uint8, device=logits.device)
    full[case.crop] = cropped
    return full


def probabilities_from_logits(logits: Sums, case: Prepared, plans: Plans, official: bool) -> torch.Tensor:
    """Softmax (regions: sigmoid) [heads, ...] in the order of nnU-Net's readers; outside the crop background."""
    heads = torch.stack([values.float() for values in resampled_heads(logits.mean(), case, plans, official)])
    regions = plans.labels.regions_order is not None
    full = torch.zeros((len(heads), *case.full_shape), device=heads.device)
    if not regions:
        full[0] = 1
    full[(slice(None), *case.crop)] = torch.sigmoid(heads) if regions else torch.softmax(heads, 0)
    return full.permute(0, *(i + 1 for i in plans.transpose_back))
