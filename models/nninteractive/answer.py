"""What the network's two outputs say."""

from __future__ import annotations

import torch

from umd_engine.engine.unit import Unit
from umd_engine.errors import ModelError


def foreground(logits: torch.Tensor, unit: Unit) -> torch.Tensor:
    """uint8 [x, y, z] of logits [2, x, y, z]: the object's is larger; of equals the background.

    Raises:
        ModelError: a logit is not finite (float16 overflows at 65504).
    """
    low, high = torch.aminmax(logits)
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        raise ModelError(f"{unit.name} gives infinite or undefined logits", mend="use --precision fp32 or bf16")
    return (logits[1] > logits[0]).to(torch.uint8)
