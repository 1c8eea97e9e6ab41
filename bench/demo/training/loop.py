"""The training itself: draw, predict, compare, step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from umd_engine.bench.demo.training.augment import draw_batch
from umd_engine.bench.demo.training.cases import Case
from umd_engine.bench.demo.training.loss import deep_loss
from umd_engine.bench.demo.training.recipe import Recipe

LOG_EVERY = 50


@dataclass(frozen=True)
class Line:
    """Means over the iterations since the line before."""

    iteration: int
    loss: float
    dice_loss: float
    cross_entropy: float
    learning_rate: float
    seconds: float


@dataclass
class Log:
    """What happened.

    Attributes:
        planned: iterations of the schedule: the recipe's, or fewer where the machine is too slow for the deadline.
    """

    planned: int
    iterations: int = 0
    lines: list[Line] = field(default_factory=list)


def train(
    network: torch.nn.Module,
    cases: Sequence[Case],
    recipe: Recipe,
    deadline: float,
    tell: Callable[[Log], None],
) -> Log:
    """Train in place, on the CPU.

    Where the speed so far would miss the deadline, fewer iterations are planned: a slow machine ends with a small
    step too. Only then does the result depend on the machine's speed.

    Args:
        network: gives logits of all resolutions, finest first.
        deadline: `time.monotonic()` at which to stop.
        tell: called after every iteration.
    """
    rng = np.random.Generator(np.random.Philox(key=[recipe.seed, 1]))
    optimizer = torch.optim.AdamW(network.parameters(), 0.0, recipe.betas, weight_decay=recipe.weight_decay)
    network.to(memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]  # torch's stubs lack it
    log, sums = Log(recipe.iterations), np.zeros(3)
    begun = since = time.monotonic()
    while log.iterations < log.planned and time.monotonic() < deadline:
        rate = learning_rate(recipe, log.iterations, log.planned)
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, labels = draw_batch(cases, recipe.batch, recipe.patch, recipe.augmentation, rng)
        sums += step(network, optimizer, images, labels, recipe.precision)
        log.iterations += 1
        if log.iterations % LOG_EVERY == 0 or log.iterations == log.planned:
            now = time.monotonic()
            write_line(log, sums, rate, now - since)
            log.planned = plan(recipe.iterations, log.iterations, now - begun, deadline - now)
            sums, since = np.zeros(3), now
        tell(log)
    return log


def learning_rate(recipe: Recipe, iteration: int, planned: int) -> float:
    """A linear warm-up, then nnU-Net's (1 - progress)^0.9."""
    return recipe.learning_rate * min((iteration + 1) / recipe.warm_up, 1) * (1 - iteration / planned) ** 0.9


def write_line(log: Log, sums: np.ndarray, rate: float, seconds: float) -> None:
    count = log.iterations - (log.lines[-1].iteration if log.lines else 0)
    loss, dice, entropy = (round(float(value), 5) for value in sums / count)
    log.lines.append(Line(log.iterations, loss, dice, entropy, round(rate, 8), round(seconds, 2)))


def plan(wanted: int, done: int, seconds: float, left: float) -> int:
    """The wanted iterations, or what fits into the `left` seconds when `done` took `seconds`."""
    return int(min(wanted, done + max(0.97 * left, 0) * done / seconds))


def step(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    precision: str,
) -> tuple[float, float, float]:
    """One update; returns loss, Dice loss and cross-entropy before it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        outputs = network(images.to(memory_format=torch.channels_last_3d))
    loss, dice, entropy = deep_loss(outputs, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1)
    optimizer.step()
    return float(loss.detach()), dice, entropy
