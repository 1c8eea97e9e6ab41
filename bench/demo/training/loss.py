"""nnU-Net's loss: cross-entropy plus soft Dice, at every resolution of the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import log_softmax


def dice_and_entropy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft Dice loss and mean cross-entropy.

    The Dice is of the whole batch, the mean over the organs that occur in it: an organ that does not occur has
    no overlap to improve, and cross-entropy tells the network about it.

    Args:
        logits: [N, classes, Z, Y, X]; class 0 is background.
        labels: [N, Z, Y, X] int64.
    """
    logs = log_softmax(logits.float(), 1)
    probabilities, classes = logs.exp(), logits.shape[1]
    true_log = logs.gather(1, labels[:, None])
    flat = labels.flatten()
    overlap = torch.zeros(classes).index_add(0, flat, true_log.exp().flatten())
    reference = torch.bincount(flat, minlength=classes).float()
    predicted = probabilities.sum((0, 2, 3, 4))
    present = reference[1:] > 0
    dice = (2 * overlap / (reference + predicted + 1e-5))[1:][present]
    return 1 - (dice.mean() if len(dice) else dice.sum()), -true_log.mean()


def deep_loss(outputs: Sequence[torch.Tensor], labels: torch.Tensor) -> tuple[torch.Tensor, float, float]:
    """The loss over all resolutions, finest first, each with half the weight of the one before; the coarsest has none.

    Returns:
        The loss, and Dice loss and cross-entropy of the finest.
    """
    outputs = outputs[:-1] if len(outputs) > 1 else outputs
    weights = [0.5**i for i in range(len(outputs))]
    total = torch.zeros(())
    finest = (0.0, 0.0)
    for i, (logits, weight) in enumerate(zip(outputs, weights, strict=True)):
        dice, entropy = dice_and_entropy(logits, coarser(labels, logits.shape[2:]))
        total = total + weight / sum(weights) * (dice + entropy)
        if i == 0:
            finest = (float(dice.detach()), float(entropy.detach()))
    return total, *finest


def coarser(labels: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Every n-th label [N, Z, Y, X]: the voxel at the centre of n^3, rounded up."""
    steps = [old // new for old, new in zip(labels.shape[1:], shape, strict=True)]
    z, y, x = (slice(step // 2, None, step) for step in steps)
    return labels[:, z, y, x].contiguous()
