"""An ONNX file to a serialised engine of TensorRT or TensorRT-RTX."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from umd_engine.data.atomic import atomic_file
from umd_engine.engine.backends.tensorrt_library import TensorRTLibrary, open_tensorrt
from umd_engine.engine.backends.tensorrt_record import EngineRecord, Profile
from umd_engine.errors import BackendError, OptionError
from umd_engine.exporters.operators import check_operators

Range = tuple[int, int, int]
LONGEST_REASON = 400  # letters; the builder's messages may print weights


def build_engine(
    path: Path,
    batches: Sequence[int],
    *,
    library: str = "tensorrt",
    precision: str = "fp32",
    ranges: Mapping[str, Range] | None = None,
    capability: str | None = None,
    timing_cache: Path | None = None,
    memory: int | None = None,
) -> tuple[bytes, EngineRecord]:
    """The engine of a strongly typed graph, with one optimisation profile for each batch.

    Args:
        path: an ONNX file, its weights beside it where they are external; the graph's types decide the precision of
            every layer.
        batches: sizes of the axis "batch"; 1 among them, since other batches run in pieces.
        library: "tensorrt", which times kernels on the current CUDA device, or "tensorrt-rtx", which needs none.
        precision: "tf32" lets float32 layers use 10-bit mantissas; every other forbids it.
        ranges: lowest, likeliest and highest size of every other dynamic axis, by its name.
        capability: compute capability to build for, "8.0"; TensorRT-RTX only.
        timing_cache: file of kernel timings, read and written again; one that is broken or of another device is
            replaced. TensorRT-RTX times nothing, and leaves it without entries.
        memory: bytes of device memory that a layer may use as workspace; None: all.

    Raises:
        BackendError: the library is missing, or the graph is refused by `check_operators` or by the library's parser or
            builder; operators and nodes are named.
        OptionError: batches without 1, a dynamic axis without a range, a range that does not rise.
    """
    trt = open_tensorrt(library)
    sizes = _sizes(batches)
    check_operators(path)
    started = time.perf_counter()
    builder = trt.module.Builder(trt.logger)
    network = trt.create_network(builder)
    parser = trt.module.OnnxParser(network, trt.logger)  # owns the weights until the engine is built
    trt.errors.clear()
    if not parser.parse_from_file(str(path)):
        raise _refused_node(trt, path, parser)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    profiles = tuple(_profile(inputs, {**(ranges or {}), "batch": (size, size, size)}) for size in sizes)
    config = builder.create_builder_config()
    capabilities = trt.set_target(config, capability)
    _set_options(trt, config, precision, memory)
    for profile in profiles:
        _add_profile(builder, config, profile)
    plan = _build(trt, path, builder, network, config, timing_cache)
    here = None if trt.is_rtx else trt.place(torch.device("cuda"))
    record = EngineRecord(
        library=trt.name,
        version=trt.version,
        capabilities=capabilities,
        gpu=here.gpu if here else None,
        driver=here.driver if here else None,
        inputs=tuple(tensor.name for tensor in inputs),
        outputs=tuple(network.get_output(i).name for i in range(network.num_outputs)),
        batches=sizes,
        profiles=profiles,
        device_memory=_device_memory(trt, plan),
        seconds=time.perf_counter() - started,
    )
    return plan, record


def _build(
    trt: TensorRTLibrary, path: Path, builder: Any, network: Any, config: Any, timing_cache: Path | None
) -> bytes:
    if timing_cache is not None:
        _load_timings(config, timing_cache)
    trt.errors.clear()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _refused_graph(trt, path)
    if timing_cache is not None:
        _save_timings(config, timing_cache)
    return bytes(plan)


def _set_options(trt: TensorRTLibrary, config: Any, precision: str, memory: int | None) -> None:
    tf32 = trt.module.BuilderFlag.TF32  # on unless cleared
    if precision == "tf32":
        config.set_flag(tf32)
    else:
        config.clear_flag(tf32)
    if memory is not None:
        config.set_memory_pool_limit(trt.module.MemoryPoolType.WORKSPACE, memory)


def _sizes(batches: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(sorted(set(batches)))
    if not sizes or sizes[0] != 1:
        raise OptionError(
            f"batches {', '.join(map(str, batches))} lack 1, of which other batches are made", mend="add 1"
        )
    return sizes


def _profile(inputs: Sequence[Any], ranges: Mapping[str, Range]) -> Profile:
    """Lowest, likeliest and highest shape of every input."""
    for name, (low, likely, high) in ranges.items():
        if not 1 <= low <= likely <= high:
            raise OptionError(f"axis '{name}' cannot range from {low} over {likely} to {high}", mend="sort them")
    profile = {}
    for tensor in inputs:
        axes = []
        for axis, size in enumerate(tensor.shape):
            name = tensor.get_dimension_name(axis)
            if size == -1 and name not in ranges:
                raise OptionError(f"axis {axis} of {tensor.name} ('{name}') has no range", mend="state one")
            axes.append((size, size, size) if size != -1 else ranges[name])
        lowest, likeliest, highest = zip(*axes, strict=True)
        profile[tensor.name] = (lowest, likeliest, highest)
    return profile


def _add_profile(builder: Any, config: Any, profile: Profile) -> None:
    added = builder.create_optimization_profile()
    for name, shapes in profile.items():
        added.set_shape(name, *shapes)
    config.add_optimization_profile(added)


def _load_timings(config: Any, path: Path) -> None:
    kept = path.read_bytes() if path.exists() else b""
    for data in (kept, b""):
        timings = config.create_timing_cache(data)
        if timings is not None and config.set_timing_cache(timings, False):
            return


def _save_timings(config: Any, path: Path) -> None:
    try:
        with atomic_file(path) as file:
            file.write(bytes(config.get_timing_cache().serialize()))
    except OSError as error:
        raise BackendError(
            f"cannot write the timing cache: {error.strerror or error}", where=path, mend="free space there"
        ) from None


def _device_memory(trt: TensorRTLibrary, plan: bytes) -> int | None:
    """Bytes of scratch memory that the engine asks for; None without a device, where it cannot be opened."""
    if not torch.cuda.is_available():
        return None
    engine = trt.module.Runtime(trt.logger).deserialize_cuda_engine(plan)
    return None if engine is None else int(engine.device_memory_size_v2)


def _refused_node(trt: TensorRTLibrary, path: Path, parser: Any) -> BackendError:
    """What the parser did not take, by operator and node."""
    error = parser.get_error(0)
    lines = [line for line in error.desc().splitlines() if " " in line and not line.startswith("Invalid Node")]
    reason = f": {lines[0]}" if lines else ""
    if not error.node_operator():
        return BackendError(f"{trt} cannot read it{reason}", where=path)
    return BackendError(f"{trt} does not take {error.node_operator()} (node {error.node_name()}){reason}", where=path)


def _refused_graph(trt: TensorRTLibrary, path: Path) -> BackendError:
    """What did not build, by the operators and nodes that TensorRT's message names."""
    import onnx

    reason = trt.errors[0] if trt.errors else "it does not say why"
    words = set(reason.replace("...", " ").translate(str.maketrans("[]{}(),:;+'\"", " " * 12)).split())
    nodes = onnx.load(path, load_external_data=False).graph.node
    named = [node for node in nodes if node.name in words] or [node for node in nodes if node.op_type in words]
    names = ", ".join(f"{node.op_type} (node {node.name})" for node in named[:4])
    return BackendError(f"{trt} does not build {names or 'the graph'}: {reason[:LONGEST_REASON]}", where=path)
