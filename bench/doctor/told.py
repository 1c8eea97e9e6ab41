"""A diagnosis in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from umd_engine.bench.doctor.diagnosis import FAILS, MISSING, WORKS, Diagnosis, Row

STYLES = {WORKS: "green", FAILS: "bold red", MISSING: "yellow"}


def show(found: Diagnosis) -> None:
    """Tables on standard output: what works, what does not and how to mend it, what is here."""
    console = Console(highlight=False)
    console.print(_matrix("backend", found.backends))
    console.print(_matrix("kernel", found.kernels))
    for row in (*found.backends, *found.kernels):
        if row.reason:
            console.print(f"[{STYLES[row.status]}]{row.status}[/] {row.name} on {row.device}: {escape(row.reason)}")
            if row.mend:
                console.print(f"    {escape(row.mend)}")
    for fault in found.faults:
        console.print(f"[yellow]known[/] {fault.found}: {escape(fault.reason)} ({fault.source})")
        console.print(f"    {escape(fault.mend)}")
    for line in _here(found):
        console.print(escape(line))
    default = f"the default path, torch on {found.device},"
    console.print(f"[green]{default} works[/]" if found.healthy else f"[bold red]{default} does not work[/]")


def _matrix(title: str, rows: Sequence[Row]) -> Table:
    """A line a name, a column a device."""
    devices = list(dict.fromkeys(row.device for row in rows))
    table = Table(title, *devices, box=SIMPLE_HEAD, padding=(0, 2, 0, 0))
    for name in dict.fromkeys(row.name for row in rows):
        of_device = {row.device: row for row in rows if row.name == name}
        table.add_row(name, *(_cell(of_device[device]) for device in devices))
    return table


def _cell(row: Row) -> str:
    took = f", {row.seconds:.1f} s" if row.status == WORKS else ""
    style = STYLES.get(row.status, "dim")
    return f"[{style}]{row.status}{took}[/]"


def _here(found: Diagnosis) -> Iterable[str]:
    facts, (folder, held, free) = found.facts, found.cache
    have = [f"{name} {version}" for name, version in found.versions.items() if version is not None]
    lack = [name for name, version in found.versions.items() if version is None]
    yield f"umd-engine {found.version}; {', '.join(have)}"
    yield f"not installed: {', '.join(lack)}"
    if "reason" in facts:
        yield f"torch cannot be asked: {facts['reason']}"
        return
    built = f"CUDA {facts['cuda']}" if facts["cuda"] else "the CPU only"
    yield f"torch is built for {built}; NVIDIA driver: {facts['driver'] or 'none'}"
    for number, device in enumerate(facts["devices"]):
        size = f"{device['memory'] / 1e9:.1f} GB"
        yield f"cuda:{number}: {device['name']}, {size}, compute capability {device['capability']}"
    yield f"ONNX Runtime offers: {', '.join(found.providers) or 'nothing'}"
    yield (
        f"{facts['threads']} threads of torch on {facts['cores']} cores, "
        f"{'with' if facts['bf16'] else 'without'} bf16; C++ compiler: {facts['compiler'] or 'none'}"
    )
    memory = ", ".join(f"{nbytes / 1e9:.1f} GB on {device}" for device, nbytes in facts["memory"].items())
    yield f"a run may use, by default: {memory}"
    yield f"cache: {folder}, {held / 1e6:.1f} MB; {free / 1e9:.1f} GB free on its disk"
