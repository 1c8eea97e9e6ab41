"""One writer a run folder, among real processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from cohort import MODEL, affine, label_of, make_cohort, rows_of

from umd_engine.cli import main
from umd_engine.data.nifti import write
from umd_engine.data.volume import Volume
from umd_engine.errors import RunLockedError, StoreError
from umd_engine.evaluation.lock import LOCK, only_writer
from umd_engine.evaluation.store import Store

HOLDER = """
import sys
from pathlib import Path
from umd_engine.evaluation.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(run):
    """A process that holds the run until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def umd(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def mask(tmp_path):
    path = tmp_path / "mask.nii.gz"
    write(path, Volume.from_array(label_of(0), affine()))
    return path


def test_every_command_that_writes_refuses_and_names_the_process_while_reports_read(tmp_path, mask):
    run, manifest = tmp_path / "run", make_cohort(tmp_path / "cohort", 1)
    into = ("score", mask, mask, "--into", run, "--as", "me")
    assert umd(*into).exit_code == 0
    before = rows_of(run)
    model = ("--model", f"nnunet={MODEL}")
    with another_writer(run) as process:
        who = f"{run}: process {process.pid} on {socket.gethostname()} since 20"
        for command in (
            ("evaluate", manifest, "--out", run, *model),
            ("predict", manifest, "--out", run, *model),
            into,
        ):
            refused = umd(*command)
            assert refused.exit_code == 1 and who in refused.stderr and "--wait" in refused.stderr, command
        assert umd("report", run).exit_code == 0
    assert rows_of(run) == before


def test_with_wait_the_second_one_goes_on_when_the_first_one_ends(tmp_path, mask):
    run, told, ended = tmp_path / "run", threading.Event(), threading.Event()

    def second():
        with only_writer(run, wait=True, tell=lambda text: told.set()):
            ended.set()

    with another_writer(run) as process:
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(30) and not ended.wait(0.5)
        process.communicate("")
        thread.join(30)
    assert ended.is_set()


def test_a_lock_left_by_a_killed_process_locks_nothing(tmp_path):
    run = tmp_path / "run"
    with another_writer(run) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert f'"pid": {process.pid},' in (run / LOCK).read_text()
        with only_writer(run):
            assert f'"pid": {os.getpid()},' in (run / LOCK).read_text()
    assert [*run.iterdir()] == []  # made by the other process


def test_one_process_may_not_write_twice_either(tmp_path):
    refused = pytest.raises(RunLockedError, match=f"process {os.getpid()} ")
    with only_writer(tmp_path / "run"), refused, only_writer(tmp_path / "run"):
        pass
    with only_writer(tmp_path / "run"):
        Store(tmp_path / "run" / "store.sqlite").close()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["store.sqlite"]


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    refused = pytest.raises(StoreError, match=r"run: the run cannot be locked: Not a directory")
    with refused, only_writer(tmp_path / "file" / "run"):
        pass
