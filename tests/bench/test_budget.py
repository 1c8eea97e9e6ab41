"""What fits a small card."""

import json

import pytest
from click.testing import CliRunner

from umd_engine.bench.budget import SCANS, budget
from umd_engine.cli import main
from umd_engine.engine.profiles import find_profile, holding
from umd_engine.evaluation.cases import Settings
from umd_engine.evaluation.forecast.costs import Derived, Spilled
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
    assert narrow.batch == wide.batch == 1 and narrow.spilled and narrow.nbytes < wide.nbytes
    assert narrow.seconds < wide.seconds


def test_the_least_fits_to_the_byte(small):
    least = small["sat-pro", "ct", "fp16"].least
    fit = rows(("sat-pro",), least, find_profile("rtx4060"))["sat-pro", "ct", "fp16"].fit
    assert (fit.batch, fit.nbytes) == (1, least)


def test_sums_in_the_host_s_memory_leave_the_device_and_take_longer():
    card, model = find_profile("rtx4060"), outline("nnunet", "nnunet", {})
    cases = planned_cases(SCANS[:1], [model], Settings())
    here, there = need(cases, 1, "fp32"), need(cases, 1, "fp32", spill=True)
    assert 0 < there.spilled == here.total - there.total
    device, host = (kind(card, "fp32") for kind in (Derived, Spilled))
    (unit,) = model.units
    window = 4 * 14 * 128**3  # bytes of its logits
    assert host.collect(unit, 3).seconds > device.collect(unit, 3).seconds + 3 * window / card.link
    assert host.host(cases[0])[3].seconds > device.host(cases[0])[3].seconds


@pytest.mark.parametrize("name", ["nnunet", pytest.param("segvol", marks=pytest.mark.full), "sam-med3d-turbo"])
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
    with_tf32 = {precision for _, _, precision in rows(("nnunet",), GB, find_profile("a100"))}
    assert with_tf32 == {"fp32", "tf32", "fp16"}


def test_a_model_that_cannot_be_read_is_a_row(tmp_path):
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"no weights")
    found = budget((f"nnunet={folder}",), 8 * GB)
    assert {row.scan for row in found.rows} == {"ct", "pet"} and all(row.reason for row in found.rows)


def test_the_command_prints_a_table_and_writes_json(tmp_path, small):
    out = tmp_path / "budget.json"
    ended = CliRunner().invoke(main, ["bench", "--budget", "1GB", "--model", "nnunet", "--json", str(out)])
    assert ended.exit_code == 0, ended.output
    told = json.loads(out.read_text())
    assert "times of rtx4060, whose memory is the nearest above" in ended.stdout
    assert (told["kind"], told["nbytes"], told["profile"], told["chosen"]) == ("umd-engine budget", GB, "rtx4060", True)
    for row in told["rows"]:
        assert row["fit"] is None and row["least"] == small["nnunet", row["scan"], row["precision"]].least
        assert f">= {row['least'] / 1e9:.1f} GB" in ended.stdout


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
