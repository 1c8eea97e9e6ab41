"""`plan` on a small cohort and on the assumed one."""

import json
import shutil

import pytest
from click.testing import CliRunner
from cohort import MODEL, make_cohort, write_manifest, write_scan

from umd_engine.cli import main
from umd_engine.data.manifest import read_manifest
from umd_engine.data.words import short
from umd_engine.evaluation.forecast import planning
from umd_engine.evaluation.forecast.measure import sampled
from umd_engine.evaluation.forecast.scans import PETCT, PETMRI, planned, umd_scans
from umd_engine.evaluation.forecast.works import planned_cases
from umd_engine.evaluation.run import Evaluation, Settings


def umd(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path / "cache"))


class Counted:
    """Items of a run's sessions."""

    def __init__(self, opened):
        self.opened, self.items = opened, 0

    def __call__(self, unit):
        session = self.opened(unit)
        return type("Session", (), {"run": lambda _, inputs: self.count(session, inputs)})()

    def count(self, session, inputs):
        self.items += len(inputs[0])
        return session.run(inputs)


def test_a_measured_plan_knows_the_calls_of_the_run(cohort, tmp_path):
    told = json.loads(umd("plan", cohort, "--model", f"nnunet={MODEL}", "--measure", "--json").stdout)
    (model,) = told["models"]
    rows = read_manifest(cohort)
    models, _ = planning.models_of([f"nnunet={MODEL}"], ())
    work = Evaluation(rows, models, tmp_path / "run", Settings())
    work.crew.executor.open_unit = counted = Counted(work.sessions)
    assert not [ended.error for ended in work.run() if ended.error]
    assert model["calls"] == counted.items > 0 and model["cases"] == 3
    assert set(model["units"].values()) == {"measured"}
    assert told["runs"][0]["devices"] == 1 and told["runs"][0]["seconds"] > 0
    assert told["bytes_read"] == sum(path.stat().st_size for row in rows for path in (*row.images, row.label))


def test_samples_are_stored_and_belong_to_what_they_measured(cohort, tmp_path):
    rows = read_manifest(cohort)
    models, _ = planning.models_of([f"nnunet={MODEL}"], ())
    scans, _ = planned(rows)
    cases = planned_cases(scans, models, Settings())
    first = sampled(cases, Settings(), rows, tmp_path / "samples")
    assert sampled(cases, Settings(), rows, tmp_path / "samples") == first
    (path,) = (tmp_path / "samples").glob("*.json")
    content = json.loads(path.read_text())
    content["host"]["read"]["seconds"] = 123.0
    path.write_text(json.dumps(content))
    again = sampled(cases, Settings(), rows, tmp_path / "samples")
    assert again["nnunet", "ct"].host["read"].seconds == 123.0
    sampled(cases, Settings(batch_size=3), rows, tmp_path / "samples")
    assert len(list((tmp_path / "samples").glob("*.json"))) == 2


def test_a_derived_plan_says_so_and_shows_tables(cohort):
    shown = umd("plan", cohort, "--model", f"nnunet={MODEL}", "--model", "segvol", "--device", "h200")
    assert "derived, not measured" in " ".join(shown.stdout.split()) and "binding stage" in shown.stdout
    told = json.loads(umd("plan", cohort, "--model", "segvol", "--device", "h200", "--json").stdout)
    (model,) = told["models"]
    assert set(model["units"].values()) == {"derived"} and model["least"] < model["calls"] <= model["most"]
    assert any("no checkpoint is given" in line for line in told["assumed"])


def test_faster_devices_and_more_of_them_take_less_time():
    def seconds(*options):
        asked = ("--limit", 24, "--model", "sam-med3d-turbo", "--precision", "fp16", "--json")
        told = json.loads(umd("plan", "umd", *asked, *options).stdout)
        return [run["seconds"] for run in told["runs"]]

    (slow,), (fast, both) = seconds("--device", "l40s"), seconds("--device", "h200", "--devices", "1,2")
    assert both < fast < slow


def test_what_is_wrong_is_said_before_any_work(cohort, tmp_path):
    def refused(*arguments, manifest=cohort):
        return umd("plan", manifest, *arguments, code=1).stderr

    assert "unknown device profile 'h2000'" in refused("--model", "nnunet", "--device", "h2000")
    assert "cannot run" in refused("--model", "nnunet", "--measure")
    assert "not here to be measured" in refused("--model", f"nnunet={MODEL}", "--measure", "--device", "h200")
    assert "cannot be read" in refused("--model", "nnunet", "--measure", manifest="umd")
    assert "sets nothing" in refused("--model", "nnunet", "--set", "segvol.zoom_in=false")
    assert "same name" in refused("--model", "nnunet", "--model", f"nnunet={MODEL}")
    assert "no such" in refused("--model", "nnunet", manifest=tmp_path / "none.csv")
    bad = tmp_path / "bad.csv"
    bad.write_text("what,is,this\n1,2,3\n")
    assert refused("--model", "nnunet", manifest=bad)


def test_scans_and_models_that_cannot_be_used_are_listed_and_left_out(tmp_path):
    folder = tmp_path / "cohort"
    folder.mkdir()
    manifest = write_manifest(folder, [write_scan(folder, "good", 0), write_scan(folder, "cut", 1)])
    (folder / "cut.nii.gz").write_bytes(b"not a scan")
    damaged = tmp_path / "model"
    shutil.copytree(MODEL, damaged)
    (damaged / "plans.json").write_text("{}")
    told = json.loads(
        umd("plan", manifest, "--model", f"nnunet={MODEL}", "--model", f"nnunet@bad={damaged}", "--json").stdout
    )
    faults = {fault["where"]: fault["status"] for fault in told["faults"]}
    assert faults.keys() == {"petct/cut/cut_ct", "nnunet@bad"} and all(faults.values())
    assert told["scans"] == 1 and [model["model"] for model in told["models"]] == ["nnunet"]


def test_the_assumed_cohort_is_as_large_as_it_says():
    scans = umd_scans()
    assert len(scans) == 2 * (PETCT + PETMRI) == 1908
    assert len({scan.row.key for scan in scans}) == len(scans)
    slices = [scan.shape[2] for scan in scans if scan.row.modality == "ct"]
    assert (min(slices), max(slices), len(slices)) == (350, 900, 490)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 "), (999, "999 "), (999.9, "1 k"), (7_249_400, "7.25 M"), (2.5e21, "2.5e+03 E")]
)
def test_numbers_are_short(number, text):
    assert short(number) == text
