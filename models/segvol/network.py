"""SegVol's network and the units that programs call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.models.segvol.mask_decoder import MaskDecoder
from umd_engine.models.segvol.prompt_tokens import CELLS, WIDTH, WINDOW, PromptEncoder

PATCH = (4, 16, 16)
EMBEDDING = (WIDTH, *CELLS)


class Network(nn.Module):
    """Image encoder (87.4 M parameters), prompt encoder (18 k) and mask decoder (29.9 M); names as published."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = _vision_transformer()
        self.mask_decoder = MaskDecoder()
        self.prompt_encoder = PromptEncoder()


def build_network() -> Network:
    """The network with memory but without values: it is about to be loaded, and drawing 117 M of them takes seconds.

    Raises:
        BackendError: MONAI is not installed.
    """
    with torch.device("meta"):
        network = Network()
    return network.to_empty(device="cpu").eval()


def _vision_transformer() -> nn.Module:
    try:
        from monai.networks.nets import ViT
    except ImportError:
        raise BackendError("SegVol's image encoder needs MONAI", mend="pip install monai einops") from None
    encoder: Any = ViT(
        in_channels=1, img_size=WINDOW, patch_size=PATCH, hidden_size=WIDTH, mlp_dim=3072, num_layers=12, num_heads=12,
        proj_type="perceptron",
    )  # fmt: skip
    for block in encoder.blocks:
        if hasattr(block, "norm_cross_attn"):  # MONAI >= 1.4 makes it, uses it for cross-attention alone
            del block.norm_cross_attn
    return encoder


class Encoder(nn.Module):
    """[B, 1, 32, 256, 256] -> [B, 768, 8, 16, 16]."""

    def __init__(self, vision_transformer: Any):
        super().__init__()
        self.image_encoder = vision_transformer

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = self.image_encoder.patch_embedding(image)  # [B, 2048, 768]
        for block in self.image_encoder.blocks:
            tokens = block(tokens)
        return self.image_encoder.norm(tokens).transpose(1, 2).unflatten(2, CELLS)


@dataclass(frozen=True)
class PromptShape:
    """What a decoder call is prompted with; a unit for each.

    Attributes:
        points: how many.
    """

    points: int = 0
    box: bool = False
    text: bool = False

    @property
    def name(self) -> str:
        parts = [f"points{self.points}"] * bool(self.points) + ["box"] * self.box + ["text"] * self.text
        return "+".join(parts) or "unprompted"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        specs = []
        if self.points:
            specs += [
                TensorSpec("points", (self.points, 3), axes=("clicks",)),
                TensorSpec("labels", (self.points,), axes=("clicks",)),
            ]
        if self.box:
            specs.append(TensorSpec("box", (6,)))
        if self.text:
            specs.append(TensorSpec("text", (WIDTH,)))
        return tuple(specs)


class Decoder(nn.Module):
    """Prompts and an embedding to logits of low resolution [B, 32, 64, 64].

    The graph has no index assignments, so that it exports to plain ONNX operators.
    """

    def __init__(self, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder, shape: PromptShape):
        super().__init__()
        self.prompt_encoder, self.mask_decoder, self.shape = prompt_encoder, mask_decoder, shape

    def forward(
        self,
        embedding: torch.Tensor,
        first: torch.Tensor | None = None,
        second: torch.Tensor | None = None,
        third: torch.Tensor | None = None,
        fourth: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Embedding [B, 768, 8, 16, 16], then what `PromptShape.inputs` lists (torch.export takes no `*prompts`)."""
        prompts = [prompt for prompt in (first, second, third, fourth) if prompt is not None]
        given = dict(zip((spec.name for spec in self.shape.inputs), prompts, strict=True))
        text = given.get("text")
        tokens = [embedding.new_zeros((embedding.shape[0], 0, WIDTH))]
        if "points" in given:
            tokens.append(self.prompt_encoder.points(given["points"], given["labels"]))
            if "box" not in given:
                tokens.append(self.prompt_encoder.no_point(embedding))
        if "box" in given:
            tokens.append(self.prompt_encoder.box(given["box"]))
        if text is not None:
            tokens.append(text[:, None])
        image = embedding.flatten(2).transpose(1, 2) + self.prompt_encoder.no_mask_embed.weight
        return self.mask_decoder(image, self.prompt_encoder.pe_layer.of_cells(), torch.cat(tokens, dim=1), text)


def encoder_unit(name: str, network: Network) -> Unit:
    image = TensorSpec("image", (1, *WINDOW))
    return Unit(f"{name}.encoder", Encoder(network.image_encoder).eval(), (image,), ("embedding",))


def decoder_unit(name: str, network: Network, shape: PromptShape) -> Unit:
    """A decoder for prompts of one shape; all share the network's weights."""
    module = Decoder(network.prompt_encoder, network.mask_decoder, shape).eval()
    inputs = (TensorSpec("embedding", EMBEDDING), *shape.inputs)
    return Unit(f"{name}.decoder.{shape.name}", module, inputs, ("logits",))
