"""Network files, opened: what each format needs before it becomes a unit."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import torch

from umd_engine.engine.executor import is_out_of_memory
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import CheckpointError, MissingFileError, ModelError, UmdEngineError
from umd_engine.models.catalog.folder import sha256_of
from umd_engine.models.checkpoint import hash_of_weights, load_checkpoint, load_strictly
from umd_engine.models.custom.description import CODE_FORMATS, Network, Stage
from umd_engine.models.custom.trust import require_trust


class Opened(torch.nn.Module):
    """A network file behind one face: a tensor an input, one tensor out.

    Args:
        where: the network's file, for errors.

    Attributes:
        runtime: the backend that runs it.
    """

    def __init__(
        self, network: torch.nn.Module, digest: str, runtime: str, where: Path, output: int = 0, one: bool = False
    ):
        super().__init__()
        self.network, self.digest, self.runtime, self.where = network, digest, runtime, where
        self.output, self.one = output, one

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        if not self.one or len(inputs[0]) == 1:
            return self._picked(self._called(*inputs))
        items = [self._picked(self._called(*(x[i : i + 1] for x in inputs))) for i in range(len(inputs[0]))]
        return torch.cat(items)

    def _called(self, *inputs: torch.Tensor) -> Any:
        """What the network gives; what it raises, other than of memory, becomes an error of ours."""
        try:
            return self.network(*inputs)
        except (UmdEngineError, MemoryError):
            raise
        except Exception as error:  # whatever the user's own code raises
            said = str(error).strip().splitlines() or [type(error).__name__]
            if is_out_of_memory(error):
                raise  # the executor's to mend
            shapes = " and ".join(str(tuple(x.shape)) for x in inputs)
            raise ModelError(
                f"the network fails on {shapes}: {said[-1][:160]}",
                where=self.where,
                mend="mend the description, or the network",
            ) from None

    def train(self, mode: bool = True) -> Opened:
        """Nothing: networks are opened as they are to run, and an exported one refuses to be asked."""
        return self

    def _picked(self, found: Any) -> torch.Tensor:
        if isinstance(found, Mapping):
            found = list(found.values())
        if isinstance(found, list | tuple):
            if self.output >= len(found):
                raise ModelError(f"the network has {len(found)} outputs", where=self.where, mend="mend network.output")
            found = found[self.output]
        if not isinstance(found, torch.Tensor) or not found.is_floating_point():
            kind = found.dtype if isinstance(found, torch.Tensor) else type(found).__name__
            raise ModelError(
                f"the network gives {kind}, not a tensor of float32",
                where=self.where,
                mend="mend network.output, or give a value a voxel and class",
            )
        return found.float() if found.dtype is torch.float64 else found

    def extra_repr(self) -> str:
        return f"sha256={self.digest}"  # a unit's hash is made of its words and weights


@dataclass(frozen=True, eq=False)
class Piece:
    """A stage's network, opened.

    Attributes:
        files: path as the description has it -> SHA-256; FILE.py:FUNCTION -> that of the weights it returns.
        code: the format, where opening the file ran code that the user trusts; else empty.
    """

    module: Opened
    files: Mapping[str, str]
    code: str = ""


def open_network(
    network: Network, stage: Stage, channels: int, told: Sequence[TensorSpec], where: Path, trust: str
) -> Piece:
    """Open a stage's network file.

    Args:
        channels: of the image. told: what the network takes after it, of `Description.told`.
        where: the description.

    Raises:
        MissingFileError: no such file. OptionError: it can run code and is not trusted.
        ModelError, CheckpointError, UnsupportedModelError, BackendError: it cannot be used.
    """
    path = where.parent / network.file
    if not path.is_file():
        raise MissingFileError("no such network file", where=path, mend=f"mend network.file in {where}")
    if network.format == "onnx":
        from umd_engine.models.custom.onnx_file import OnnxNetwork, check_onnx

        path = path.resolve()  # external data lies beside the file itself, not beside a link to it
        found = check_onnx(path, stage.patch, channels, told, network.output)
        files = {network.file: sha256_of(path), **{name: sha256_of(path.parent / name) for name in found.external}}
        one = network.batch == "one" or found.one
        return Piece(Opened(OnnxNetwork(path), _together(files), "onnxruntime", path, network.output, one), files)
    if network.format == "bundle":
        return _bundle(path, network, where)
    assert network.format in CODE_FORMATS
    require_trust(path, where, network.format, trust)
    files = {network.file: sha256_of(path)}
    if network.weights is not None:
        files[network.weights] = sha256_of(_weights(network.weights, where))
    module = {"torchscript": _torchscript, "pt2": _pt2, "python": _python}[network.format](path, network, where)
    if network.format == "python":  # its code may read weights from anywhere
        files[f"{network.file}:{network.function}"] = hash_of_weights(module.state_dict())
    opened = Opened(module, _together(files), "torch", path, network.output, network.batch == "one")
    return Piece(opened, files, network.format)


def unit_of(name: str, piece: Piece, stage: Stage, channels: int, told: Sequence[TensorSpec]) -> Unit:
    """A stage's unit at its patch, with the inputs that it takes after the image."""
    return Unit(name, piece.module, (TensorSpec("image", (channels, *stage.patch)), *told), ("values",))


def _weights(name: str, where: Path) -> Path:
    if not (where.parent / name).is_file():
        raise MissingFileError("no such weights", where=where.parent / name, mend=f"mend network.weights in {where}")
    return where.parent / name


def _bundle(path: Path, network: Network, where: Path) -> Piece:
    """The network of a MONAI bundle by its configs/inference.json; nothing of it is run."""
    from umd_engine.models.custom.bundle.config import Config
    from umd_engine.models.custom.bundle.network import build, load_weights, weights_file

    folder = path.parent.parent
    config = Config(folder, path.stem)
    if config.path != path:
        raise ModelError(f"a bundle's configuration is {config.path}", where=path, mend=f"mend network.file in {where}")
    module = build(config)
    name = network.weights or weights_file(config)
    weights = folder / name if network.weights is None else _weights(name, where)
    load_weights(module, weights)
    files = {network.file: sha256_of(path), name: sha256_of(weights)}
    return Piece(Opened(module, _together(files), "torch", path, network.output, network.batch == "one"), files)


def _together(files: Mapping[str, str]) -> str:
    return "-".join(files.values())


def _torchscript(path: Path, network: Network, where: Path) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        try:
            return torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise _unreadable(path, "TorchScript", error) from None


def _pt2(path: Path, network: Network, where: Path) -> torch.nn.Module:
    from zipfile import BadZipFile

    from torch._export.serde.schema_check import SchemaUpdateError

    try:
        return torch.export.load(str(path)).module()
    except (RuntimeError, ValueError, OSError, KeyError, AttributeError, BadZipFile, SchemaUpdateError) as error:
        raise _unreadable(path, "torch.export", error) from None


def _unreadable(path: Path, kind: str, error: Exception) -> CheckpointError:
    first = str(error).strip().splitlines()
    return CheckpointError(
        f"not a readable {kind} file ({type(error).__name__}: {first[0][:120] if first else 'no reason given'})",
        where=path,
        mend="check network.format, or save the file again with this torch",
    )


def _python(path: Path, network: Network, where: Path) -> torch.nn.Module:
    """What the file's function returns, with the weights, where they are given, loaded strictly."""
    name = f"umd_engine_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceFileLoader(name, str(path)))
    assert spec is not None and spec.loader is not None and network.function is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        built = getattr(module, network.function)()
    except Exception as error:  # whatever the user's own code raises
        raise ModelError(
            f"{network.function}() of the file fails: {type(error).__name__}: {error}", where=path, mend="mend the file"
        ) from error
    if not isinstance(built, torch.nn.Module):
        raise ModelError(f"{network.function}() returns no torch.nn.Module", where=path, mend="return the network")
    if network.weights is not None:
        weights = _weights(network.weights, where)
        state = load_checkpoint(weights)
        if network.weights_key is not None:
            if network.weights_key not in state:
                raise CheckpointError(f"has no key '{network.weights_key}'", where=weights, mend="mend weights_key")
            state = state[network.weights_key]
        load_strictly(built, state, weights)
    return built.eval()
