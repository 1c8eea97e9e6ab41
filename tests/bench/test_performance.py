"""docs/performance.md is what its command writes, and every kind of report has its tables."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from sample_profile import sample

from umd_engine.bench import performance, plan
from umd_engine.bench.floor import report
from umd_engine.bench.machine import describe
from umd_engine.bench.profile import result
from umd_engine.cli import main
from umd_engine.errors import CorruptFileError


@pytest.fixture
def unplanned(monkeypatch):
    """Without the slow last part."""
    monkeypatch.setattr(performance, "planned", lambda: "")


def test_the_page_is_what_is_generated(tmp_path, monkeypatch):
    text = performance.PAGE.read_text(encoding="utf-8")
    command = re.search(r"^    umd-engine (plan umd .+?)--markdown", text.replace("\\\n", ""), re.MULTILINE)[1]
    asked = CliRunner().invoke(main, [*command.split(), "--markdown", str(tmp_path / "plan.md")])
    assert asked.exit_code == 0
    monkeypatch.setattr(performance, "planned", (tmp_path / "plan.md").read_text)
    assert performance.written() == text, "python -m umd_engine.bench.performance writes it again"


def test_every_report_of_the_folder_is_on_the_page(unplanned):
    files = list(performance.RESULTS.glob("*.json"))
    text = performance.written()
    assert files and all(f"(../bench/results/{path.name})" in text for path in files)
    rows = [row for path in files for row in json.loads(path.read_text()).get("rows", ())]
    assert all(f"| {row['implementation']} |" in text for row in rows if row.get("timing"))


def test_a_profile_and_a_plan_have_tables_too(tmp_path, unplanned):
    sample().save(tmp_path / "profile.json")
    row = {"case": "one", "scans": 4, "predicted": 1.0, "real": 2.0, "calls": 3, "called": 3, "ratio": 0.5}
    told = {"kind": plan.KIND, "schema": plan.SCHEMA, "machine": describe(), "version": "0.1.0", "rows": [row]}
    (tmp_path / "plan.json").write_text(json.dumps(told))
    (tmp_path / "other.json").write_text(json.dumps({**told, "kind": "another"}))
    text = performance.written(tmp_path)
    assert "| one | 4 | 1 s | 2 s | 0.50 |" in text
    assert "| small | network | 1 |" in text and "**Ceilings.**" in text and "finish" in text
    assert "Its kind has no table on this page." in text


def test_machines_are_told_apart_and_a_missing_gpu_is_said(tmp_path, unplanned):
    found = sample()
    found.save(tmp_path / "here.json")
    assert "Not measured yet: no report of a GPU" in performance.written(tmp_path)
    other = {**found.machine, "device": "NVIDIA H200", "driver": "580.65.06"}
    replace(found, machine=other).save(tmp_path / "there.json")
    text = performance.written(tmp_path)
    assert "Not measured yet" not in text and text.count("\n### ") == 3  # two machines, how to read it
    assert "NVIDIA H200\n" in text and "driver 580.65.06" in text


@pytest.mark.parametrize("content", ("{", "[]", '{"kind": "umd-engine bench"}'))
def test_a_file_that_is_no_report_is_an_error(content, tmp_path, unplanned):
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(CorruptFileError, match=r"machine|JSON"):
        performance.written(tmp_path)


def test_the_history_of_every_schema_is_in_the_documents():
    text = (performance.PAGE.parent / "bench.md").read_text(encoding="utf-8")
    for kind in (report, result, plan):
        assert max(kind.HISTORY) == kind.SCHEMA
        assert all(f"| `{kind.KIND}` | {schema} | {brought} |" in text for schema, brought in kind.HISTORY.items())


def test_a_machine_is_described_with_its_driver():
    driver = describe()["driver"]
    assert driver is None or re.fullmatch(r"\d+\.\d+(\.\d+)?", driver)
