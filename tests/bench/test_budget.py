"""What fits a small card."""

import json

import pytest
from click.testing import CliRunner

from umd_engine.bench.budget import SCANS, budget
from umd_engine.cli import main
from umd_engine.engine.profiles import find_profile, holding
from umd_engine.evaluation.cases import Settings
from umd_engine.evaluation.forecast.needs import need
from umd_engine.evaluation.forecast.works import planned_cases
from umd_engine.models.model import spillable
from umd_engine.models.outline import outline

GB = 10**9


def rows(models, nbytes, profile=None):
    return {(row.model, row.scan, row.precision): row for row in budget(models, nbytes, profile).rows}


@pytest.fixture(scope="module")
def small():
    return rows(("nnunet", "sat-pro"), 8 * GB)


def test_what_fits_needs_no_more_than_the_card_and_what_does_not_needs_more(small):
    for row in small.values():
        if row.fit is None:
            assert row.least > 8 * GB
        else:
            assert row.least <= row.fit.nbytes <= 8 * GB and row.fit.seconds > 0
    assert all(small["sat-pro", scan, "fp16"].fit is None for scan in ("ct", "pet"))
    ct = small["nnunet", "ct", "fp32"]
    assert ct.fit.spilled and ct.patch == (128, 128, 128)


def test_16_bit_is_smaller_and_faster(small):
    wide, narrow = (small["nnunet", "ct", precision].fit for precision in ("fp32", "fp16"))
    assert narrow.batch >= wide.batch and narrow.seconds < wide.seconds


def test_the_least_fits_and_a_byte_less_does_not(small):
    least = small["nnunet", "pet", "fp16"].least
    card = find_profile("rtx4060")
    assert rows(("nnunet",), least, card)["nnunet", "pet", "fp16"].fit.batch == 1
    assert rows(("nnunet",), least - 1, card)["nnunet", "pet", "fp16"].fit is None


def test_sums_in_the_host_s_memory_take_longer_for_the_same_batch():
    card, model = find_profile("h100"), outline("nnunet", "nnunet", {})
    cases = planned_cases(SCANS[:1], [model], Settings())
    here, there = need(cases, 8, "fp32"), need(cases, 8, "fp32", spill=True)
    assert 0 < there.spilled == here.total - there.total
    whole = rows(("nnunet",), here.total, card)["nnunet", "ct", "fp32"].fit
    moved = rows(("nnunet",), here.total - 1, card)["nnunet", "ct", "fp32"].fit
    assert not whole.spilled and whole.batch == 8
    assert (moved.spilled and moved.batch == 8 and moved.seconds > whole.seconds) or moved.batch < 8


@pytest.mark.parametrize("name", ["nnunet", "segvol", "sam-med3d-turbo"])
def test_no_more_spills_than_is_declared(name):
    model = outline(name, name, {})
    for scan in SCANS:
        (case,) = planned_cases([scan], [model], Settings())
        moved = spillable(model, scan.shape, scan.spacing, len(case.case.targets))
        assert 0 <= moved < case.nbytes
        assert (moved > 0) == (name != "sam-med3d-turbo")


def test_the_profile_is_the_nearest_above():
    assert [holding(n * GB).name for n in (4, 8, 9, 16, 20, 48)] == [
        "rtx4060",
        "rtx4060",
        "rtx3060",
        "t4",
        "rtx4090",
        "l40s",
    ]
    assert holding(10**13).name == "h200"
    with_tf32 = {precision for _, _, precision in rows(("sam-med3d-turbo",), GB, find_profile("a100"))}
    assert with_tf32 == {"fp32", "tf32", "fp16"}


def test_a_model_that_cannot_be_read_is_a_row(tmp_path):
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"no weights")
    found = budget((f"nnunet={folder}",), 8 * GB)
    assert {row.scan for row in found.rows} == {"ct", "pet"} and all(row.reason for row in found.rows)


def test_the_command_prints_a_table_and_writes_json(tmp_path):
    out = tmp_path / "budget.json"
    asked = ["bench", "--budget", "8GB", "--model", "sam-med3d-turbo", "--json", str(out)]
    ended = CliRunner().invoke(main, asked)
    assert ended.exit_code == 0, ended.output
    assert "times of rtx4060, whose memory is the nearest above" in ended.stdout and "batch 8" in ended.stdout
    told = json.loads(out.read_text())
    assert told["kind"] == "umd-engine budget" and told["nbytes"] == 8 * GB and told["profile"] == "rtx4060"
    assert [row["fit"]["batch"] for row in told["rows"]] == [8] * 4


def test_bad_amounts_and_names_are_refused():
    for asked, words in (
        (("--budget", "much"), "no amount"),
        (("--budget", "8GB", "--device", "rtx"), "unknown device"),
    ):
        ended = CliRunner().invoke(main, ["bench", *asked])
        assert ended.exit_code == 1 and words in ended.stderr


def test_a_plan_warns_of_what_may_not_fit():
    asked = [
        "plan",
        "umd",
        "--limit",
        "2",
        "--model",
        "sat-pro",
        "--model",
        "sam-med3d-turbo",
        "--device",
        "rtx4060",
        "--json",
    ]
    (line,) = json.loads(CliRunner().invoke(main, asked).stdout)["warnings"]
    assert line.startswith("sat-pro may need") and "rtx4060 has 8 GB" in line
