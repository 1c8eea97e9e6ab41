"""TensorRT without a device: what is refused, and by which words. What runs on a device is tested nowhere yet."""

import dataclasses
import importlib.util
import json

import pytest
import torch

from umd_engine.engine.backends.tensorrt_engine import TensorRTSession, is_fixed
from umd_engine.engine.backends.tensorrt_library import LIBRARIES, driver_version, open_tensorrt
from umd_engine.engine.backends.tensorrt_record import EngineRecord, Place, check_fits
from umd_engine.errors import BackendError, UnknownNameError

SHAPE = (1, 2, 8, 8, 8)
HERE = Place("tensorrt", "10.13.3.9", "9.0", "NVIDIA H200", "580.65.06")
RECORD = EngineRecord(
    library="tensorrt",
    version="10.13.3.9",
    capabilities=("9.0",),
    gpu="NVIDIA H200",
    driver="580.65.06",
    inputs=("image",),
    outputs=("logits",),
    batches=(1,),
    profiles=({"image": (SHAPE, SHAPE, SHAPE)},),
    device_memory=1 << 20,
    seconds=2.5,
)


def test_a_record_comes_back_from_json():
    assert EngineRecord.from_json(json.loads(json.dumps(RECORD.to_json()))) == RECORD


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(EngineRecord)])
def test_a_record_without_a_value_is_refused(name):
    values = RECORD.to_json()
    del values[name]
    with pytest.raises(BackendError, match="not the record of an engine"):
        EngineRecord.from_json(values)


def test_an_engine_fits_where_it_was_built():
    check_fits(RECORD, HERE)
    # TensorRT-RTX compiles where it runs: any GPU of its capabilities, any driver
    portable = dataclasses.replace(
        RECORD, library="tensorrt-rtx", version="1.7.1.116", capabilities=("8.0", "9.0"), gpu=None, driver=None
    )
    check_fits(portable, Place("tensorrt-rtx", "1.7.1.116", "9.0", "another", "another"))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"library": "tensorrt-rtx"}, "library tensorrt instead of tensorrt-rtx"),
        ({"version": "11.2.1.4"}, r"version 10\.13\.3\.9 instead of 11\.2\.1\.4"),
        ({"gpu": "NVIDIA A100"}, "GPU NVIDIA H200 instead of NVIDIA A100"),
        ({"driver": "575.1"}, r"driver 580\.65\.06 instead of 575\.1"),
        ({"capability": "8.0"}, r"compute capability 9\.0 instead of 8\.0"),
    ],
)
def test_an_engine_of_another_machine_is_refused(other, told):
    with pytest.raises(BackendError, match=told):
        check_fits(RECORD, dataclasses.replace(HERE, **other))


def test_all_differences_are_told_at_once():
    with pytest.raises(BackendError, match=r"version .*GPU .*compute capability .*export the unit again"):
        check_fits(RECORD, dataclasses.replace(HERE, version="11.2.1.4", gpu="NVIDIA A100", capability="8.0"))


def test_only_profiles_of_one_shape_are_captured():
    assert is_fixed(RECORD.profiles[0])
    assert not is_fixed({"image": (SHAPE,) * 3, "clicks": ((1, 1, 3), (1, 2, 3), (1, 16, 3))})


def test_a_cpu_is_refused(tmp_path):
    with pytest.raises(BackendError, match="does not run on cpu"):
        TensorRTSession(tmp_path / "none", RECORD, torch.device("cpu"))


def test_unknown_libraries_and_missing_ones():
    with pytest.raises(UnknownNameError, match="tensorrt"):
        open_tensorrt("tensor-rt")
    for name in LIBRARIES:
        if importlib.util.find_spec(name.replace("-", "_")) is None:
            with pytest.raises(BackendError, match=rf"{name} is not installed.*umd-engine\[{name}\]"):
                open_tensorrt(name)
        else:
            assert open_tensorrt(name).name == name


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has a CUDA device")
def test_a_machine_without_a_device_has_no_driver_version():
    assert driver_version() is None
