"""The commented description that `models new` writes."""

from __future__ import annotations

from pathlib import Path

from umd_engine.data.atomic import atomic_file
from umd_engine.errors import DataError, OptionError, UnknownNameError

FILES = {
    "onnx": "network.onnx",
    "torchscript": "network.pt",
    "pt2": "network.pt2",
    "python": "network.py",
}
_FORMAT = {
    "onnx": "  # ONNX runs in ONNX Runtime: evaluate with --backend onnxruntime",
    "torchscript": "  # opening TorchScript can run code: it needs --trust PATH",
    "pt2": "  # opening a torch.export file can run code: it needs --trust PATH",
    "python": "  # a Python file is code: it needs --trust PATH",
}
_PYTHON = """
  function: build               # build() returns the torch.nn.Module
  # weights: weights.pth        # its state dict, loaded strictly; leave out where build() loads them
  # weights_key: state_dict     # where the file holds more than the state dict"""

TEMPLATE = """\
# A model of one's own. Everything after a # may go; docs/custom.md explains every key.
umd_engine: 1                   # of this format
name: {name}
summary: what it segments, in one line
licence: whose it is

channels: [ct]                  # one image each, in the order of the network's input channels
orientation: RAS                # where the axes of the network's input run to: RAS, LPS, SRA, ...

network:
{hint}
  format: {format}
  file: {file}{python}
  # output: 0                   # which, of a network with several outputs
  # batch: one                  # for a file that takes one item a call

grid:                           # the voxels that the network sees; leave out for the scan's own
  spacing: [1.5, 1.5, 1.5]      # mm along the axes of orientation; or shape: [128, 128, 128] for a fixed size
  interpolation: linear         # nearest, linear or cubic
  # placing: first-voxel        # as MONAI's Spacing; default: extent

intensity:                      # in this order, on the resampled image; of each channel alone
  - {{rule: window, low: -175, high: 250, to: [0, 1], clip: true}}
  # - {{rule: quantiles, low: 0.005, high: 0.995, to: [0, 1], clip: true}}
  # - {{rule: zscore, nonzero: false}}          # or with fixed mean: and std:
  # - {{rule: affine, scale: 1, offset: 0}}
# intensity_of: {{pet: [...]}}    # other rules for one channel

windows:                        # leave out for a network that sees the whole of grid.shape at once
  patch: [96, 96, 96]
  overlap: 0.5                  # share of the patch
  blending: gaussian            # constant, gaussian (nnU-Net's) or gaussian-centred (MONAI's)
  # placing: flush              # as MONAI's windows; default: even, as nnU-Net's

output:
  channels: 3                   # of the network, background included
  activation: softmax           # softmax, sigmoid or none
  # threshold: 0.5              # each organ alone, where its channel exceeds this; default: the largest channel
  organs: {{liver: 1, spleen: 2}}  # organ: its channel, or a list of channels
  # largest_component: true     # or a list of organs
  # fill_holes: true

# localiser:                    # a first network that finds where to look; the same keys, and
#   network: {{format: onnx, file: localiser.onnx}}
#   grid: {{shape: [128, 128, 128]}}
#   output: {{channels: 2, channel: 1, activation: softmax, threshold: 0.5, largest_component: true}}
#   margin: 0.1                 # share of the box added on either side

# prompts: class                # the network's second input is a class number (int64 [N, 1]); needs a threshold
                                # or point: points [N, P, 3] and labels [N, P] are its second and third input
                                # or text: a vector [N, 768] of texts: {{file: organs.npz, length: 768}}
"""


def write_template(path: Path, kind: str) -> None:
    """Write a commented description for a network of a format.

    Raises:
        UnknownNameError: no such format. OptionError: the file exists. DataError: it cannot be written.
    """
    if kind not in FILES:
        raise UnknownNameError("network format", kind, FILES)
    if path.exists():
        raise OptionError("it exists", where=path, mend="name another file")
    if path.suffix not in (".yaml", ".yml"):
        raise OptionError("a description ends with .yaml", where=path, mend=f"name it {path.stem or 'my'}.yaml")
    try:
        with atomic_file(path) as file:
            file.write(template(path.stem, kind).encode())
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=path, mend="check the folder") from None


def template(name: str, kind: str) -> str:
    return TEMPLATE.format(
        name=name, hint=_FORMAT[kind], format=kind, file=FILES[kind], python=_PYTHON if kind == "python" else ""
    )
