"""FLOPs and bytes without computing, against torch's counter and by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from umd_engine.engine.profiles import PROFILES, find_profile
from umd_engine.engine.tally import tally
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError, OptionError, UnknownNameError
from umd_engine.models.outline import outline
from umd_engine.models.stand_in import stand_in_units


@pytest.mark.parametrize("name", ["nnunet", "nninteractive"])
def test_products_are_those_that_torch_counts_and_the_unit_still_runs(name):
    (unit,) = stand_in_units(name, reduced=True)
    counted = tally(unit, 2)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        (output,) = (unit.module(*unit.example(2)),)
    assert counted.flops == counter.get_total_flops() == 2 * tally(unit).flops
    assert counted.outputs == (tuple(output.shape),)
    parameters = {id(p): p.nbytes for p in unit.module.parameters()}
    assert counted.weights == sum(parameters.values())
    assert not any(p.is_meta for p in unit.module.parameters())


class Attention(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.scaled_dot_product_attention(x, x, x)


def test_attention_is_counted_by_its_products():
    tokens, width = 24, 8
    counted = tally(Unit("attention", Attention(), (TensorSpec("x", (2, tokens, width)),)))
    assert counted.flops == 2 * 2 * (2 * tokens * tokens * width)  # two products, two heads


def test_bytes_are_what_is_read_and_written():
    linear = torch.nn.Linear(10, 6, bias=False)
    counted = tally(Unit("linear", torch.nn.Sequential(linear, torch.nn.ReLU()), (TensorSpec("x", (10,)),)), 5)
    assert counted.flops == 2 * 5 * 10 * 6
    assert counted.product_bytes == 4 * (5 * 10 + 10 * 6 + 5 * 6) and counted.other_bytes == 4 * 2 * 5 * 6
    assert counted.operators == 2 and counted.weights == 4 * 60


def test_a_file_cannot_be_counted():
    module = torch.nn.Identity()
    module.runtime = "onnxruntime"
    with pytest.raises(BackendError, match="cannot be counted"):
        tally(Unit("file", module, (TensorSpec("x", (1,)),)))


# published for an A100, AMP, batch 1; one share of the peak cannot fit both
@pytest.mark.parametrize(("name", "seconds"), [("nnunet", 14.6e-3), ("vista3d", 91.9e-3)])
def test_derived_times_are_near_published_ones(name, seconds):
    (unit,) = outline(name, name, {}).units
    assert PROFILES["a100"].seconds(tally(unit), 1, "fp16") == pytest.approx(seconds, rel=0.4)


def test_a_small_call_waits_for_its_operators_and_a_batch_reads_weights_once():
    (unit,) = stand_in_units("nnunet", reduced=True)
    counted, h200 = tally(unit), find_profile("h200")
    assert h200.seconds(counted, 1, "fp16") == counted.operators * h200.launch
    large = tally(outline("nnunet", "nnunet", {}).units[0])
    one, eight = (h200.seconds(large, batch, "fp16") for batch in (1, 8))
    assert 7 * one < eight <= 8 * one < 8 * h200.seconds(large, 1, "fp32")


def test_unknown_devices_and_precisions():
    with pytest.raises(UnknownNameError, match="h200"):
        find_profile("h20")
    with pytest.raises(OptionError, match="int8"):
        find_profile("h200").rate("int8")
