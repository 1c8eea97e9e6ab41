"""What a description file may say. Unknown keys are errors; a message names the key."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from umd_engine.engine.unit import TensorSpec

Positive = tuple[PositiveInt, PositiveInt, PositiveInt]
Lengths = tuple[PositiveFloat, PositiveFloat, PositiveFloat]
Range = tuple[float, float]
Activation = Literal["softmax", "sigmoid", "none"]
CODE_FORMATS = ("torchscript", "pt2", "python")  # opening such a file runs code of whoever wrote it
ORIENTATIONS = tuple(
    "".join(letters) for order in itertools.permutations(("RL", "AP", "SI")) for letters in itertools.product(*order)
)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Window(Strict):
    """low..high becomes to[0]..to[1], linearly."""

    rule: Literal["window"]
    low: float
    high: float
    to: Range = (0.0, 1.0)
    clip: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        return self


class Quantiles(Strict):
    """The same between two quantiles (shares, 0 to 1): of the channel as resampled, or of the localiser's."""

    rule: Literal["quantiles"]
    low: float = Field(default=0.005, ge=0, lt=1)
    high: float = Field(default=0.995, gt=0, le=1)
    to: Range = (0.0, 1.0)
    clip: bool = True
    of: Literal["image", "localiser"] = "image"

    @model_validator(mode="after")
    def _ordered(self) -> Quantiles:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        return self


class ZScore(Strict):
    """(x - mean) / SD: of the channel, or fixed; `nonzero`: of voxels that are not 0, the others stay."""

    rule: Literal["zscore"]
    mean: float | None = None
    std: PositiveFloat | None = None
    nonzero: bool = False
    ddof: Literal[0, 1] = 0

    @model_validator(mode="after")
    def _both(self) -> ZScore:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give mean and std, or neither")
        return self


class Affine(Strict):
    """scale * x + offset."""

    rule: Literal["affine"]
    scale: float = 1.0
    offset: float = 0.0


Rule = Annotated[Window | Quantiles | ZScore | Affine, Field(discriminator="rule")]


class Grid(Strict):
    """The voxels a network sees: a spacing (mm) or a fixed shape, along the axes of `orientation`; neither: native.

    placing: `extent` keeps the volume's outer faces where they are (shape = round(n * mm / new mm)), `first-voxel`
    the first voxel's centre, as MONAI's Spacing does.
    """

    spacing: Lengths | None = None
    shape: Positive | None = None
    interpolation: Literal["nearest", "linear", "cubic"] = "linear"
    placing: Literal["extent", "first-voxel"] = "extent"

    @model_validator(mode="after")
    def _one_of_them(self) -> Grid:
        if self.spacing is not None and self.shape is not None:
            raise ValueError("give spacing or shape, not both")
        if self.placing == "first-voxel" and self.shape is not None:
            raise ValueError("a fixed shape is placed by its extent")
        return self


class Network(Strict):
    """The file. `output`: which of several outputs; `batch` "one": the file takes one item a call."""

    format: Literal["onnx", "torchscript", "pt2", "python", "bundle"]
    file: str
    function: str | None = None
    weights: str | None = None
    weights_key: str | None = None
    output: int = Field(default=0, ge=0)
    batch: Literal["any", "one"] = "any"

    @model_validator(mode="after")
    def _python_only(self) -> Network:
        if (self.format == "python") != (self.function is not None):
            raise ValueError("function names what a Python file returns its network from, and nothing else has one")
        if self.format not in ("python", "bundle") and (self.weights or self.weights_key):
            raise ValueError("weights belong to format python; other files hold theirs")
        if self.format == "bundle" and self.weights_key:
            raise ValueError("weights_key belongs to format python")
        return self


class Windows(Strict):
    """A sliding window.

    placing: `even` spreads the windows evenly (nnU-Net), `flush` takes full steps and moves the last one back (MONAI).
    `gaussian` is nnU-Net's Gaussian, `gaussian-centred` MONAI's. padding: what surrounds a volume smaller than a patch.
    """

    patch: Positive
    overlap: float = Field(default=0.5, ge=0, lt=1)
    blending: Literal["constant", "gaussian", "gaussian-centred"] = "gaussian"
    sigma: PositiveFloat = 0.125
    placing: Literal["even", "flush"] = "even"
    padding: Literal["zero", "edge"] = "zero"


class Output(Strict):
    """From the network's channels to organs.

    Without a threshold the largest channel wins and channel 0 is background; with one each organ's channels are
    painted where they exceed it, later organs over earlier ones. The activation comes before the way back to the
    scan's grid. A class-prompted network has one output channel; `channels` is then how many classes it knows, and an
    organ's number is its class.
    """

    channels: int = Field(ge=1, le=255)
    organs: dict[str, int | tuple[int, ...]] = Field(min_length=1)
    activation: Activation = "softmax"
    threshold: float | None = None
    interpolation: Literal["nearest", "linear"] = "linear"
    largest_component: bool | tuple[str, ...] = False
    connectivity: Literal[6, 18, 26] = 26
    fill_holes: bool = False

    @property
    def of_organ(self) -> dict[str, tuple[int, ...]]:
        return {name: (given,) if isinstance(given, int) else given for name, given in self.organs.items()}

    @model_validator(mode="after")
    def _channels_exist(self) -> Output:
        for organ, channels in self.of_organ.items():
            if not channels or not all(0 <= channel < self.channels for channel in channels):
                raise ValueError(f"organ '{organ}' has channels {list(channels)}, of 0 to {self.channels - 1}")
            if self.threshold is None and 0 in channels:
                raise ValueError(f"organ '{organ}' is channel 0, the background; give a threshold if it is none")
        if not isinstance(self.largest_component, bool) and (odd := set(self.largest_component) - set(self.organs)):
            raise ValueError(f"largest_component names {', '.join(sorted(odd))}, which is no organ")
        return self


class Texts(Strict):
    """Where the vectors of a text-prompted network come from.

    file: .npz, a float32 vector a text. length: of a vector. at_once: the network takes this many vectors a call,
    [N, at_once, length]; without it one, [N, length].
    """

    file: str
    length: PositiveInt
    at_once: PositiveInt | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,) if self.at_once is None else (self.at_once, self.length)


class LocaliserOutput(Strict):
    """Where the localiser sees the body part: its channel above a threshold."""

    channels: PositiveInt
    channel: int = Field(ge=0)
    activation: Activation = "softmax"
    threshold: float = 0.5
    largest_component: bool = False
    connectivity: Literal[6, 18, 26] = 26

    @model_validator(mode="after")
    def _channel_exists(self) -> LocaliserOutput:
        if self.channel >= self.channels:
            raise ValueError(f"channel is {self.channel}, of 0 to {self.channels - 1}")
        return self


class Stage(Strict):
    """What the localiser and the network proper have in common."""

    network: Network
    grid: Grid = Grid()
    intensity: tuple[Rule, ...] = ()
    intensity_of: dict[str, tuple[Rule, ...]] = {}
    windows: Windows | None = None

    @model_validator(mode="after")
    def _has_a_size(self) -> Stage:
        if self.windows is None and self.grid.shape is None:
            raise ValueError("give windows (patch), or grid.shape for a network that sees the whole at once")
        return self

    @property
    def patch(self) -> Positive:
        found = self.windows.patch if self.windows is not None else self.grid.shape
        assert found is not None
        return found

    def rules(self, channel: str) -> tuple[Rule, ...]:
        return self.intensity_of.get(channel, self.intensity)


class Localiser(Stage):
    """A first look at the whole scan; the network proper sees the box around what it found.

    margin: a share of the box's size, added on either side. least: share of a plane's voxels that must be found for
    the plane to count. otherwise: what becomes of a scan in which nothing is found.
    """

    output: LocaliserOutput
    margin: float = Field(default=0.1, ge=0)
    least: float = Field(default=0.0, ge=0, lt=1)
    otherwise: Literal["whole", "error"] = "whole"


class Description(Stage):
    """A whole description file."""

    umd_engine: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    summary: str = ""
    licence: str = ""
    channels: tuple[str, ...] = Field(min_length=1)
    orientation: str = "RAS"
    localiser: Localiser | None = None
    output: Output
    prompts: Literal["none", "class", "point", "text"] = "none"
    texts: Texts | None = None

    @field_validator("orientation")
    @classmethod
    def _known_orientation(cls, value: str) -> str:
        if value not in ORIENTATIONS:
            raise ValueError("three letters of R/L, A/P and S/I: where each axis runs to, e.g. RAS or LPS")
        return value

    @model_validator(mode="after")
    def _holds_together(self) -> Description:
        for stage in self.stages:
            if odd := set(stage.intensity_of) - set(self.channels):
                raise ValueError(f"intensity_of names {', '.join(sorted(odd))}, which is no channel")
        for channel in self.channels:
            borrowed = any(isinstance(rule, Quantiles) and rule.of == "localiser" for rule in self.rules(channel))
            measured = () if self.localiser is None else self.localiser.rules(channel)
            if borrowed and not any(isinstance(rule, Quantiles) for rule in measured):
                raise ValueError(f"quantiles of the localiser, which measures none of channel {channel}")
        self._check_prompts()
        return self

    def _check_prompts(self) -> None:
        if self.prompts != "none" and (self.output.threshold is None or self.output.activation == "softmax"):
            raise ValueError("a prompted network answers in one channel: give a threshold, and sigmoid or none")
        if self.prompts in ("point", "text") and (self.output.channels != 1 or len(self.output.organs) != 1):
            raise ValueError(
                f"with prompts: {self.prompts} there is one output channel and one organ: what is asked for"
            )
        if (self.prompts == "text") != (self.texts is not None):
            raise ValueError("prompts: text needs texts (file, length), and nothing else has them")

    def told(self, stage: Stage) -> tuple[TensorSpec, ...]:
        """What a stage's network takes after the image, without the batch axis; the localiser is told nothing.

        Points are one here; a network takes any number of them.
        """
        if stage is not self or self.prompts == "none":
            return ()
        if self.prompts == "class":
            return (TensorSpec("class", (1,), torch.int64),)
        if self.prompts == "point":
            return TensorSpec("points", (1, 3)), TensorSpec("labels", (1,))
        assert self.texts is not None
        return (TensorSpec("embedding", self.texts.shape),)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self,) if self.localiser is None else (self.localiser, self)
