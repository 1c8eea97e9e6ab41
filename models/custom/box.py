"""The box that a localiser's mask asks for."""

from __future__ import annotations

import torch

from umd_engine.engine.accumulator import Sums
from umd_engine.errors import ModelError
from umd_engine.kernels.components import largest_component
from umd_engine.models.custom.decide import activate
from umd_engine.models.custom.description import Localiser
from umd_engine.models.custom.frame import Frame, Triple


def box_of(sums: Sums, frame: Frame, localiser: Localiser) -> tuple[Triple, Triple] | None:
    """Low and high, in turned voxels of the scan, of what was found, with its margin; None: nothing was.

    The centre and the size of the box on the lattice, scaled to the scan and rounded (halves to even), as deepbet
    rounds them.

    Raises:
        ModelError: nothing is found where the description says that this is an error.
    """
    rule = localiser.output
    values = activate(sums.mean(), rule.activation)[rule.channel]
    mask = (values > rule.threshold).to(torch.uint8)
    if rule.largest_component and bool(mask.any()):
        mask = (largest_component(mask, rule.connectivity) != 0).to(torch.uint8)
    low, high = [], []
    for axis in range(3):
        share = mask.float().mean(dim=[other for other in range(3) if other != axis])
        found = torch.nonzero(share > localiser.least)[:, 0]
        if not len(found):
            if localiser.otherwise == "error":
                raise ModelError("the localiser finds nothing", mend="check the image, or set localiser.otherwise")
            return None
        first, last = int(found[0]), int(found[-1]) + 1
        scale = frame.size[axis] / frame.shape[axis]
        middle = round((first + last) / 2 * scale)
        extent = round((last - first) * scale * (1 + 2 * localiser.margin))
        before, beyond = max(int(middle - extent / 2), 0), min(int(middle + extent / 2), frame.size[axis])
        before = min(before, frame.size[axis] - 1)
        low.append(frame.low[axis] + before)
        high.append(frame.low[axis] + max(beyond, before + 1))  # a lattice finer than the scan may round to nothing
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
