"""What a run may plan with: amounts as people write them, and what is free on this machine."""

import pytest
import torch

from umd_engine.engine.memory import MARGIN, budget, free_bytes, free_on_host, parse_bytes
from umd_engine.errors import OptionError

CPU = torch.device("cpu")
GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("20GB", 20 * 10**9), ("16GiB", 16 * GIB), ("500 MB", 500 * 10**6), ("512mib", 512 << 20),
        ("8", 8 * 10**9), ("0.5", 5 * 10**8), (" .25gb ", 25 * 10**7),
    ],
)  # fmt: skip
def test_amounts_as_people_write_them(text, nbytes):
    assert parse_bytes(text) == nbytes


@pytest.mark.parametrize("text", ["", "GB", "0", "0GB", "-3GB", "20TB", "20G", "2e30", "1.2.3GB", "nan", "9" * 20])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(OptionError, match="no amount of memory"):
        parse_bytes(text)


def machine(folder, available, membership, **files):
    """A /proc and a /sys/fs/cgroup as Linux writes them."""
    proc, groups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable:  {available // 1024} kB\nCached: 5 kB\n")
    (proc / "self" / "cgroup").write_text(membership)
    for name, text in files.items():
        path = groups / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return free_on_host(proc, groups)


def group(place, limit, used, cache, version):
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
             2: ("memory.max", "memory.current", "inactive_file")}[version]  # fmt: skip
    stat = f"anon 1\n{names[2]} {cache}\nfile 2"
    return {f"{place}{names[0]}": limit, f"{place}{names[1]}": used, f"{place}memory.stat": stat}


def test_without_a_limit_it_is_what_the_kernel_calls_available(tmp_path):
    assert machine(tmp_path / "a", 7 * GIB, "0::/\n") == 7 * GIB
    free = group("", "max", 3 * GIB, 0, 2)
    assert machine(tmp_path / "b", 7 * GIB, "0::/\n", **free) == 7 * GIB


def test_a_containers_limit_counts_and_its_page_cache_does_not(tmp_path):
    own = group("", 4 * GIB, 3 * GIB, 2 * GIB, 2)
    assert machine(tmp_path, 7 * GIB, "0::/\n", **own) == 3 * GIB


def test_the_tightest_of_nested_groups_counts(tmp_path):
    files = group("job__", 5 * GIB, 1 * GIB, 0, 2) | group("job__step__", 6 * GIB, 1 * GIB, 0, 2)
    assert machine(tmp_path / "a", 7 * GIB, "0::/job/step\n", **files) == 4 * GIB
    files = group("memory__job__", 2 * GIB, 3 * GIB, 0, 1) | {"cpu__job__x": ""}
    assert machine(tmp_path / "b", 7 * GIB, "5:cpu:/job\n4:memory:/job\n0::/\n", **files) == 0


def test_a_budget_leaves_a_margin():
    free = free_bytes(CPU)
    assert 10**8 < free < 1e14
    assert budget(CPU) == pytest.approx(free * (1 - MARGIN), rel=0.2)  # others use this machine too
