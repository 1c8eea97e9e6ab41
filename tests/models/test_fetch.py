"""`models fetch` against a server on this machine that speaks the hub's protocol, faults included."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner
from hub_server import COMMIT, Hub, sha256

from umd_engine import __version__
from umd_engine.cli import main
from umd_engine.models.catalog import Request

CHUNK = 10 * 1024 * 1024  # what huggingface_hub writes at once
SAM, NNI = "blueyo0/SAM-Med3D", "MIC-DKFZ/nnInteractive"
NAME = "sam_med3d_turbo.pth"
CLIP = ("vocab.json", "merges.txt")


def content(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Starts a hub with the given files; the checkpoint folder is below tmp_path."""
    hubs = []
    monkeypatch.setenv("UMD_ENGINE_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)

    def start(files, repository=SAM):
        hub = Hub(repository, files)
        threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True).start()
        hubs.append(hub)
        return hub

    yield start
    for hub in hubs:
        hub.shutdown()
        hub.server_close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def fetch(hub, *more, name="sam-med3d-turbo", code=0):
    address = hub if isinstance(hub, str) else hub.url
    result = CliRunner().invoke(main, ["models", "fetch", name, "--yes", "--endpoint", address, *more])
    assert result.exit_code == code, result.output + result.stderr
    return result


def error_line(result):
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line


def model_files():
    return {
        "README.md": b"not wanted",
        "nnInteractive_v1.0/LICENSE": b"CC BY-NC-SA 4.0\n",
        "nnInteractive_v1.0/plans.json": b"{}",
        "nnInteractive_v1.0/fold_0/checkpoint_final.pth": content(300_000),
    }


def test_a_folder_of_files_is_fetched_and_recorded_and_found(serve, folder):
    files = model_files()
    hub = serve(files, NNI)
    text = fetch(hub, name="nninteractive").output
    wanted = {name: data for name, data in files.items() if name.startswith("nnInteractive_v1.0/")}
    there = folder / "nninteractive"
    assert {str(p.relative_to(there)) for p in there.rglob("*") if p.is_file()} == {*wanted, "fetched.json"}
    assert all((there / name).read_bytes() == data for name, data in wanted.items())
    record = json.loads((there / "fetched.json").read_text())
    assert (record["revision"], record["asked"], record["endpoint"]) == (COMMIT, "main", hub.url)
    assert {n: (f["source"], f["size"], f["sha256"]) for n, f in record["files"].items()} == {
        name: (name, len(data), sha256(data)) for name, data in wanted.items()
    }
    assert "CC-BY-NC-SA-4.0" in text and "300.0 kB" in text and str(there) in text
    assert [path for _, path, _ in hub.downloads() if "README" in path] == []
    assert Request.parse("nninteractive").path == there / "nnInteractive_v1.0"


def test_the_tokenizer_goes_to_a_folder_of_its_own(serve, folder):
    files = {"pytorch_model.bin": content(1000), "vocab.json": b"{}", "merges.txt": b"#version: 0.2\n", "x.py": b"no"}
    fetch(serve(files, "BAAI/SegVol"), name="segvol")
    assert (folder / "segvol" / "pytorch_model.bin").read_bytes() == files["pytorch_model.bin"]
    assert (folder / "clip-vit-base-patch32" / "merges.txt").read_bytes() == files["merges.txt"]
    assert (
        "../clip-vit-base-patch32/vocab.json" in json.loads((folder / "segvol" / "fetched.json").read_text())["files"]
    )
    assert "all 3 files are there" in fetch("http://127.0.0.1:9", name="segvol").output


def test_a_second_call_asks_nobody_and_compares_hashes(serve, folder):
    files = model_files()
    hub = serve(files, NNI)
    fetch(hub, name="nninteractive")
    before = len(hub.seen)
    assert "all 3 files are there" in fetch(hub, name="nninteractive").output and len(hub.seen) == before
    path = folder / "nninteractive" / "nnInteractive_v1.0" / "fold_0" / "checkpoint_final.pth"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    line = error_line(fetch(hub, name="nninteractive", code=1))
    assert str(path) in line and sha256(files["nnInteractive_v1.0/fold_0/checkpoint_final.pth"]) in line
    path.unlink()
    count = len(hub.downloads())
    fetch(hub, name="nninteractive")
    assert sha256(path.read_bytes()) == sha256(files["nnInteractive_v1.0/fold_0/checkpoint_final.pth"])
    assert len(hub.downloads()) == count + 1  # the missing one only


def test_a_cut_connection_is_continued(serve, folder):
    data = content(2 * CHUNK + 12345)
    hub = serve({NAME: data})
    hub.cut = CHUNK + 5000
    fetch(hub)
    assert (folder / "sam-med3d-turbo" / NAME).read_bytes() == data
    ranges = [asked for _, _, asked in hub.downloads()]
    assert ranges == [None, f"bytes={CHUNK}-"]


def test_a_later_call_continues_what_an_earlier_one_left(serve, folder):
    data = content(2 * CHUNK + 12345)
    hub = serve({NAME: data})
    hub.cut, hub.refuse = CHUNK + 5000, True
    line = error_line(fetch(hub, code=1))
    assert "503" in line and str(folder / "sam-med3d-turbo" / NAME) in line and hub.url in line
    assert not (folder / "sam-med3d-turbo" / NAME).exists()
    hub.refuse = False
    fetch(hub)
    assert (folder / "sam-med3d-turbo" / NAME).read_bytes() == data
    assert hub.downloads()[-1][2] == f"bytes={CHUNK}-"
    assert sorted(p.name for p in (folder / "sam-med3d-turbo").iterdir()) == ["fetched.json", NAME]


@pytest.mark.faults
def test_a_killed_process_leaves_what_the_next_one_continues(serve, folder):
    data = content(2 * CHUNK + 12345)
    hub = serve({NAME: data})
    hub.cut, hub.hold = CHUNK + 5000, threading.Event()
    command = [
        sys.executable, "-m", "umd_engine.cli", "models", "fetch", "sam-med3d-turbo", "--yes", "--endpoint", hub.url
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    parts = []
    while time.monotonic() < deadline and not parts:
        parts = [p for p in folder.rglob("*.part") if p.stat().st_size == CHUNK]
        time.sleep(0.05)
    assert parts and process.poll() is None, "it ended before it could be killed"
    try:
        assert "another process" in error_line(fetch(hub, code=1))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        hub.hold.set()
    fetch(hub)
    assert (folder / "sam-med3d-turbo" / NAME).read_bytes() == data
    assert hub.downloads()[-1][2] == f"bytes={CHUNK}-"


def test_a_server_that_ignores_range_is_fetched_from_the_start(serve, folder):
    data = content(2 * CHUNK + 12345)
    hub = serve({NAME: data})
    hub.cut, hub.ranges = CHUNK + 5000, False
    fetch(hub)
    assert (folder / "sam-med3d-turbo" / NAME).read_bytes() == data


def test_what_another_revision_left_is_not_continued(serve, folder):
    hub = serve({NAME: content(2 * CHUNK)})
    hub.cut, hub.refuse = CHUNK + 5000, True
    fetch(hub, code=1)
    hub.refuse, hub.files[NAME] = False, content(2 * CHUNK, seed=1)
    fetch(hub)
    assert (folder / "sam-med3d-turbo" / NAME).read_bytes() == hub.files[NAME]


@pytest.mark.parametrize("size", [999, 1001])
def test_a_wrong_size_is_refused_and_not_kept(serve, folder, size):
    hub = serve({NAME: content(size)})
    hub.sizes[NAME] = 1000
    line = error_line(fetch(hub, code=1))
    assert f"{size} bytes came instead of 1000" in line and "by hand" in line
    assert list((folder / "sam-med3d-turbo").iterdir()) == []


@pytest.mark.parametrize("name", ["sam-med3d-turbo", "segvol"])  # a large file has SHA-256, a small one git's SHA-1
def test_a_wrong_hash_is_refused_and_not_kept(serve, folder, name):
    if name == "segvol":
        hub = serve({"pytorch_model.bin": b"1", "vocab.json": b"{}", "merges.txt": b"2"}, "BAAI/SegVol")
        hub.hashes["vocab.json"] = "0" * 40
    else:
        hub = serve({NAME: content(1000)})
        hub.hashes[NAME] = "0" * 64
    assert "another hash" in error_line(fetch(hub, name=name, code=1))
    assert not list(folder.rglob("*.part")) and not list(folder.rglob("vocab.json")) and not list(folder.rglob(NAME))


def test_a_file_copied_by_hand_is_kept_if_it_is_the_published_one(serve, folder):
    data = content(1000)
    hub = serve({NAME: data})
    path = folder / "sam-med3d-turbo" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    fetch(hub)
    assert hub.downloads() == [] and (path.parent / "fetched.json").exists()
    (path.parent / "fetched.json").unlink()
    path.write_bytes(data[:-1])
    line = error_line(fetch(hub, code=1))
    assert str(path) in line and "move it away" in line and path.read_bytes() == data[:-1]


def test_no_such_repository_revision_or_file(serve, folder):
    hub = serve({NAME: content(10)}, "somebody/else")
    assert f"no repository {SAM}" in error_line(fetch(hub, code=1))
    hub = serve({NAME: content(10)})
    assert "no revision 'v9'" in error_line(fetch(hub, "--revision", "v9", code=1))
    assert "no file sam_med3d_turbo.pth" in error_line(fetch(serve({"other.pth": b"1"}), code=1))
    hub.gone.add(NAME)
    line = error_line(fetch(hub, code=1))
    assert f"no file {NAME}" in line and f"{hub.url}/{SAM}/resolve/{COMMIT}/{NAME}" in line
    assert not list(folder.rglob("*.pth"))


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_no_server(serve, folder):
    address = f"http://127.0.0.1:{closed_port()}"
    line = error_line(fetch(address, code=1))
    assert "no connection" in line and "by hand" in line
    assert f"{address}/{SAM}/tree/main" in line and str(folder / "sam-med3d-turbo") in line


def test_offline_mode_is_said(serve, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in error_line(fetch(serve({NAME: b"1"}), code=1))


def test_the_hub_of_the_environment_is_asked(serve, folder, monkeypatch):
    hub = serve({NAME: content(10)})
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    result = CliRunner().invoke(main, ["models", "fetch", "sam-med3d-turbo", "--yes", "--revision", COMMIT])
    assert result.exit_code == 0, result.output
    assert (folder / "sam-med3d-turbo" / NAME).exists()
    assert "no address" in error_line(fetch("hf-mirror.com", name="segvol", code=1))


def test_no_token_and_nothing_of_the_machine_leaves(serve, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub = serve({NAME: content(10)})
    fetch(hub)
    assert len(hub.senders) >= 3 and set(hub.senders) == {(None, f"umd-engine/{__version__}")}


def test_names_that_lead_out_of_the_folder_are_refused(serve, folder):
    hub = serve({"nnInteractive_v1.0/../../../escaped": b"1"}, NNI)
    assert "outside" in error_line(fetch(hub, name="nninteractive", code=1))
    assert not (folder.parent / "escaped").exists()


def test_a_full_disk_is_said_before_anything_is_fetched(serve):
    hub = serve({NAME: content(10)})
    hub.sizes[NAME] = 10**18
    line = error_line(fetch(hub, code=1))
    assert "1000000000.00 GB are needed" in line and "UMD_ENGINE_CHECKPOINTS" in line and hub.downloads() == []


def test_a_damaged_record_is_said(serve, folder):
    (folder / "sam-med3d-turbo").mkdir(parents=True)
    (folder / "sam-med3d-turbo" / "fetched.json").write_text('{"model": 1}')
    assert "fetched.json" in error_line(fetch(serve({NAME: b"1"}), code=1))


def test_models_without_published_weights_and_unknown_ones(serve):
    assert "no address of published weights" in error_line(fetch("http://127.0.0.1:9", name="nnunet", code=1))
    assert "sam-med3d-turbo" in error_line(fetch("http://127.0.0.1:9", name="sam-med3d", code=1))


def test_without_a_terminal_nothing_is_fetched_unasked(serve, folder):
    hub = serve({NAME: content(1000)})
    result = CliRunner().invoke(main, ["models", "fetch", "sam-med3d-turbo", "--endpoint", hub.url], input="y\n")
    assert result.exit_code == 1 and "--yes" in error_line(result)
    assert "Apache-2.0" in result.output and "1.0 kB" in result.output
    assert hub.downloads() == [] and not folder.exists()


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_the_licence_is_asked(serve, folder, answer, code):
    hub = serve({NAME: content(1000)})
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "umd_engine.cli", "models", "fetch", "sam-med3d-turbo", "--endpoint", hub.url]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.write(ours, f"{answer}\n".encode())
    text = process.communicate(timeout=60)[0].decode()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code and "Download under Apache-2.0?" in text, text
    assert (folder / "sam-med3d-turbo" / NAME).exists() == (answer == "y")
