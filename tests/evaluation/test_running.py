"""A run that is interrupted, killed, stalled or out of disk space, and the same command after it: real processes."""

import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from click.testing import CliRunner
from cohort import MODEL, command_of, counts_of, make_cohort, rows_of, write_manifest, write_scan

from umd_engine.cli import main
from umd_engine.data.manifest import read_manifest
from umd_engine.data.patience import within
from umd_engine.engine.fault import SWITCH
from umd_engine.engine.trace import STAGES
from umd_engine.errors import ReadTimeoutError
from umd_engine.evaluation.run import Evaluation, Settings
from umd_engine.kernels.parts import PARTS
from umd_engine.models.catalog import Request

ROWS = 4  # of a scan


def start(command, **more):
    """A process that takes SIGINT also where the tests run as a background job."""
    default = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=default, **more
    )


def wait_for_rows(process, run, count):
    deadline = time.monotonic() + 120
    while not ((run / "store.sqlite").exists() and len(rows_of(run)) >= count):
        assert process.poll() is None and time.monotonic() < deadline, "it ended before its rows were there"
        time.sleep(0.02)


def again(manifest, run):
    """The same command to its end, compared with a run that nothing disturbed."""
    kept = rows_of(run)
    command = ["evaluate", "--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0", str(manifest), "--out"]
    for out in (run, run.with_name("clean")):
        result = CliRunner().invoke(main, [*command, str(out)])
        assert result.exit_code == 0, result.output + result.stderr
    rows = rows_of(run)
    assert len(rows) == len({row.key for row in rows}) and counts_of(run) == counts_of(run.with_name("clean"))
    assert all(row in rows for row in kept if not row.failed)  # none was computed again


def make_stalled(folder, stalled="image"):
    """Three scans; a file of the second is a pipe that nobody writes to, which blocks as a dead mount does."""
    folder.mkdir()
    rows = [write_scan(folder, name, i) for i, name in enumerate("abc")]
    path = folder / ("b.nii.gz" if stalled == "image" else "b_label.nii.gz")
    path.unlink()
    os.mkfifo(path)
    return write_manifest(folder, rows), path


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_what_is_in_flight(tmp_path, number):
    manifest, run = make_cohort(tmp_path / "cohort", 16), tmp_path / "run"
    process = start(command_of(manifest, run))
    wait_for_rows(process, run, ROWS)
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number and "Traceback" not in errors
    assert "being finished" in errors and "of 16 cases are done; the same command goes on" in errors
    rows = rows_of(run)
    assert ROWS < len(rows) < 16 * ROWS and len(rows) % ROWS == 0 and not any(row.failed for row in rows)
    assert f"{len(rows) // ROWS} of 16 cases" in errors and not (run / "lock").exists()
    again(manifest, run)


def test_the_second_signal_waits_for_nothing_and_loses_nothing(tmp_path):
    (manifest, _), run = make_stalled(tmp_path / "cohort"), tmp_path / "run"
    process = start(command_of(manifest, run))
    wait_for_rows(process, run, ROWS)
    process.send_signal(signal.SIGINT)
    while "being finished" not in (line := process.stderr.readline()):
        assert line, "it ended at the first signal"
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=10)[1]
    assert process.returncode == 130 and "the same command goes on" in errors
    assert [row.scan_id for row in rows_of(run)] == ["a_ct"] * ROWS


@pytest.mark.parametrize("stalled", ["image", pytest.param("label", marks=pytest.mark.faults)])
def test_a_file_that_stalls_is_a_status_and_the_others_go_on(tmp_path, stalled):
    (manifest, path), run = make_stalled(tmp_path / "cohort", stalled), tmp_path / "run"
    process = start(command_of(manifest, run, "--read-timeout", 1))
    errors = process.communicate(timeout=120)[1]  # it ends although a thread never will
    assert process.returncode == 1 and f"{path}: not read within 1 s" in errors
    statuses = {(row.scan_id, row.status) for row in rows_of(run)}
    assert {pair for pair in statuses if pair[0] == "b_ct"} == {("b_ct", "read-timeout")}
    assert {status for scan, status in statuses if scan != "b_ct"} == {"ok", "no-reference"}
    path.unlink()
    write_scan(path.parent, "b", 1)
    again(manifest, run)


def test_waiting_for_a_file_ends(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReadTimeoutError, match=r"pipe: not read within 0.05 s"):
        within(0.05, tmp_path / "pipe", (tmp_path / "pipe").read_bytes)
    (tmp_path / "file").write_bytes(b"1")
    for seconds in (0, 60):
        assert within(seconds, tmp_path / "file", (tmp_path / "file").read_bytes) == b"1"
        with pytest.raises(FileNotFoundError):
            within(seconds, tmp_path / "none", (tmp_path / "none").read_bytes)


@pytest.mark.parametrize(
    "place",
    [
        "store:2",
        *(pytest.param(p, marks=pytest.mark.faults) for p in ("read:2", "prepare:2", "forward:4", "program:3")),
    ],
)
def test_a_kill_in_any_stage_then_the_same_command(tmp_path, place):
    manifest, run = make_cohort(tmp_path / "cohort", 3), tmp_path / "run"
    process = start(command_of(manifest, run), env={**os.environ, SWITCH: place})
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL and len(rows_of(run)) in (0, ROWS, 2 * ROWS)
    again(manifest, run)


FULL = """
set -e
mount -t tmpfs -o size=16m tmpfs "$1"
shift; export RUN=$1; shift
"$@" --limit 2
head -c 64m /dev/zero > "$RUN/../ballast" || true
truncate -s "-$ROOM" "$RUN/../ballast"
set +e; "$@"; echo "status $?"; set -e
rm "$RUN/../ballast"
"$@"
cp "$RUN/store.sqlite" "$OUT/store.sqlite"
"""


@pytest.mark.faults
@pytest.mark.parametrize("room", ["0", "96K"])
def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(tmp_path, room):
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no private mounts here")
    manifest, disk, out = make_cohort(tmp_path / "cohort", 24), tmp_path / "disk", tmp_path / "run"
    disk.mkdir()
    out.mkdir()
    run = disk / "run"
    command = ["unshare", "-rm", "sh", "-c", FULL, "sh", str(disk), str(run), *command_of(manifest, run)]
    ended = subprocess.run(command, env={**os.environ, "ROOM": room, "OUT": str(out)}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "status 1" in ended.stdout and "Traceback" not in ended.stderr
    assert ("disk is full" if room != "0" else "No space left on device") in ended.stderr
    done = [int(count) for count in re.findall(r"(\d+) of 24 cases are already done", ended.stderr)]
    assert done[-1] == 2 if room == "0" else 2 < done[-1] < 24
    again(manifest, out)


def test_a_trace_has_every_stage_and_progress_says_what_runs(tmp_path):
    manifest, _ = make_stalled(tmp_path / "cohort", "label")
    model = Request.parse(f"nnunet={MODEL}").load({"folds": "0"})
    (tmp_path / "run").mkdir()
    settings = Settings(read_timeout=3, trace=tmp_path / "trace.json")
    work = Evaluation(read_manifest(manifest), [model], tmp_path / "run", settings)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(lambda: list(work.run()))
        seen = []
        while not run.done():
            seen.append(work.crew.now())
            time.sleep(0.01)
    assert {"reading": 1} in [{k: v for k, v in now.items() if k == "reading"} for now in seen]
    assert any("computing" in now for now in seen) and work.crew.now() == {}
    assert [ended.error.status for ended in run.result() if ended.error] == ["read-timeout"]
    events = json.loads(settings.trace.read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert {span["cat"] for span in spans} == {*STAGES, *PARTS} - {"transfer"}  # nothing moves on a CPU
    assert {span["name"] for span in spans if span["cat"] == "program"} == {  # ids alone, nothing else of a row
        "program a a_ct nnunet",
        "program c c_ct nnunet",
    }
    assert sorted(span["name"] for span in spans if span["cat"] == "store") == [
        "store a_ct",
        "store b_ct",
        "store c_ct",
    ]


def test_a_trace_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    manifest, run = make_cohort(tmp_path / "cohort", 1), tmp_path / "run"
    command = ["evaluate", str(manifest), "--out", str(run), "--model", f"nnunet={MODEL}", "--trace", str(tmp_path)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1 and f"{tmp_path}: cannot be written: Is a directory" in result.stderr
    assert rows_of(run) == []
