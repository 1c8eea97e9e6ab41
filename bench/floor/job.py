"""What the process of one operation is asked to measure."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from umd_engine.bench.floor.entry import Entry
from umd_engine.bench.floor.repetition import Rule

WORKER = "umd_engine.bench.floor.worker"
ALLOCATOR = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "PYTHONMALLOC", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")


@dataclass(frozen=True)
class Job:
    """A module with `entries(*arguments) -> list[Entry]`, and where its process writes.

    Attributes:
        out: a file that gets a line of JSON a result.
        memory_of: the index of the one entry whose peak memory is asked for; None for times.
        environment: what the process has in it besides ours without an allocator's settings.
        worker: the module that the process runs, with the job as its argument.
    """

    name: str
    module: str
    out: str
    rule: Rule
    arguments: tuple[str, ...] = ()
    memory_of: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    worker: str = WORKER

    def entries(self) -> list[Entry]:
        """The module's entries: inputs are made here."""
        found = importlib.import_module(self.module).entries(*self.arguments)
        assert all(isinstance(entry, Entry) for entry in found), f"{self.module}: entries() gives other things"
        return list(found)

    def tell(self, kind: str, content: Mapping[str, Any] | int) -> None:
        """Append one result."""
        with Path(self.out).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({kind: content}) + "\n")

    def start(self) -> int:
        """Run it in a fresh process, with the default allocator but for `environment`; the exit status."""
        return subprocess.run(self._command, env=self._environment, check=False).returncode

    def follow(self) -> Iterator[tuple[str, Any]]:
        """Run it in a fresh process without `out`: (kind, content) of every result once it is told, and at last
        ("end", the exit status).

        Ctrl-C does not reach the process. It ends with this generator.
        """
        here, there = os.pipe()
        job = replace(self, out=f"/dev/fd/{there}")
        with os.fdopen(here, encoding="utf-8") as lines:
            process = subprocess.Popen(job._command, env=self._environment, pass_fds=[there], process_group=0)
            try:
                os.close(there)
                for line in lines:
                    yield from json.loads(line).items()
                yield "end", process.wait()
            finally:
                process.kill()
                process.wait()

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", self.worker, json.dumps(asdict(self))]

    @property
    def _environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(ALLOCATOR)}
        return {**plain, **self.environment}

    def for_memory(self, index: int, out: Path) -> Job:
        """The job of a process that measures one entry's peak memory."""
        return replace(self, memory_of=index, out=str(out))


def job_of(text: str) -> Job:
    """What `Job.start` wrote into the command."""
    content = json.loads(text)
    return Job(**{**content, "rule": Rule(**content["rule"]), "arguments": tuple(content["arguments"])})


def told(path: Path) -> list[tuple[str, Any]]:
    """(kind, content) of every result that a process wrote."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [pair for line in lines for pair in json.loads(line).items()]
