"""The bytes that a call holds, against what torch allocates in a real one."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from umd_engine.engine.peak import peak
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.models.outline import outline
from umd_engine.models.stand_in import stand_in_units


def allocations(nodes, inside=None):
    """(allocation, the convolution that it is made within), of torch's profiler."""
    for node in nodes:
        if node.typed[0].name == "Allocation":
            yield node, inside
        else:
            yield from allocations(node.children, inside or (node if "convolution" in node.name else None))


def allocated(unit, batch, dtype=None):
    """Bytes at the peak of a real call on the CPU, inputs among them; without a convolution's workspace, which lives
    and dies within it."""
    inputs = unit.example(batch)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
        unit.module(*inputs)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            outputs = unit.module(*inputs)
            outputs = [out.float() for out in (outputs if isinstance(outputs, tuple) else (outputs,))]
    events = sorted(
        allocations(profiled.profiler.kineto_results.experimental_event_tree()), key=lambda pair: pair[0].start_time_ns
    )
    born, workspace = {}, set()
    for number, (node, inside) in enumerate(events):
        said = node.typed[1]
        if said.alloc_size > 0:
            born[said.ptr] = number, inside
        elif said.ptr in born:
            first, where = born.pop(said.ptr)
            if inside is not None and where is inside:
                workspace |= {first, number}
    now = most = 0
    for number, (node, _) in enumerate(events):
        now += 0 if number in workspace else node.typed[1].alloc_size
        most = max(most, now)
    return most + sum(x.nbytes for x in inputs)


@pytest.mark.parametrize(("name", "batch"), [("nnunet", 1), ("nnunet", 2), ("nninteractive", 2), ("sat-nano", 1)])
def test_a_call_holds_what_is_alive(name, batch):
    unit = stand_in_units(name, reduced=True)[0]
    assert peak(unit, batch) == pytest.approx(allocated(unit, batch), rel=0.01)


def test_16_bit_copies_of_weights_are_alive_to_the_end():
    unit = stand_in_units("nnunet", reduced=True)[0]
    assert peak(unit, 2, "bf16") == pytest.approx(allocated(unit, 2, torch.bfloat16), rel=0.1)
    unit.module.requires_grad_(False)
    without = peak(unit, 1, "fp16")
    unit.module.requires_grad_(True)
    weights = sum(p.nbytes for m in unit.module.modules() if isinstance(m, torch.nn.Conv3d) for p in m.parameters())
    assert without < peak(unit, 1, "fp16") <= without + weights


def test_16_bit_holds_about_half_and_a_batch_its_multiple():
    (unit,) = outline("vista3d", "vista3d", {}).units[:1]
    assert peak(unit, 1, "fp16") == peak(unit, 1, "bf16") == pytest.approx(peak(unit) / 2, rel=0.05)
    assert peak(unit, 4) == pytest.approx(4 * peak(unit), rel=0.01)


class Chain(torch.nn.Module):
    """Two tensors alive at once, whatever its length."""

    def forward(self, x):
        for _ in range(10):
            x = x + 1
        return x.view(-1)


def test_what_is_let_go_does_not_count_and_a_view_is_its_tensor():
    voxels = 1000
    # the caller holds the inputs; besides them the last value and the one before it
    assert peak(Unit("chain", Chain(), (TensorSpec("x", (voxels,)),))) == 3 * 4 * voxels


class Normal(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.layer_norm(x, x.shape[1:])


def test_norms_are_float32_in_16_bit():
    unit = Unit("normal", torch.nn.Sequential(torch.nn.Linear(64, 64), Normal()), (TensorSpec("x", (500, 64)),))
    tokens = 500 * 64
    # of the product in 16 bit: its copy in float32 and the norm's answer
    assert peak(unit, 1, "fp16") >= (4 + 2 + 4 + 4) * tokens


def test_a_file_cannot_be_counted():
    module = torch.nn.Identity()
    module.runtime = "onnxruntime"
    with pytest.raises(BackendError, match="cannot be counted"):
        peak(Unit("file", module, (TensorSpec("x", (1,)),)))
