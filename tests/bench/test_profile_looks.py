"""A profile as tables, sentences and pictures: what is told, and that nothing told is lost or executed."""

import io
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console
from sample_profile import latency, sample

from umd_engine.bench.profile import charts, grids
from umd_engine.bench.profile.page import write_page
from umd_engine.bench.profile.result import Ceilings
from umd_engine.bench.profile.roofline import roofline
from umd_engine.bench.profile.summary import glance, summary
from umd_engine.bench.profile.table import show
from umd_engine.bench.profile.told import compute_share, copy_share, in_place, legend, marks, percent, three

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def profile():
    return sample()


def printed(profile, width=100):
    """Without colour."""
    console = Console(file=io.StringIO(), width=width)
    show(profile, console)
    return console.file.getvalue()


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("width", (160, 100, 60, 40))
def test_a_terminal_shows_every_row_and_no_line_is_wider(profile, width):
    text = printed(profile, width)
    assert max(map(len, text.splitlines())) <= width
    for shown in ("network", "encoder", "decoder", "head", "does not fit", "check failed", "not measured"):
        assert shown in text
    assert all(reason in words(text) for reason in ("out of memory", "error 0.5", "no checkpoint"))


def test_figures_are_never_cut_in_two(profile):
    medians = [f"{row.latency.p50 * 1e3:.3g} ms" for row in profile.units if row.latency and row.latency.p50 > 1e-3]
    text = printed(profile, 40)
    assert len(medians) == 3 and all(median in text for median in medians)


def test_marks_are_explained_where_they_occur_and_only_there(profile):
    told = words(printed(profile))
    assert "scaled x8" in told and "emulated" in told and "unstable x" in told and "bimodal" in told
    assert {"scaled", "emulated", "unstable", "bimodal", "p99"} <= legend(profile).keys()
    plain = replace(profile, units=profile.units[:1], scans=())
    assert legend(plain).keys() == {"-"} and "unstable" not in printed(plain)


def test_one_call_has_no_spread_and_no_outline(profile):
    row = replace(profile.units[0], status="unstable", latency=latency([0.5], stable=False))
    assert marks(row) == ["timed once"]
    once, many = (charts.latencies([one]).data[0] for one in (row, profile.units[0]))
    assert once["line"]["width"] == 0 < many["line"]["width"] and once["boxpoints"] == "all"


def test_what_ran_in_place_is_told_once_for_a_whole_model(profile):
    quarter, half = (replace(profile.units[0], unit=f"small.{n}", scaled=8.0, reason="patch 8") for n in "ab")
    some = replace(profile, units=(quarter, half), scans=())
    assert list(in_place(some)) == ["patch 8: small"]
    both = replace(some, units=(quarter, replace(half, reason="patch 4")))
    assert list(in_place(both)) == ["patch 8: small (a)", "patch 4: small (b)"]


def test_scans_are_numbered_where_they_differ(profile):
    one, _ = profile.scans
    (alone,) = grids.scans(profile)
    assert "scan" not in alone.columns and "Phantom CT 48x48x48." in alone.caption
    (both,) = grids.scans(replace(profile, scans=(one, replace(one, scan="another"))))
    assert [row[1] for row in both.rows] == ["1", "2"] and "1: phantom CT 48x48x48; 2: another." in both.caption


def test_the_bar_of_a_scan_is_read_without_colour(profile):
    found = (re.search(r"small +([rpFfm]{20,})", line) for line in printed(profile).splitlines())
    (bar,) = (match[1] for match in found if match)
    stages, letters = profile.scans[0].stages, {"read": "r", "prepare": "p", "forward": "F", "finish": "f"}
    for stage, letter in letters.items():
        assert bar.count(letter) == pytest.approx(len(bar) * stages[stage] / sum(stages.values()), abs=1.01)


def test_shares_are_of_the_ceilings_of_the_device_and_precision(profile):
    row = replace(profile.units[0], latency=latency([0.5]), flops=10**9, nbytes=10**8)
    some = replace(profile, ceilings={"cpu": Ceilings(copy=1.0, product={"fp32": 8e9}, conv={"fp32": 4e9})})
    assert compute_share(some, row) == pytest.approx(0.25) and copy_share(some, row) == pytest.approx(0.2)
    assert compute_share(some, replace(row, precision="fp16")) is None
    assert compute_share(some, replace(row, precision="fp16", emulated=True)) == pytest.approx(0.25)
    assert compute_share(replace(some, ceilings={}), row) is None


def test_a_glance_names_what_binds(profile):
    forward = {"small.network": 2.9, "small.head": 0.1}
    row = replace(profile.scans[0], stages={"read": 1.0, "forward": 3.0}, forward=forward)
    units = [replace(one, unit="small.network") for one in profile.units if one.model == "small"]
    (told,) = glance(replace(profile, units=(*units, *profile.units[3:]), scans=(row,)))
    small, other = told.rows
    assert small[0] == "small" and small[2:4] == ("forward 75%", "network")
    assert small[4:] == (percent(compute_share(profile, units[0])), percent(copy_share(profile, units[0])))
    assert other[1:4] == ("-", "-", "encoder"), "without a scan the unit of the most FLOPs"
    (told,) = glance(replace(profile, scans=(replace(row, stages={"read": 3.0, "forward": 1.0}, scaled=2.0),)))
    assert told.rows[0][2] == "read 75%" and told.rows[0][1].endswith("*") and "*: a smaller" in told.caption
    assert list(glance(replace(profile, units=(), scans=()))) == []


def test_the_summary_warns_first(profile):
    said = [line.about for line in summary(replace(profile, complete=False))]
    assert said[:4] == ["Interrupted", "Failed, so without a figure", "Not measured here", "A quick look"]
    assert [line.about for line in summary(replace(profile, units=(), scans=(), asked={}))] == []


def test_the_parts_of_a_bar_are_the_whole(profile):
    chart = charts.stage_bars(profile.scans)
    assert sum(trace["x"][0] for trace in chart.data) == pytest.approx(100)
    assert {trace["name"] for trace in chart.data} == profile.scans[0].stages.keys()


def test_a_roofline_bends_where_memory_and_computing_meet(profile):
    some = replace(profile, ceilings={"cpu": Ceilings(copy=2.0, product={"fp32": 8e9})})
    chart = roofline(some, profile.units[:2])
    memory, roof = (trace for trace in chart.data if trace["mode"] == "lines+text")
    assert (memory["x"][1], memory["y"][1]) == (roof["x"][0], roof["y"][0]) == pytest.approx((4.0, 8e9))
    (dots,) = (trace for trace in chart.data if "markers" in trace["mode"])
    assert dots["y"] == [row.flop_s for row in profile.units[:2]]
    assert roofline(replace(some, ceilings={}), profile.units[:2]) is not None  # dots alone
    assert roofline(some, [replace(profile.units[0], flops=None)]) is None


def test_a_page_is_whole_and_loads_nothing(profile, tmp_path):
    write_page(profile, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    own = re.sub(r"<script>/\*\*.*?</script>", "", text, flags=re.DOTALL)
    assert len(own) < 100_000 < len(text)
    assert not re.search(r"(src|href)=|https?://|url\(", own)
    for row in profile.units:
        assert row.unit in own and (row.reason in own)
    assert "The slope is where memory stops it" in own


def test_what_a_file_says_is_text_in_a_page(tmp_path):
    write_page(sample(name=SCRIPT), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert SCRIPT not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_an_empty_profile_has_a_page_and_tables(profile, tmp_path):
    empty = replace(profile, units=(), scans=(), ceilings={}, asked={}, complete=False)
    write_page(empty, tmp_path / "page.html")
    assert "Interrupted" in (tmp_path / "page.html").read_text() and "Interrupted" in printed(empty)


@pytest.mark.parametrize("missing", ("jinja2", "plotly"))
def test_a_page_needs_the_report_extra(missing, tmp_path):
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "from pathlib import Path\n"
        "from umd_engine.bench.profile.page import check_page\n"
        "from umd_engine.errors import OptionError\n"
        "try: check_page(Path('page.html'))\n"
        "except OptionError as error: print(error)"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pages need {missing}" in asked.stdout and "pip install 'umd-engine[report]'" in asked.stdout


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (0.00012, "1.2e-04"), (1.234, "1.23"), (999.7, "1,000"), (187e3, "187,000")],
)
def test_numbers_have_three_figures(value, text):
    assert three(value) == text
