"""The training of the demo's networks: its pieces, a training of two steps, and the committed result."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from umd_engine.bench.demo.training import assess, augment, cases, folder, loop, loss, run
from umd_engine.bench.demo.training.recipe import RECIPES, Augmentation
from umd_engine.data.volume import Volume
from umd_engine.errors import OptionError
from umd_engine.models.checkpoint import load_checkpoint
from umd_engine.models.nnunet.model import NnUNet
from umd_engine.models.nnunet.plans import read_plans
from umd_engine.models.nnunet.prepare import prepare_image
from umd_engine.models.nnunet.protocol import Options

NETWORKS = Path(__file__).parents[2] / "bench" / "demo" / "networks"
COMMITTED = {modality: NETWORKS / recipe.dataset / folder.MODEL for modality, recipe in RECIPES.items()}
TINY = {
    "patch": (16, 16, 16),
    "spacing": (24.0, 24.0, 24.0),
    "features": (4, 8),
    "subjects": 2,
    "held_out": 1,
    "iterations": 2,
}
STILL = Augmentation(**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0))


def silent(*_):
    pass


@pytest.fixture(scope="module", params=sorted(RECIPES))
def trained(request, tmp_path_factory):
    recipe = replace(RECIPES[request.param], **TINY)
    out = tmp_path_factory.mktemp(request.param)
    return recipe, out, run.train_network(recipe, out, minutes=5, tell=silent)


def test_two_steps_give_a_folder_that_loads(trained):
    recipe, _, result = trained
    model = NnUNet("demo", result.model, Options())
    assert model.plans.patch == recipe.patch and model.plans.reorients
    assert list(model.organs.values()) == [(i,) for i in range(1, 14)]
    assert model.mirror_axes == ()


def test_the_log_says_what_was_done(trained):
    recipe, _, result = trained
    report = json.loads((result.model / "training.json").read_text())
    assert report["iterations"] == 2 and not report["shortened_by_the_clock"]
    assert "synthetic" in report["notice"] and report["recipe"]["seed"] == recipe.seed
    assert report["log"][-1]["iteration"] == 2 and report["training"]["cpu_s"] > 0
    tests = [(r["modality"], r["normalization"]) for r in report["held_out"]["results"]]
    shifted = [("pet", "as planned"), ("pet", "z-scored")] if recipe.modality == "ct" else []
    assert tests == [(recipe.modality, "as planned"), *shifted]
    organs = report["held_out"]["results"][0]["organs"]
    assert len(organs) == 13 and all(0 <= (o["mean"] or 0) <= 1 and o["n"] <= 1 for o in organs.values())


def test_a_trained_folder_is_not_written_over(trained):
    recipe, out, _ = trained
    with pytest.raises(OptionError, match="holds a trained model already"):
        run.train_network(recipe, out, minutes=5, tell=silent)


def test_the_checkpoint_holds_each_weight_once(trained):
    _, _, result = trained
    path = result.model / folder.CHECKPOINT
    weights = load_checkpoint(path)["network_weights"]
    tensors = {tensor.data_ptr(): tensor.numel() for tensor in weights.values()}
    assert len(tensors) < len(weights) and sum(tensors.values()) == result.report["parameters"]
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


def test_same_seed_same_weights():
    recipe = replace(RECIPES["pet"], **TINY)
    label = torch.randint(0, 14, (20, 18, 17), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    case = cases.Case(label[None].float(), label)

    def weights():
        torch.manual_seed(recipe.seed)
        network = torch.nn.Sequential(torch.nn.Conv3d(1, 14, 3, padding=1))
        network.forward = lambda x: [torch.nn.Conv3d.forward(network[0], x)]
        loop.train(network, [case], recipe, float("inf"), silent)
        return network[0].weight.detach().clone()

    assert torch.equal(weights(), weights())


def blocks(shape, spacing, seed=3):
    """A labelled scan of random blocks whose intensity is 100 * id, with blank rows around."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(1, 14, [-(-n // 6) for n in shape])
    ids = np.zeros(shape, np.uint8)
    full = np.kron(coarse, np.ones((6, 6, 6), int))[tuple(slice(n) for n in shape)]
    ids[3:-2, 4:-5, 2:-3] = full[3:-2, 4:-5, 2:-3]
    affine = np.diag([*spacing, 1.0])
    return cases.Labelled("s", Volume.from_array(ids.astype(np.int16) * 100, affine), Volume.from_array(ids, affine))


@pytest.fixture
def plans(tmp_path):
    recipe = replace(RECIPES["pet"], patch=(32, 24, 24), spacing=(4.0, 4.0, 4.0))
    written = folder.make_plans(recipe, {"mean": 0.0, "std": 1.0}, (32, 24, 24))
    folder.write_plans(tmp_path, written, folder.make_dataset(recipe))
    return read_plans(tmp_path, folder.CONFIGURATION)


def test_training_sees_what_inference_prepares(plans):
    scan = blocks((40, 36, 30), (3.0, 4.0, 5.0))
    case = cases.prepare_case(scan, plans)
    image = torch.tensor(scan.image.voxels.astype("float32").transpose(2, 1, 0))[None]
    prepared = prepare_image(image, scan.image.spacing[::-1], plans).data
    shape = tuple(prepared.shape[1:])
    assert case.label.shape == case.image.shape[1:] == tuple(max(a, b) for a, b in zip(shape, plans.patch, strict=True))
    low = [max(p - n, 0) // 2 for p, n in zip(plans.patch, shape, strict=True)]
    inner = tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))
    assert torch.equal(case.image[(slice(None), *inner)], prepared)


def test_labels_stay_on_their_image(plans):
    """Where blocks are wide, intensity tells the id: image and label were moved alike."""
    scan = blocks((48, 48, 48), (4.0, 4.0, 4.0))
    case = cases.prepare_case(scan, plans)
    values = [case.image[0][case.label == i] for i in range(1, 14)]
    means = [float(v.mean()) for v in values]
    assert all(float(v.std()) < 1e-3 for v in values) and means == sorted(means)
    coarse = cases.prepare_case(blocks((48, 48, 48), (2.0, 2.0, 2.0)), plans)
    inside = coarse.label > 0
    assert np.corrcoef(coarse.image[0][inside], coarse.label[inside])[0, 1] > 0.9


def test_nearest_takes_the_voxel_under_the_centre():
    label = torch.arange(5, dtype=torch.uint8)[:, None, None].expand(5, 3, 3)
    assert cases.nearest(label, (10, 3, 3))[:, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert cases.nearest(label, (2, 3, 3))[:, 0, 0].tolist() == [1, 3]


def test_foreground_statistics_are_those_of_the_labelled_voxels():
    statistics = cases.foreground_statistics([blocks((40, 40, 40), (4, 4, 4))], 1)
    assert statistics["min"] == 100 and statistics["max"] == 1300
    assert statistics["percentile_00_5"] == 100 and abs(statistics["mean"] - 700) < 60


def test_without_augmentation_a_window_is_the_scan_itself():
    scan = torch.arange(8 * 6 * 4).reshape(1, 8, 6, 4).float()
    case = cases.Case(scan, (scan[0] % 14).to(torch.uint8))
    image, label = augment.draw_window(case, (8, 6, 4), STILL, np.random.default_rng(0))
    assert torch.allclose(image, scan, atol=1e-3) and torch.equal(label, case.label.long())


def test_windows_are_never_mirrored():
    for seed in range(50):
        theta = augment.draw_affine((197, 96, 96), (64, 96, 96), Augmentation(), np.random.default_rng(seed))
        assert np.linalg.det(theta[:, :3]) > 0 and (np.diag(theta[:, :3]) > 0).all()


def test_image_and_label_move_together():
    z, y, x = np.meshgrid(*(np.arange(n) for n in (40, 32, 32)), indexing="ij")
    ball = ((z - 20) ** 2 + (y - 14) ** 2 + (x - 18) ** 2 < 100).astype(np.uint8)
    case = cases.Case(torch.from_numpy(ball.astype(np.float32))[None], torch.from_numpy(ball))
    moving = replace(Augmentation(), gain=0, offset=0, gamma=0, noise=0)
    for seed in range(5):
        image, label = augment.draw_window(case, (32, 32, 32), moving, np.random.default_rng(seed))
        assert ((image[0] > 0.5).long() != label).float().mean() < 0.01 and label.sum() > 1000


def test_rotation_turns_about_the_named_axis():
    assert np.allclose(augment.rotation(0, 0, 90) @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(augment.rotation(90, 0, 0) @ [0, 1, 0], [0, 0, 1])
    assert np.allclose(augment.rotation(0, 90, 0) @ [0, 0, 1], [1, 0, 0])


def test_dice_loss_against_its_definition():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 4, 4, 4), torch.randint(0, 4, (2, 4, 4, 4))
    dice, entropy = loss.dice_and_entropy(logits, labels)
    p = logits.softmax(1)
    expected = []
    for organ in (1, 2, 3):  # 4 does not occur
        mask = labels == organ
        expected.append(2 * p[:, organ][mask].sum() / (p[:, organ].sum() + mask.sum()))
    assert dice == pytest.approx(1 - float(sum(expected)) / 3, abs=1e-5)
    assert entropy == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), abs=1e-5)


def test_the_loss_of_the_right_answer_is_small_and_falls():
    labels = torch.randint(0, 3, (1, 8, 8, 8), generator=torch.Generator().manual_seed(2))
    right = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float() * 20
    assert float(loss.deep_loss([right], labels)[0]) < 1e-3
    assert float(loss.deep_loss([-right], labels)[0]) > 5


def test_a_window_without_organs_has_no_dice():
    dice, entropy = loss.dice_and_entropy(torch.zeros(1, 3, 2, 2, 2), torch.zeros(1, 2, 2, 2, dtype=torch.long))
    assert float(dice) == 1 and float(entropy) == pytest.approx(np.log(3))


def test_the_learning_rate_warms_up_and_ends_near_zero():
    recipe = RECIPES["ct"]
    rates = [loop.learning_rate(recipe, i, 1000) for i in range(1000)]
    peak = int(np.argmax(rates))
    assert peak == recipe.warm_up - 1 and rates[0] < rates[peak] / 10
    assert rates[peak:] == sorted(rates[peak:], reverse=True) and rates[-1] < recipe.learning_rate * 0.01


def test_a_slow_machine_plans_fewer_iterations():
    assert loop.plan(1000, done=50, seconds=100.0, left=200.0) == 50 + 97
    assert loop.plan(1000, done=50, seconds=100.0, left=1e6) == 1000
    assert loop.plan(1000, done=50, seconds=100.0, left=-1.0) == 50


def test_the_first_answer_is_how_common_each_class_is(plans, tmp_path):
    shares = cases.shares([cases.prepare_case(blocks((40, 36, 30), (4.0, 4.0, 4.0)), plans)], 14)
    assert float(shares.sum()) == pytest.approx(1) and shares[0] > shares[1] > 0
    network = run.initial_network(plans, tmp_path, 1, shares)
    found = network(torch.randn(1, 1, 32, 32, 32))[0].softmax(1).mean((0, 2, 3, 4))
    assert torch.allclose(found, shares, rtol=0.2, atol=0.02)


@pytest.mark.parametrize("modality", sorted(RECIPES))
def test_committed_networks_load_and_say_what_they_are(modality):
    model = NnUNet(modality, COMMITTED[modality], Options())
    assert model.plans.channels == (RECIPES[modality].channel,)
    assert model.plans.patch == RECIPES[modality].patch
    dataset = json.loads((COMMITTED[modality] / "dataset.json").read_text())
    report = json.loads((COMMITTED[modality] / "training.json").read_text())
    assert "synthetic" in dataset["description"] and "Not for patients" in dataset["description"]
    assert report["held_out"]["results"][0]["mean_dice"] >= 0.80
    assert report["training"]["wall_s"] <= 30 * 60 and report["machine"]["threads"] <= 2


def test_committed_networks_take_six_megabytes_at_most():
    assert sum(path.stat().st_size for path in NETWORKS.rglob("*") if path.is_file()) <= 6_000_000


@pytest.mark.full
@pytest.mark.parametrize("modality", sorted(RECIPES))
def test_held_out_dice(modality):
    recipe = RECIPES[modality]
    scans = cases.make_scans(recipe.cohort, modality, recipe.held_out_seed, range(2))
    scores = assess.score(assess.load(COMMITTED[modality], modality), scans)
    assert assess.overall(scores) >= 0.80
