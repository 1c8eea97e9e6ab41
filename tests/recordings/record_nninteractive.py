"""Records what nninteractive's own session computes: two tiny trained-model folders, their prompts, masks and calls.

nninteractive needs an environment of its own, as nnunetv2 does:

    python3.11 -m venv oracle
    oracle/bin/pip install torch==2.13.0 torchvision==0.28.0 nnunetv2==2.8.1 nninteractive==2.6.0
    oracle/bin/python tests/recordings/record_nninteractive.py NAME [SEED]

Beside NAME_model/ lie NAME.spec.json and NAME.npz with `masks` after every step (bits, as np.packbits packs the whole
array) and `calls`, the network calls of every step. The image is made by the recipe of models/parity.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

SCRATCH = tempfile.TemporaryDirectory(prefix="nninteractive")
for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[variable] = SCRATCH.name

import numpy as np  # noqa: E402
import torch  # noqa: E402
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession  # noqa: E402
from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub  # noqa: E402
from nninteractive_folders import CONFIGURATION, FOLDERS, dataset, plans  # noqa: E402
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: E402

HERE = Path(__file__).parent / "nninteractive_parity"
THREADS = 2


def recipe() -> Any:
    path = Path(__file__).parents[2] / "models" / "parity" / "recipe.py"
    found = importlib.util.spec_from_file_location("recipe", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def write_model(folder: Path, said: dict[str, Any], seed: int) -> None:
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    content = plans(said["patch"])
    (folder / "plans.json").write_text(json.dumps(content))
    (folder / "dataset.json").write_text(json.dumps(dataset()))
    name, session = said["session"]
    (folder / name).write_text(json.dumps(session))
    manager = PlansManager(content)
    network = nnInteractiveTrainer_stub.build_network_architecture(
        manager, manager.get_configuration(CONFIGURATION), 8, 2, enable_deep_supervision=False
    )
    # the library registers some tensors under several names: what the last one is filled with, all of them are
    network.load_state_dict(recipe().fill(network.state_dict(), seed))
    with torch.no_grad():
        network.decoder.seg_layers[-1].bias[0] += said["bias"]  # a smaller object
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"configuration": CONFIGURATION},
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


class Counting(torch.nn.Module):
    """The network, counting its calls."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.network(x)


def ask(session: nnInteractiveInferenceSession, step: dict[str, Any]) -> None:
    run, positive = step.get("predict", True), step.get("positive", True)
    if "point" in step:
        session.add_point_interaction(tuple(step["point"]), positive, run)
    elif "box" in step:
        session.add_bbox_interaction(step["box"], positive, run)
    elif "initial_segmentation" in step:
        shape = session.target_buffer.shape
        session.add_initial_seg_interaction(drawn(shape, step["initial_segmentation"]["ones"]), run)
    else:
        kind = "scribble" if "scribble" in step else "lasso"
        image = drawn(step[kind]["shape"], step[kind]["ones"])
        add = {"scribble": session.add_scribble_interaction, "lasso": session.add_lasso_interaction}[kind]
        add(image, positive, run, interaction_bbox=step["at"])


def drawn(shape: Any, ones: list[list[int]]) -> np.ndarray:
    out = np.zeros(tuple(shape), np.uint8)
    out[tuple(slice(low, high) for low, high in ones)] = 1
    return out


def record(
    folder: Path, image: np.ndarray, said: dict[str, Any], seed: int, threads: int
) -> tuple[np.ndarray, list[int], list[int]]:
    """Masks, calls and random draws of every step."""
    session = nnInteractiveInferenceSession(
        device=torch.device("cpu"), torch_n_threads=threads, do_autozoom=said["autozoom"]
    )
    session.initialize_from_trained_model_folder(str(folder), 0)
    session.network = counting = Counting(session.network)
    buffer = torch.zeros(image.shape, dtype=torch.uint8)
    session.set_image(image[None])
    session.set_target_buffer(buffer)
    masks, calls, draws = [], [], []
    choice, drawn_so_far = np.random.choice, [0]

    def counted(*arguments: Any) -> Any:
        drawn_so_far[0] += 1
        return choice(*arguments)

    np.random.choice = counted
    np.random.seed(seed)
    for step in said["steps"]:
        counting.calls = drawn_so_far[0] = 0
        ask(session, step)
        masks.append(buffer.numpy().copy())
        calls.append(counting.calls)
        draws.append(drawn_so_far[0])
    np.random.choice = choice
    return np.stack(masks), calls, draws


def main(name: str, seed: int) -> None:
    said = FOLDERS[name]
    folder = HERE / f"{name}_model"
    write_model(folder, said, seed)
    image = recipe().volume(seed, "image", tuple(said["shape"]))
    results = {}
    for threads in (1, THREADS):
        with contextlib.redirect_stdout(io.StringIO()):
            results[threads] = record(folder, image, said, seed, threads)
    masks, calls, draws = results[THREADS]
    moved = [int((a != b).sum()) for a, b in zip(masks, results[1][0], strict=True)]
    print(f"{name} seed {seed}: calls {calls}, draws {draws}, voxels {masks.reshape(len(masks), -1).sum(1)}")
    print(f"  one thread less moves {moved} voxels")
    np.savez_compressed(HERE / f"{name}.npz", masks=np.packbits(masks), calls=np.array(calls))
    spec = {
        "model": "nninteractive",
        "weights": {"folder": f"{name}_model", "fold": 0},
        "image": {"volume": [seed, "image", said["shape"]]},
        "random": {"np.random.seed": seed},
        "variant": "official",
        "autozoom": said["autozoom"],
        "threads": THREADS,
        "masks": {"packed": "masks", "shape": list(masks.shape)},
        "calls": "calls",
        "steps": said["steps"],
        "tolerance": {"voxels": 20, "calls": 0, "logits": said.get("logits", 1e-4)},
    }
    (HERE / f"{name}.spec.json").write_text(json.dumps(spec, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2026)
