"""The doctor: what crashes or hangs is a row, bad versions are told, and what it says can be read again."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from umd_engine.bench.doctor import backends, kernels, versions
from umd_engine.bench.doctor.asking import Probe, ask
from umd_engine.bench.doctor.backends import NEEDS, Needs
from umd_engine.bench.doctor.diagnosis import ABSENT, FAILS, MISSING, NEVER, WORKS, from_json
from umd_engine.bench.doctor.run import diagnose
from umd_engine.bench.doctor.told import show
from umd_engine.cli import main
from umd_engine.engine.backends import BACKENDS
from umd_engine.errors import BackendError

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def own_probes():
    """Processes of the doctor find the module beside this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        yield


def asked(*functions, limit=30.0, argument=""):
    return ask([Probe(f"sample_probes:{name}", (argument,)) for name in functions], limit, os.environ)


def test_what_ends_its_process_is_an_answer_and_the_next_is_asked():
    first, crash, gone, error, refusal, last = asked("works", "crashes", "leaves", "raises", "refuses", "works")
    assert (first.status, first.found) == (last.status, last.found) == (WORKS, [""])
    assert crash.status == FAILS and "SIGSEGV" in crash.reason and "about to fail in native code" in crash.reason
    assert gone.status == FAILS and "exit status 3" in gone.reason
    assert (error.status, error.reason) == (FAILS, "ValueError: first line")
    assert (refusal.status, refusal.reason, refusal.mend) == (FAILS, "it cannot run here", "use another")


def test_what_hangs_is_ended_with_all_that_it_started(tmp_path):
    start = time.monotonic()
    hang, after = asked("hangs", "works", limit=3.0, argument=str(tmp_path / "pid"))
    assert hang.status == FAILS and hang.reason == "no answer within 3 s" and after.status == WORKS
    assert time.monotonic() - start < 60
    started = Path("/proc") / (tmp_path / "pid").read_text() / "stat"
    assert not started.exists() or ") Z " in started.read_text()


@pytest.fixture(scope="module")
def found(own_probes):
    """Of entries of our own."""
    command = {"cpu": "pip install it"}
    entries = {
        "torch": NEEDS["torch"],
        "crashing": Needs({"cpu": "json"}, command, "sample_probes:crashes"),
        "refusing": Needs({"cpu": "json"}, command, "sample_probes:refuses"),
        "absent": Needs({"cpu": "no_such_library"}, command),
        "of a GPU": Needs({"cuda": "json"}, {"cuda": ""}),
    }
    return diagnose(["cpu", "cuda:77"], entries, ["confusion"])


def test_every_backend_and_device_is_a_row(found):
    of = {(row.name, row.device): row for row in found.backends}
    assert of["torch", "cpu"].status == WORKS and of["torch", "cuda:77"].status == ABSENT
    crash, refusal, absent = (of[name, "cpu"] for name in ("crashing", "refusing", "absent"))
    assert crash.status == FAILS and "SIGSEGV" in crash.reason and crash.mend == "pip install it"
    assert (refusal.status, refusal.mend) == (FAILS, "use another")
    assert absent.status == MISSING and absent.mend == "pip install it"
    assert of["of a GPU", "cpu"].status == NEVER and of["crashing", "cuda:77"].status == NEVER
    assert found.healthy and found.device == "cpu"
    assert {row.device: row.status for row in found.kernels}["cpu"] == WORKS


def test_it_says_what_is_here(found, capsys):
    assert found.versions["torch"] and found.facts["torch"].startswith(found.versions["torch"].split("+")[0])
    assert found.facts["threads"] >= 1 and found.facts["memory"]["cpu"] > 0 and found.cache[2] > 0
    show(found)
    told = " ".join(capsys.readouterr().out.split())
    for words in ("SIGSEGV", "pip install it", "no_such_library is not installed", "torch on cpu, works"):
        assert words in told


def test_it_can_be_read_again(found):
    assert from_json(found.json) == found
    assert json.loads(found.json)["kind"] == "umd-engine doctor"


def test_another_kind_of_device_is_refused():
    ended = CliRunner().invoke(main, ["doctor", "--device", "tpu"])
    assert ended.exit_code == 1 and "unknown device 'tpu'" in ended.stderr


def test_every_backend_has_an_entry():
    assert set(NEEDS) == set(BACKENDS)
    assert backends.attempt("torch", "cpu") <= 1e-6


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_a_kernel_gives_the_reference_s_answer(kernel):
    kernels.attempt(kernel, "cpu")


def test_answers_are_compared_number_by_number():
    same = {"a": (np.arange(3), None, "word")}
    kernels.compare(same, same)
    with pytest.raises(BackendError, match="not the reference's"):
        kernels.compare(same, {"a": (np.array([0, 1, 3]), None, "word")})


GPU = {"devices": [{"name": "H200", "memory": 1, "capability": "9.0"}], "cuda": "13.0"}
CPU = {"devices": [], "cuda": None}
# versions, machine, words of the reason: an example of each row of the table, in its order
EXAMPLES = (
    ({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}, CPU, "share a folder"),
    ({"onnxruntime": "1.31.1"}, GPU, "no CUDA provider"),
    ({"onnxruntime-gpu": "1.31.1", "tensorrt": "11.0.0"}, GPU, "libnvinfer.so.10"),
    ({"tensorrt-rtx-cu13": "1.7.1.116"}, GPU, "9.0"),
    ({"triton": "3.6.0", "numpy": "2.4.6"}, CPU, "TRITON_INTERPRET"),
    ({"dynamic-network-architectures": "0.4.1"}, CPU, "timm"),
    ({"torchvision": "0.28.0", "torch": "2.13.0+cpu"}, CPU, "torchvision"),
    ({"panoptica": "1.0", "numpy": "1.26.4"}, CPU, "older numpy"),
    ({"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}, GPU, "share a folder"),
    ({"SimpleITK": "2.5.7"}, CPU, "z.nii"),
)
GOOD = {
    "onnxruntime-gpu": "1.31.1", "tensorrt": "10.13.0", "triton": "3.7.1", "numpy": "2.4.6", "torch": "2.13.0",
    "torchvision": "0.28.0", "dynamic-network-architectures": "0.3.1", "panoptica": "1.0", "cupy-cuda13x": "14.2.0",
}  # fmt: skip


@pytest.mark.parametrize(("have", "here", "words"), EXAMPLES)
def test_bad_versions_are_told_with_reason_source_and_mend(have, here, words):
    (fault,) = versions.faults(have, here)
    assert words in fault.reason and fault.source and fault.mend
    assert all(f"{name} {version}" in fault.found for name, version in have.items() if name in fault.found)


def test_every_row_of_the_table_has_an_example_and_good_versions_have_none():
    assert [versions.faults(have, here)[0].reason for have, here, _ in EXAMPLES] == [bad.reason for bad in versions.BAD]
    assert versions.faults(GOOD, GPU) == versions.faults({}, {}) == ()


@pytest.mark.full
def test_the_command_tries_every_backend_and_kernel():
    ended = CliRunner().invoke(main, ["doctor", "--json"])
    found = from_json(ended.stdout)
    assert ended.exit_code == int(not found.healthy) == 0
    assert {row.name for row in found.backends} == set(BACKENDS)
    assert {row.status for row in found.kernels if row.device == "cpu"} == {WORKS}
    assert not [row for row in found.backends if row.device == "cpu" and row.status == FAILS]
