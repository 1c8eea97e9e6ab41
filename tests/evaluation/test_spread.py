"""A run over a cluster gives the rows of a run in one process, whatever happens to its workers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from asked_model import CubeModel, CubeRequest, clicks_of, evaluate, make_pairs, prompts
from click.testing import CliRunner
from cohort import MODEL, command_of, make_cohort, write_manifest, write_scan
from s3_common import SECRET, s3_server

from umd_engine.cli import main
from umd_engine.data.manifest import read_manifest
from umd_engine.engine.cluster import Cluster
from umd_engine.engine.fault import SWITCH
from umd_engine.evaluation.lock import only_writer
from umd_engine.evaluation.run import Evaluation, Settings
from umd_engine.evaluation.run_folder import home
from umd_engine.evaluation.spread import Spread
from umd_engine.evaluation.store import Store

TIMES = ("seconds",)
NNUNET = ("--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0")


def umd(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def rows_of(run):
    with Store(run / "store.sqlite", create=False) as store:
        return [{name: value for name, value in asdict(row).items() if name not in TIMES} for row in store.rows()]


def files_of(run):
    with Store(run / "store.sqlite", create=False) as store:
        return store.files()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Four scans, one of them damaged."""
    folder = tmp_path_factory.mktemp("cohort")
    rows = [write_scan(folder, f"s{i:03d}", i) for i in range(4)]
    content = (folder / "s002.nii.gz").read_bytes()
    (folder / "s002.nii.gz").write_bytes(content[: len(content) // 2])
    return write_manifest(folder, rows)


def test_without_ray_it_says_what_to_install(cohort, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = umd("evaluate", cohort, "--out", tmp_path / "run", *NNUNET, "--cluster", "local:2", code=1)
    assert "pip install 'umd-engine[cluster]'" in result.stderr and not (tmp_path / "run").exists()


def test_a_trace_over_a_cluster_is_refused_before_anything_is_written(cohort, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    run, trace = tmp_path / "run", tmp_path / "trace.json"
    more = ("--cluster", "local:2", "--trace", trace)
    assert "leave out --trace or --cluster" in umd("evaluate", cohort, "--out", run, *NNUNET, *more, code=1).stderr
    assert not run.exists() and not trace.exists()


def test_one_writer_on_this_machine_of_a_remote_run(cohort, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = "memory://locked"
    with only_writer(home(Path(run))):
        told = umd("evaluate", cohort, "--out", run, *NNUNET, code=1)
    assert f"process {os.getpid()}" in told.stderr and "is writing to it" in told.stderr


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models, so that a scan is shared, and one that cannot be loaded."""
    broken = shutil.copytree(MODEL, tmp_path_factory.mktemp("broken") / "model")
    (broken / "fold_0" / "checkpoint_final.pth").write_bytes(b"no checkpoint")
    other = ("--model", f"nnunet@plain={MODEL}", "--set", "nnunet@plain.mirroring=false")
    return (*NNUNET, *other, "--model", f"nnunet@broken={broken}")


@pytest.fixture(scope="module")
def alone(cohort, models, tmp_path_factory):
    run = tmp_path_factory.mktemp("alone")
    umd("evaluate", cohort, "--out", run, *models, "--save-masks", code=1)
    return run


@pytest.mark.full
def test_rows_and_masks_are_those_of_one_process(cohort, models, alone, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    run = tmp_path / "spread"
    umd("evaluate", cohort, "--out", run, *models, "--save-masks", "--cluster", "local:2", code=1)
    assert rows_of(run) == rows_of(alone) and {row["status"] for row in rows_of(run)} == {
        "ok",
        "no-reference",
        "corrupt-file",
        "bad-checkpoint",
    }
    assert files_of(run) == files_of(alone) and len(files_of(run)) == 6  # of the three scans that can be read
    masks = sorted(path.relative_to(alone) for path in alone.glob("masks/**/*.nii.gz"))
    assert len(masks) == 6 and all((run / mask).read_bytes() == (alone / mask).read_bytes() for mask in masks)
    predicted = tmp_path / "predicted"
    umd("predict", cohort, "--out", predicted, *models, "--cluster", "local:1", code=1)
    assert all((predicted / mask).read_bytes() == (alone / mask).read_bytes() for mask in masks)


@pytest.fixture
def head(monkeypatch, tmp_path):
    """`ray start --head` with a Ray Client server on a port of this machine, and a token of its own."""
    for package in ("ray", "grpc"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("a-token-of-32-characters-or-more")
    ports = {name: free_port() for name in ("--port", "--ray-client-server-port")}
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--disable-usage-stats"]
    options = ["--num-cpus=2", f"--object-store-memory={80 << 20}", "--include-dashboard=false"]
    options += [f"{name}={port}" for name, port in ports.items()]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    process = subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield f"ray://127.0.0.1:{ports['--ray-client-server-port']}"
    finally:
        process.terminate()  # ends what it started
        process.communicate(timeout=60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.full
def test_rows_through_a_ray_client_server_are_those_of_one_process(head, cohort, alone, models, tmp_path):
    port = int(head.rpartition(":")[2])
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, seconds=60)
    run = tmp_path / "spread"
    command = [sys.executable, "-m", "umd_engine.cli", "evaluate", cohort, "--out", run, *models, "--save-masks"]
    for _ in range(3):  # Ray's server dies now and then as it forks for a client (ray-project/ray#63202)
        ended = subprocess.run([*map(str, command), "--cluster", head], capture_output=True, text=True, timeout=300)
        if "Starting Ray client server failed" not in ended.stderr:
            break
    assert ended.returncode == 1 and "s002" in ended.stderr, ended.stderr  # the damaged scan
    assert rows_of(run) == rows_of(alone) and files_of(run) == files_of(alone)


@pytest.mark.full
@pytest.mark.faults
def test_a_worker_that_is_killed_costs_no_row(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    manifest = make_cohort(tmp_path / "cohort", 6)
    umd("evaluate", manifest, "--out", tmp_path / "alone", *NNUNET)
    run = tmp_path / "spread"
    running = subprocess.Popen(command_of(manifest, run, "--cluster", "local:2"), stdout=subprocess.DEVNULL)
    killed = kill_a_worker(running)
    assert running.wait(300) == 0 and killed
    assert rows_of(run) == rows_of(tmp_path / "alone")


@pytest.mark.full
@pytest.mark.faults
@pytest.mark.parametrize("place", ["read:2", "prepare:2", "forward:4", "collect:3", "program:3", "store:2"])
def test_a_kill_in_any_stage_leaves_every_row_once(tmp_path, place):
    """All stages are a worker's but the store, which is the driver's: its workers end with it."""
    pytest.importorskip("ray", reason="Ray is not installed")
    manifest, run, mark = make_cohort(tmp_path / "cohort", 6), tmp_path / "run", tmp_path / "struck"
    umd("evaluate", manifest, "--out", tmp_path / "alone", *NNUNET)
    command = command_of(manifest, run, "--cluster", "local:2")
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, SWITCH: f"{place}@{mark}"})
    workers = set()
    while running.poll() is None:
        workers |= {pid for pid in descendants(running.pid) if b"ray::Worker" in title_of(pid)}
        time.sleep(0.1)
    assert mark.exists()
    if place.startswith("store"):
        assert running.returncode == -signal.SIGKILL and 0 < len(rows_of(run)) < 6 * 4
        wait_for(lambda: not any(title_of(pid) for pid in workers), seconds=60)
        umd("evaluate", manifest, "--out", run, *NNUNET, "--cluster", "local:2")
    else:
        assert running.returncode == 0 and len(workers) == 3
    assert rows_of(run) == rows_of(tmp_path / "alone") and not any(
        row["status"] == "worker-died" for row in rows_of(run)
    )


@pytest.mark.full
@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_what_is_in_flight(tmp_path, number):
    pytest.importorskip("ray", reason="Ray is not installed")
    manifest, run = make_cohort(tmp_path / "cohort", 16), tmp_path / "run"
    running = subprocess.Popen(
        command_of(manifest, run, "--cluster", "local:2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: running.poll() is not None or ((run / "store.sqlite").exists() and rows_of(run)), seconds=120)
    running.send_signal(number)
    errors = running.communicate(timeout=60)[1]
    assert running.returncode == 128 + number and "Traceback" not in errors
    done = len(rows_of(run)) // 4
    assert 1 < done < 16 and f"{done} of 16 cases are done; the same command goes on" in errors
    assert not any(row["status"] == "worker-died" for row in rows_of(run)) and not (run / "lock").exists()


@pytest.mark.full
def test_rows_and_clicks_of_a_prompted_model_are_those_of_one_process(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # asked_model.py, for workers
    pairs = make_pairs(tmp_path / "pairs")
    asked = prompts("random-3", repeats=2)
    evaluate(pairs, tmp_path / "alone", [CubeModel(fails_on="spleen")], asked=asked)
    spread = Spread(Cluster("local:2", "cpu"), {CubeRequest(): {"fails_on": "spleen"}})
    rows, settings = read_manifest(pairs), Settings(prompts=asked)
    work = Evaluation(rows, [CubeModel(fails_on="spleen")], tmp_path / "spread", settings, rows, spread)
    seen = [work.crew.now() for _ in work.run()]
    assert len(seen) == 4 and {"computing"} == set().union(*seen) and work.crew.now() == {}
    assert all(1 <= now["computing"] <= 3 for now in seen if now)
    assert rows_of(tmp_path / "spread") == rows_of(tmp_path / "alone")
    assert clicks_of(tmp_path / "spread") == clicks_of(tmp_path / "alone") != []


def kill_a_worker(running) -> bool:
    """SIGKILL one of Ray's workers below `running` when it is an engine that has a scan."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        for pid in descendants(running.pid):
            if b"ray::Worker.exchange" in title_of(pid):
                os.kill(pid, signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


def descendants(pid):
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    for child in map(int, children.split()):
        yield child
        yield from descendants(child)


def title_of(pid) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.full
def test_manifest_volumes_and_run_on_s3(cohort, tmp_path, monkeypatch, caplog):
    for package in ("ray", "s3fs", "moto"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import fsspec

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    umd("evaluate", cohort, "--out", tmp_path / "alone", *NNUNET, "--save-masks", code=1)
    with s3_server(monkeypatch):
        s3 = fsspec.filesystem("s3")
        for path in cohort.parent.iterdir():
            s3.pipe_file(f"scans/data/{path.name}", path.read_bytes())
        command = ["evaluate", "s3://scans/data/scans.csv", "--out", "s3://scans/run", *NNUNET, "--save-masks"]
        told = umd("-v", *command, "--cluster", "local:2", code=1)
        assert SECRET not in told.output + told.stderr + caplog.text
        for name in s3.find("scans/run"):
            assert SECRET.encode() not in s3.cat_file(name)
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / "store.sqlite").write_bytes(s3.cat_file("scans/run/store.sqlite"))
        local = [{**row, "message": ""} for row in rows_of(tmp_path / "alone")]
        assert [{**row, "message": ""} for row in rows_of(tmp_path / "copy")] == local  # a message names the path
        masks = sorted(path.relative_to(tmp_path / "alone") for path in tmp_path.glob("alone/masks/**/*.nii.gz"))
        assert len(masks) == 3
        for mask in masks:
            assert s3.cat_file(f"scans/run/{mask}") == (tmp_path / "alone" / mask).read_bytes()
        # another machine goes on: it has no store of its own, and nothing but the damaged scan is tried again
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        again = umd(*command, code=1)
        assert "3 of 4 cases are already done" in again.stderr
        assert "s002" in umd("report", "s3://scans/run").output


def test_a_remote_store_is_uploaded_while_the_run_goes_on(tmp_path, monkeypatch):
    import fsspec

    from umd_engine.errors import StoreError
    from umd_engine.evaluation.run_folder import fetched, to_read, uploading

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memory, run = fsspec.filesystem("memory"), Path("memory://checkpoints")
    with uploading(run, every_s=0.05) as here, Store(here / "store.sqlite") as store:
        store.add_plan("a" * 16, "{}")
        wait_for(lambda: memory.exists("/checkpoints/store.sqlite"))
        store.add_plan("b" * 16, "{}")
        first = memory.cat_file("/checkpoints/store.sqlite")
        wait_for(lambda: memory.cat_file("/checkpoints/store.sqlite") != first)
    (tmp_path / "copy.sqlite").write_bytes(memory.cat_file("/checkpoints/store.sqlite"))
    with Store(tmp_path / "copy.sqlite") as store:
        assert set(store.plans()) == {"a" * 16, "b" * 16}
    memory.rm("/checkpoints", recursive=True)  # removed: the store here is not its store any more
    with only_writer(home(run)):  # a report meanwhile leaves a store alone that is written to
        assert (to_read(run) / "store.sqlite").exists()
    assert not (to_read(run) / "store.sqlite").exists()
    (tmp_path / "odd" / "store.sqlite").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read"):
        fetched(Path(f"file://{tmp_path}/odd"))


def test_a_store_that_cannot_be_uploaded_stays_here(tmp_path, monkeypatch):
    from umd_engine.errors import StoreError
    from umd_engine.evaluation.run_folder import uploading

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    run = Path(f"file://{tmp_path}/run")
    with pytest.raises(StoreError, match="the rows are safe in"), uploading(run) as here, Store(here / "store.sqlite"):
        (tmp_path / "run" / "store.sqlite").mkdir()  # a folder where the file should be
    assert (here / "store.sqlite").exists()


def wait_for(condition, seconds=20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
