"""SAT's network: the stored probes, and a second formulation of it from other people's parts."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from sat_common import TINY, filled
from torch import nn
from torch.nn import functional as F

from umd_engine.errors import CheckpointError
from umd_engine.models.catalog import CATALOG
from umd_engine.models.parity.check import check_recordings
from umd_engine.models.parity.recording import find_recordings
from umd_engine.models.parity.table import as_line
from umd_engine.models.sat.network import NANO, PRO, Network, network_unit
from umd_engine.models.sat.published import aliases_of, check_aliases

FOLDER = Path(__file__).parents[1] / "recordings" / "sat_parity"


def check(name, backend="torch", folder=FOLDER):
    (recording,) = [r for r in find_recordings(folder) if r.name == name]
    (row,) = check_recordings([recording], backend, torch.device("cpu"))
    print(as_line(row))
    return row


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("name", ["sat_nano", pytest.param("sat_pro", marks=pytest.mark.full)])
def test_the_stored_probe_in_torch(name):
    row = check(name)
    assert row.passed and row.deviations[0].tolerance == 1e-5


@pytest.mark.full
@pytest.mark.parametrize("name", ["sat_nano", "sat_pro"])
def test_the_stored_probe_in_onnx_runtime(name):
    row = check(name, "onnxruntime")
    assert row.passed and row.deviations[0].tolerance == 1e-4


def test_keys_of_the_other_size_fail_before_anything_runs(tmp_path):
    for ending in ("npz", "spec.json"):
        shutil.copy(FOLDER / f"sat_nano.{ending}", tmp_path)
    shutil.copy(FOLDER / "sat_pro.keys.json", tmp_path / "sat_nano.keys.json")
    row = check("sat_nano", folder=tmp_path)
    assert not row.passed and "names or shapes differ" in row.error


@pytest.mark.parametrize("size", [NANO, PRO])
def test_parameters_are_the_published_ones(size):
    with torch.device("meta"):
        network = Network(size)
    counts = {"SAT-Nano": (109_194_624, 73_919_040), "SAT-Pro": (475_561_344, 435_435_136)}[size.title]
    assert sum(p.numel() for p in network.parameters()) == counts[0]
    assert sum(p.numel() for p in network.backbone.parameters()) == counts[1]
    catalogued = CATALOG["sat-nano" if size is NANO else "sat-pro"].parameters
    assert sum(catalogued.values()) == counts[0] and counts[1] in catalogued.values()


class Second(nn.Module):
    """The same network from parts of others: nnU-Net's U-Net on three channels, torch's own attention.

    Its state dict has the names of the first but for those that this library registers otherwise.
    """

    def __init__(self, size):
        from dynamic_network_architectures.architectures.unet import PlainConvUNet

        super().__init__()
        depth = len(size.features)
        self.unet = PlainConvUNet(
            3, depth, list(size.features), nn.Conv3d, 3, [1] + [2] * (depth - 1), size.convs, 1,
            size.convs, conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
        )  # fmt: skip
        self.attention = nn.ModuleList([nn.MultiheadAttention(768, 8, batch_first=True) for _ in range(6)])

    def load(self, state):
        """The first network's state dict."""
        self.state = state
        unet = self.unet.state_dict()
        for name in unet:
            plain = name.removeprefix("decoder.") if name.startswith("decoder.encoder.") else name
            if "seg_layers" not in name:
                unet[name] = state[f"backbone.{plain}"]
        self.unet.load_state_dict(unet)
        for i, attention in enumerate(self.attention):
            prefix = f"transformer_decoder.layers.{i}.multihead_attn."
            attention.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def apply_layer(self, name, x):
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name, x):
        return F.layer_norm(x, (768,), self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-5)

    def forward(self, image, queries):
        """One image [1, 1, H, W, D], queries [1, N, 768]."""
        skips = self.unet.encoder(image.expand(-1, 3, -1, -1, -1))
        x = skips[-1]
        decoder = self.unet.decoder
        for i, (up, stage) in enumerate(zip(decoder.transpconvs, decoder.stages, strict=True)):
            x = stage(torch.cat((up(x), skips[-2 - i]), 1))
        grid = skips[-1].shape[2:]
        memory, places = [], []
        for h in range(grid[0]):
            for w in range(grid[1]):
                for d in range(grid[2]):  # token by token
                    memory.append(torch.cat([self.mean_around(s, (h, w, d), grid) for s in skips]))
                    places.append([self.wave(p) for p in (h, w, d)])
        memory = torch.stack(memory)[None]
        memory = F.gelu(self.apply_layer("projection_layer.2", F.gelu(self.apply_layer("projection_layer.0", memory))))
        places = torch.tensor([[x for axis in axes for x in axis] for axes in places])
        organs = queries
        for i, attention in enumerate(self.attention):
            name = f"transformer_decoder.layers.{i}"
            organs = organs + attention(self.norm(f"{name}.norm2", organs), memory + places, memory)[0]
            hidden = F.relu(self.apply_layer(f"{name}.linear1", self.norm(f"{name}.norm3", organs)))
            organs = organs + self.apply_layer(f"{name}.linear2", hidden)
        organs = self.norm("transformer_decoder.norm", organs)
        organs = F.gelu(self.apply_layer("mask_embed_proj.2", F.gelu(self.apply_layer("mask_embed_proj.0", organs))))
        return torch.einsum("bnc,bchwd->bnhwd", organs, x)

    @staticmethod
    def mean_around(features, token, grid):
        box = [slice(t * (n // g), (t + 1) * (n // g)) for t, n, g in zip(token, features.shape[2:], grid, strict=True)]
        return features[(0, slice(None), *box)].mean((1, 2, 3))

    @staticmethod
    def wave(p):
        angles = [p / 10000 ** (2 * i / 256) for i in range(128)]
        return [wave(angle) for angle in angles for wave in (math.sin, math.cos)]


@pytest.mark.parametrize("size", [TINY, pytest.param(NANO, marks=pytest.mark.full)])
@pytest.mark.parametrize("seed", [3])
def test_a_second_formulation_agrees(size, seed):
    """Other weights, another patch, unlike along all axes: names, folding, tokens, positions and attention hold."""
    first, state = filled(size, seed)
    second = Second(size).eval()
    second.load(state)
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand((1, 1, 64, 96, 32), generator=generator) * 4 - 2
    queries = torch.randn((1, 4, 768), generator=generator)
    with torch.no_grad():
        ours, theirs = first(image, queries), second(image, queries)
    error = float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))
    print(f"{size.title}: {error:.1e} of the range")
    assert error <= 1e-5


@pytest.fixture(scope="module")
def tiny():
    return filled(TINY)[0]


def test_a_batch_and_several_organs_equal_each_alone(tiny):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((3, 1, 64, 64, 32), generator=generator)
    queries = torch.randn((3, 5, 768), generator=generator)
    with torch.no_grad():
        together = tiny(images, queries)
        for i in range(3):
            for n in range(5):
                alone = tiny(images[i : i + 1], queries[i : i + 1, n : n + 1])[0, 0]
                assert (together[i, n] - alone).abs().max() <= 1e-5 * float(alone.max() - alone.min())


def test_axes_are_told_apart(tiny):
    """An image turned by a right angle is another image: positions and kernels belong to axes."""
    image = torch.randn((1, 1, 64, 64, 64), generator=torch.Generator().manual_seed(0))
    queries = torch.randn((1, 2, 768), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        straight, turned = tiny(image, queries), tiny(image.transpose(2, 4), queries).transpose(2, 4)
    assert (straight - turned).abs().max() > 0.01 * float(straight.max() - straight.min())


def test_a_unit_for_every_number_of_organs(tiny):
    unit = network_unit("sat-tiny", tiny, 2, (64, 64, 32))
    (logits,) = (unit.module(*unit.example(1)),)
    assert logits.shape == (1, 2, 64, 64, 32) and unit.outputs == ("logits",)


def test_layers_with_two_names_must_agree(tiny, tmp_path):
    state = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    aliases = aliases_of(state)
    assert len(aliases) == sum("all_modules" in name for name in state) == 4 * (6 * 2 + 5 * 2)
    check_aliases(state, tmp_path)
    alias = "backbone.decoder.stages.1.convs.0.all_modules.0.bias"
    state[alias][3] += 1e-6
    with pytest.raises(CheckpointError, match="two names") as caught:
        check_aliases(state, tmp_path)
    assert caught.value.unexpected == (alias,)
