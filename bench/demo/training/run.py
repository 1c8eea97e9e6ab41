"""A training from the first subject to the log beside the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from umd_engine import __version__
from umd_engine.bench import machine
from umd_engine.bench.demo.training import assess, cases, folder, loop
from umd_engine.bench.demo.training.recipe import Recipe
from umd_engine.errors import OptionError
from umd_engine.models.nnunet.network import build_network
from umd_engine.models.nnunet.plans import Plans, read_plans

Tell = Callable[[str, int, int, str], None]  # stage, done, total, remark


@dataclass(frozen=True)
class Trained:
    """Where the model lies, and what `training.json` beside it says."""

    model: Path
    report: dict[str, Any]


def train_network(recipe: Recipe, out: Path, minutes: float, tell: Tell) -> Trained:
    """Make subjects, train, write the model and assess it.

    Args:
        out: the model goes to `out/DATASET/nnUNetTrainer__nnUNetPlans__3d_fullres`.
        minutes: wall time for making subjects and training; assessing comes after.

    Raises:
        OptionError: the folder holds a trained model already.
    """
    model = out / recipe.dataset / folder.MODEL
    if (model / folder.CHECKPOINT).exists():
        raise OptionError("holds a trained model already", where=model, mend="remove it or give another folder")
    wall, cpu = time.monotonic(), time.process_time()
    scans = _make(recipe, recipe.seed, recipe.subjects, tell, "subjects")
    statistics = cases.foreground_statistics(scans, recipe.seed)
    plans = folder.make_plans(recipe, statistics, cases.median_shape(scans, recipe))
    dataset = folder.make_dataset(recipe)
    folder.write_plans(model, plans, dataset)
    parsed = read_plans(model, folder.CONFIGURATION)
    prepared = [cases.prepare_case(scan, parsed) for scan in scans]
    del scans
    network = initial_network(parsed, model, recipe.seed, cases.shares(prepared, parsed.labels.heads))
    log = loop.train(network, prepared, recipe, wall + 60 * minutes, lambda log: _tell_loss(log, tell))
    folder.write_checkpoint(model, network.state_dict(), plans, dataset, log.iterations)
    report = {
        "notice": folder.NOTICE,
        "recipe": asdict(recipe),
        "iterations": log.iterations,
        "shortened_by_the_clock": log.iterations < recipe.iterations,
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": {"wall_s": round(time.monotonic() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)},
        "version": __version__,
        "machine": machine.describe(),
    }
    del prepared, network
    report["held_out"] = assess_model(recipe, model, tell)
    report["log"] = [asdict(line) for line in log.lines]
    folder.write_json(model / "training.json", report)
    return Trained(model, report)


def initial_network(plans: Plans, where: Path, seed: int, shares: torch.Tensor) -> torch.nn.Module:
    """The plans' network with nnU-Net's first weights, giving logits at every resolution.

    Its first answer is how common each class is (Lin et al. 2017, 4.1): with nnU-Net's own first biases, finding out
    that most voxels are background takes the first hundred iterations.

    Args:
        shares: of all voxels, of each class.
    """
    torch.manual_seed(seed)
    network: Any = build_network(plans, where / "plans.json")
    network.apply(network.initialize)
    network.decoder.deep_supervision = True
    with torch.no_grad():
        for layer in network.decoder.seg_layers:
            layer.weight.mul_(0.1)
            layer.bias.copy_(shares.clamp(min=1e-6).log())
    return network


def assess_model(recipe: Recipe, model: Path, tell: Tell) -> dict[str, Any]:
    """Dice on the held-out subjects; of a CT network on their PET scans too, as planned and z-scored."""
    subjects = range(recipe.held_out)
    tests = [(recipe.modality, "as planned", False)]
    if recipe.modality == "ct":
        tests += [("pet", "as planned", False), ("pet", "z-scored", True)]
    results = []
    for number, (modality, normalization, z_scored) in enumerate(tests):
        tell("held-out Dice", number, len(tests), f"{recipe.modality} network on {modality}, {normalization}")
        scans = cases.make_scans(recipe.cohort, modality, recipe.held_out_seed, subjects)
        scores = assess.score(assess.load(model, recipe.dataset, z_scored), scans)
        results.append(_result(modality, normalization, scores))
    tell("held-out Dice", len(tests), len(tests), "")
    return {"seed": recipe.held_out_seed, "subjects": recipe.held_out, "convention": "nnunet", "results": results}


def _result(modality: str, normalization: str, scores: assess.Scores) -> dict[str, Any]:
    organs = {organ: asdict(s) for organ, s in assess.summarise(scores).items()}
    return {
        "modality": modality,
        "normalization": normalization,
        "mean_dice": round(assess.overall(scores), 4),
        "organs": organs,
    }


def _make(recipe: Recipe, seed: int, count: int, tell: Tell, stage: str) -> Sequence[cases.Labelled]:
    scans: list[cases.Labelled] = []
    for number in range(count):
        scans += cases.make_scans(recipe.cohort, recipe.modality, seed, [number])
        tell(stage, number + 1, count, "")
    return scans


def _tell_loss(log: loop.Log, tell: Tell) -> None:
    last = log.lines[-1] if log.lines else None
    remark = f"loss {last.loss:.3f} (Dice {last.dice_loss:.3f})" if last else ""
    tell("iterations", log.iterations, log.planned, remark)
