"""Writes trained-model folders with nnunetv2's own trainer: random weights, but every class appears.

`record_nnunet.py` sets nnU-Net's environment variables before it imports this file.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch
from folders import Folder
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CPU = torch.device("cpu")


def open_predictor(folder: Path, folds: tuple[int | str, ...]) -> nnUNetPredictor:
    """The official predictor with its default settings, on the CPU."""
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=True,
        perform_everything_on_device=False,
        device=CPU,
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(folder), folds, "checkpoint_final.pth")
    return predictor


def build_trainer(folder: Folder, fold: int | str, seed: int) -> nnUNetTrainer:
    """An official trainer with a seeded random network, one logged epoch and a fresh optimizer."""
    plans = {**copy.deepcopy(folder.plans), "continue_training": False}
    trainer = nnUNetTrainer(plans, folder.configuration, fold, folder.dataset, CPU)
    trainer.my_init_kwargs["device"] = torch.device("cuda")  # as in a checkpoint from a GPU
    trainer.inference_allowed_mirroring_axes = folder.mirroring
    torch.manual_seed(seed)
    channels = len(folder.dataset.get("channel_names", folder.dataset.get("modality")))
    heads = trainer.label_manager.num_segmentation_heads
    trainer.network = trainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, channels, heads, True
    )
    randomise(trainer.network)
    trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()
    log_epoch(trainer, heads)
    return trainer


def randomise(network: torch.nn.Module) -> None:
    """Moves norms and biases off 1 and 0, so that one forgotten or exchanged shows."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                parameter.copy_(centre + 0.2 * torch.randn(parameter.shape))


def log_epoch(trainer: nnUNetTrainer, heads: int) -> None:
    """Values of the types that a training leaves behind: numpy scalars and floats."""
    scores = [np.float64(0.5 + 0.1 * i) for i in range(heads)]
    trainer.logger.log("mean_fg_dice", np.mean(scores), 0)  # logs ema_fg_dice too
    trainer.logger.log("dice_per_class_or_region", scores, 0)
    trainer.logger.log("train_losses", np.float32(-0.25), 0)
    trainer.logger.log("val_losses", np.float32(-0.125), 0)
    trainer.logger.log("lrs", 0.01, 0)
    trainer.logger.log("epoch_start_timestamps", 1.7e9, 0)
    trainer.logger.log("epoch_end_timestamps", 1.7e9 + 60, 0)
    trainer._best_ema = trainer.logger.get_value("ema_fg_dice", step=-1)


def save(trainer: nnUNetTrainer, folder: Folder, path: Path) -> None:
    """The official checkpoint; without the mirroring key where the folder has none (as old versions)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(str(path))
    if folder.mirroring is None:
        checkpoint = torch.load(path, map_location=CPU, weights_only=False)
        del checkpoint["inference_allowed_mirroring_axes"]
        torch.save(checkpoint, path)


def balance(trainer: nnUNetTrainer, folder: Folder, model: Path, fold: int | str, image: np.ndarray) -> None:
    """Shifts and scales the last layer so that every head's logits have unit spread and every class appears.

    The official logits are linear in the last layer, so mean and spread of one run say how.
    """
    predictor = open_predictor(model, (fold,))
    properties = {"spacing": list(folder.image["spacing"])}
    data, _, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        image,
        None,
        properties,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.dataset_json,
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).float()
    for head, layer_logits in enumerate(logits):
        values = layer_logits.flatten()
        centre = values.quantile(folder.region_quantiles[head]) if folder.region_quantiles else values.mean()
        last = trainer.network.decoder.seg_layers[-1]
        with torch.no_grad():
            last.weight[head] /= values.std()
            last.bias[head] = (last.bias[head] - centre) / values.std()


def write_model(folder: Folder, out: Path, image: np.ndarray) -> Path:
    """The trained-model folder with every fold balanced by itself."""
    model = out / f"{folder.name}_model"
    model.mkdir(exist_ok=True)
    (model / "plans.json").write_text(json.dumps(folder.plans, indent=1) + "\n")
    (model / "dataset.json").write_text(json.dumps(folder.dataset, indent=1) + "\n")
    for i, fold in enumerate(folder.folds):
        path = model / f"fold_{fold}" / "checkpoint_final.pth"
        trainer = build_trainer(folder, fold, folder.seed + i)
        save(trainer, folder, path)
        balance(trainer, folder, model, fold, image)
        save(trainer, folder, path)
    return model
