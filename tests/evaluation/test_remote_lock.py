"""One driver a remote run folder: those of other machines are refused, dead ones are taken over."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from cohort import MODEL, make_cohort
from s3_common import s3_server

from umd_engine.cli import main
from umd_engine.errors import RunLockedError, StoreError
from umd_engine.evaluation import remote_lock
from umd_engine.evaluation.remote_lock import only_driver
from umd_engine.evaluation.run_folder import home, uploading
from umd_engine.evaluation.store import Store

HOLDER = """
import sys
from pathlib import Path
from umd_engine.evaluation.run_folder import uploading
with uploading(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["memory", "s3"])
def run(request, monkeypatch, tmp_path):
    """A remote run folder that does not exist yet."""
    monkeypatch.setattr(remote_lock, "SETTLE_S", 0.2)
    monkeypatch.setattr(remote_lock, "POLL_S", 0.05)
    if request.param == "s3":
        for package in ("s3fs", "moto"):
            pytest.importorskip(package, reason=f"{package} is not installed")
    with s3_server(monkeypatch) if request.param == "s3" else nullcontext():
        yield Path(f"s3://scans/{tmp_path.name}" if request.param == "s3" else f"memory://{tmp_path.name}")


def lock_of(run):
    system, root = fsspec.core.url_to_fs(str(run).replace(":/", "://"))
    system.invalidate_cache()
    return json.loads(system.cat_file(f"{root}/lock")) if system.exists(f"{root}/lock") else None


def test_another_machine_is_refused_until_the_first_one_ends(run, tmp_path):
    with only_driver(run, tmp_path / "a"):
        assert lock_of(run)["pid"] == os.getpid()
        refused = pytest.raises(
            RunLockedError, match=rf"process {os.getpid()} on .*, last heard of 0 s ago, is writing"
        )
        with refused, only_driver(run, tmp_path / "b"):
            pass
    with only_driver(run, tmp_path / "b"):
        assert lock_of(run) is not None
    assert lock_of(run) is None


def test_of_many_that_start_at_once_one_is_let_in(run, tmp_path):
    entered, refused, start, end = [], [], threading.Barrier(6), threading.Barrier(6)

    def drive(number):
        start.wait()
        try:
            with only_driver(run, tmp_path / str(number)):
                entered.append(number)
                end.wait(30)
        except RunLockedError as error:
            refused.append(error)
            end.wait(30)

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(entered), len(refused)) == (1, 5)


def test_with_wait_the_second_one_goes_on_when_the_first_one_ends(run, tmp_path):
    told, ended = threading.Event(), threading.Event()

    def second():
        with only_driver(run, tmp_path / "b", wait=True, tell=lambda text: told.set()):
            ended.set()

    with only_driver(run, tmp_path / "a"):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(30) and not ended.wait(0.3)
    thread.join(30)
    assert ended.is_set()


def test_a_dead_driver_is_taken_over_and_uploads_no_more(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    monkeypatch.setattr(remote_lock, "DEAD_S", 0.3)
    with pytest.raises(RunLockedError, match="took it over"), uploading(run) as here:  # renews after a minute
        with Store(here / "store.sqlite") as store:
            store.add_plan("a" * 16, "{}")
        time.sleep(0.5)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
        with uploading(run) as other:
            with Store(other / "store.sqlite") as store:
                store.add_plan("b" * 16, "{}")
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
            with pytest.raises(RunLockedError, match="took it over"):
                remote_lock.Claim(run, here).renew()
    system, root = fsspec.core.url_to_fs(str(run).replace(":/", "://"))
    (tmp_path / "copy.sqlite").write_bytes(system.cat_file(f"{root}/store.sqlite"))
    with Store(tmp_path / "copy.sqlite") as store:
        assert set(store.plans()) == {"b" * 16}


def test_while_a_driver_lives_its_name_is_written_again(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with uploading(run, every_s=0.05):
        first = lock_of(run)["alive"]
        deadline = time.monotonic() + 20
        while lock_of(run)["alive"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    refused = pytest.raises(StoreError, match="the run cannot be locked")
    with refused, only_driver(Path(f"file://{tmp_path}/file/run"), tmp_path / "a"):
        pass


@contextmanager
def another_driver(run, cache):
    """A process with a cache folder of its own, as another machine has, that holds the run until it is killed."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", HOLDER, str(run)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_commands_on_two_machines(tmp_path, monkeypatch):
    for package in ("s3fs", "moto"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    manifest, run = make_cohort(tmp_path / "cohort", 1), "s3://scans/run"
    command = ["evaluate", str(manifest), "--out", run, "--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    with s3_server(monkeypatch), another_driver(run, tmp_path / "theirs") as process:
        refused = CliRunner().invoke(main, command)
        assert refused.exit_code == 1 and f"{run}: process {process.pid} on " in refused.stderr
        assert "is writing to it" in refused.stderr and not (home(Path(run)) / "store.sqlite").exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert CliRunner().invoke(main, command).exit_code == 1  # it may live: nobody can tell from here
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "theirs"))
        done = CliRunner().invoke(main, command)  # its own machine knows that it is dead
        assert done.exit_code == 0, done.stderr
        assert lock_of(Path(run)) is None
