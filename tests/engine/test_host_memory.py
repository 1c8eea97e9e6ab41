"""The allocator's settings: a command starts itself again with them, once, and a library never does."""

import json
import os
import subprocess
import sys

import pytest

from umd_engine.engine.host_memory import SETTINGS, SWITCH, repeatable, wanted

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", SWITCH, "LD_PRELOAD"))}
glibc = pytest.mark.skipif(not wanted(PLAIN), reason="needs glibc")
SHOW = """
import json, os, sys
from umd_engine.engine.host_memory import restart_with_settings
starts = os.environ.get("STARTS", "") + "x"
os.environ["STARTS"] = starts
print("started", file=sys.stderr)
restart_with_settings()
print(json.dumps([os.getpid(), sys.argv[1:], starts, {k: v for k, v in os.environ.items() if k.startswith("MALLOC_")}]))
"""


def start(tmp_path, *arguments, **more):
    (tmp_path / "show.py").write_text(SHOW)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "show.py"), *arguments]
    with subprocess.Popen(
        command, env={**PLAIN, **more}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    return process.pid, json.loads(out)


@glibc
def test_it_starts_again_once_with_the_same_arguments(tmp_path):
    pid, (found, arguments, starts, settings) = start(tmp_path, "a b", "--c=é", "")
    assert found == pid, "the same process"
    assert arguments == ["a b", "--c=é", ""] and starts == "xx" and settings == SETTINGS


@pytest.mark.parametrize(
    "own", [{SWITCH: "default"}, {"MALLOC_PERTURB_": "1"}, {"GLIBC_TUNABLES": "glibc.malloc.check=0"}]
)
def test_who_chose_an_allocator_keeps_it(tmp_path, own):
    _, (_, _, starts, settings) = start(tmp_path, **own)
    assert starts == "x" and not SETTINGS.keys() & settings.keys()


def test_a_program_on_standard_input_cannot_be_repeated():
    assert not repeatable(["python"]) and not repeatable(["python", "-"]) and not repeatable([])
    assert repeatable(["python", "-m", "x"]) and repeatable(["python", "/bin/umd-engine", "demo"])


def command_line(*arguments, **more):
    command = [sys.executable, "-m", "umd_engine.cli", "-v", *arguments]
    return subprocess.run(command, env={**PLAIN, **more}, capture_output=True, text=True).stderr


@glibc
def test_the_command_line_says_so(tmp_path):
    missing = ("predict", str(tmp_path / "none.csv"), "--out", str(tmp_path / "run"), "--model", f"nnunet={tmp_path}")
    assert "started again with glibc's MALLOC_MMAP_THRESHOLD_" in command_line(*missing)
    assert "started again" not in command_line(*missing, **{SWITCH: "default"})
    assert "started again" not in command_line("models", "list"), "a command that runs no network"


def test_importing_or_calling_the_library_does_not():
    code = "import os, umd_engine.cli as c; p = os.getpid(); c.main(['demo', '--help'], standalone_mode=False)"
    code += "; print([n for n in os.environ if n.startswith('MALLOC_')])"
    done = subprocess.run([sys.executable, "-c", code], env=PLAIN, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
