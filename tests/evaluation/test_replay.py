"""Clicks exported from a run and given again: the same rows, for the same model, another one, another scan."""

import json

import numpy as np
import pytest
from asked_model import (
    ORGANS,
    CubeModel,
    clicks_of,
    counts_of,
    evaluate,
    label_of,
    make_pairs,
    place,
    predict,
    prompts,
    rows_of,
    save,
    write_pair,
    write_scans,
)  # fmt: skip
from click.testing import CliRunner

from umd_engine.cli import main
from umd_engine.errors import DataError, MissingFileError, OptionError
from umd_engine.evaluation.prompts.export import export_clicks
from umd_engine.evaluation.prompts.replay import read_replay


def umd(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


def replayed(path, **more):
    return prompts(replay=path, **more)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    evaluate(pairs, out, [CubeModel()], asked=prompts("box+random-2", repeats=2))
    return out


@pytest.fixture(scope="module")
def exported(run):
    path = run.parent / "clicks.json"
    assert "prompts in" in umd("clicks", "export", run, "--out", path).stdout
    return path


@pytest.mark.parametrize("name", ["cube", "another"])
def test_a_replay_gives_the_same_rows_with_any_model(pairs, run, exported, tmp_path, name):
    assert evaluate(pairs, tmp_path / "again", [CubeModel(name)], asked=replayed(exported)) == []
    assert counts_of(tmp_path / "again") == counts_of(run)
    rows = rows_of(tmp_path / "again")
    assert {(r.prompt, r.uses_label) for r in rows} == {("replay", "box")} and {r.plan for r in rows} != {
        r.plan for r in rows_of(run)
    }
    ours, theirs = ([c.given for c in clicks_of(where)] for where in (tmp_path / "again", run))
    assert {given.origin for given in ours} == {"replayed"} and len(ours) == len(theirs) > 60
    assert [(g.voxel, g.kind, g.positive, g.high) for g in ours] == [
        (g.voxel, g.kind, g.positive, g.high) for g in theirs
    ]
    # and what is exported of it is the same file
    export_clicks(tmp_path / "again", tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(exported.read_text())


def test_an_entry_says_where_in_voxels_and_mm(run, exported):
    entries = json.loads(exported.read_text())["clicks"]
    point = next(e for e in entries if "world" in e and e["scan_id"] == "s000_ct")
    assert np.allclose(place() @ [*point["voxel"], 1], [*point["world"], 1])
    box = next(e["box"] for e in entries if "box" in e and e["scan_id"] == "s000_ct" and e["organ"] == "liver")
    assert (box["low"], box["high"]) == ([4, 5, 3], [16, 14, 10])
    assert np.allclose(box["world_low"], (place() @ [3.5, 4.5, 2.5, 1])[:3])


def test_a_scan_without_clicks_of_its_own_takes_its_subjects(pairs, tmp_path):
    evaluate(pairs, tmp_path / "ct", [CubeModel()], modality="ct", asked=prompts("paper-1pt"))
    export_clicks(tmp_path / "ct", tmp_path / "clicks.json")
    evaluate(pairs, tmp_path / "pet", [CubeModel()], modality="pet", asked=replayed(tmp_path / "clicks.json"))
    there = {(c.key.subject, c.key.organ): c.given for c in clicks_of(tmp_path / "ct")}
    here = {(c.key.subject, c.key.organ): c.given for c in clicks_of(tmp_path / "pet")}
    assert here.keys() == there.keys() and all(here[key].world == given.world for key, given in there.items())
    assert all(here[key].voxel != given.voxel for key, given in there.items())  # another grid
    assert {r.status for r in rows_of(tmp_path / "pet")} == {"ok", "absent"}


def test_a_replay_needs_no_label(pairs, run, exported, tmp_path):
    lines = pairs.read_text().splitlines()
    manifest = pairs.parent / "unlabelled.csv"
    manifest.write_text("\n".join([lines[0], *(line.rsplit(",", 2)[0] + ",," for line in lines[1:])]) + "\n")
    assert evaluate(manifest, tmp_path / "run", [CubeModel()], asked=replayed(exported)) == []
    rows = rows_of(tmp_path / "run")
    labelled = {(r.scan_id, r.organ, r.step, r.repeat): r for r in rows_of(run)}
    assert {r.status for r in rows} == {"no-reference"} and {r.organ for r in rows} == set(ORGANS) - {"brain"}
    for row in rows:
        assert row.fp == labelled[row.scan_id, row.organ, row.step, row.repeat].prediction_voxels
    errors, masks = predict(manifest, tmp_path / "masks", [CubeModel()], asked=replayed(exported), organs=("lung",))
    assert errors == [] and len(masks) == 4 * 2


def test_what_a_replay_cannot_give_is_a_prompt_error(pairs, exported, tmp_path):
    document = json.loads(exported.read_text())
    kept = [e for e in document["clicks"] if not (e["organ"] == "lung" and e["scan_id"] == "s000_ct")]
    for entry in kept:
        if entry["organ"] == "halves" and entry["scan_id"] == "s000_ct" and "world" in entry:
            entry["world"] = [900.0, 0.0, 0.0]
    path = tmp_path / "clicks.json"
    path.write_text(json.dumps(document | {"clicks": kept}))
    (error,) = evaluate(pairs, tmp_path / "run", [CubeModel()], asked=replayed(path))
    assert "no prompts of lung" in str(error)
    rows = [r for r in rows_of(tmp_path / "run") if r.failed]
    assert {(r.scan_id, r.organ, r.status) for r in rows} == {
        ("s000_ct", "lung", "bad-prompt"), ("s000_ct", "halves", "bad-prompt")
    }  # fmt: skip
    assert any("(900.0, 0.0, 0.0) mm, step 1, lies outside the scan" in r.message for r in rows)
    assert {r.status for r in rows_of(tmp_path / "run") if r.organ == "brain"} == {"absent"}


BAD = {
    "no json": "{",
    "a list": "[]",
    "another format": '{"format": "x", "version": 1, "clicks": []}',
    "a later version": '{"format": "umd-engine clicks", "version": 2, "clicks": []}',
    "nothing in it": '{"format": "umd-engine clicks", "version": 1, "clicks": []}',
}
ENTRY = {"cohort": "petct", "subject": "s000", "scan_id": "s000_ct", "organ": "liver"}
BAD_ENTRIES = {
    "give one of world, box and text": {},
    "give one of world, box": {"world": [1, 2, 3], "text": "liver"},
    "world": {"world": [1, 2]},
    "finite": {"world": [1, 2, float("nan")]},
    "Extra": {"world": [1, 2, 3], "wrld": 1},
    "leave one out": {"world": [1, 2, 3], "step": 1},
    "greater than or equal": {"world": [1, 2, 3], "repeat": -1},
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_none(tmp_path, name):
    path = tmp_path / "clicks.json"
    path.write_text(BAD[name])
    with pytest.raises(DataError, match=r"clicks\.json"):
        read_replay(path)


@pytest.mark.parametrize("fault", BAD_ENTRIES)
def test_an_entry_that_does_not_hold_together(tmp_path, fault):
    path = tmp_path / "clicks.json"
    path.write_text(json.dumps({"format": "umd-engine clicks", "version": 1, "clicks": [ENTRY | BAD_ENTRIES[fault]]}))
    with pytest.raises(DataError, match=fault):
        read_replay(path)


def test_missing_files_and_options_that_exclude_each_other(exported, tmp_path):
    with pytest.raises(MissingFileError, match="clicks export"):
        read_replay(tmp_path / "absent.json")
    with pytest.raises(DataError):
        read_replay(tmp_path)
    for more in ({"independent": True}, {}):
        with pytest.raises(OptionError, match="nothing is drawn in a replay"):
            prompts(*([] if more else ["box"]), replay=exported, **more)
    with pytest.raises(OptionError, match="a second protocol"):
        prompts("box", "text")
    with pytest.raises(OptionError, match="a second protocol"):
        prompts("cube=box", "cube=text")
    with pytest.raises(OptionError, match="repeats"):
        prompts("box", repeats=2**16 + 1)
    assert replayed(exported).repeats == 2 and replayed(exported, repeats=1).repeats == 1


def test_kinds_in_the_file_that_a_model_does_not_take(pairs, exported, tmp_path):
    with pytest.raises(OptionError, match=r"--replay: cube takes no box prompts"):
        evaluate(pairs, tmp_path / "run", [CubeModel(prompts=frozenset({"point"}))], asked=replayed(exported))


def test_an_export_is_of_one_model(pairs, tmp_path):
    models = [CubeModel("a"), CubeModel("b")]
    evaluate(pairs, tmp_path / "run", models, organs=("liver",), asked=prompts(titles=("a", "b")))
    result = umd("clicks", "export", tmp_path / "run", "--out", tmp_path / "c.json", code=1)
    assert "--model a --plan" in result.stderr and not (tmp_path / "c.json").exists()
    umd("clicks", "export", tmp_path / "run", "--out", tmp_path / "c.json", "--model", "b")
    assert len(json.loads((tmp_path / "c.json").read_text())["clicks"]) == 4
    plan = next(r.plan for r in rows_of(tmp_path / "run") if r.model == "a")
    umd("clicks", "export", tmp_path / "run", "--out", tmp_path / "d.json", "--plan", plan[:8])
    assert "no prompts" in umd("clicks", "export", tmp_path / "run", "--out", "x", "--model", "c", code=1).stderr
    assert "no result store" in umd("clicks", "export", tmp_path, "--out", "x", code=1).stderr


def test_a_text_and_an_oblique_scan_are_replayed(tmp_path):
    turn = np.eye(4)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    (tmp_path / "d").mkdir()
    manifest = write_scans(tmp_path / "d", write_pair(tmp_path / "d", "s", affine=turn @ place()))
    asked = prompts("text+box")
    evaluate(manifest, tmp_path / "run", [CubeModel()], asked=asked, organs=("lung", "liver"))
    export_clicks(tmp_path / "run", tmp_path / "c.json")
    evaluate(manifest, tmp_path / "again", [CubeModel()], asked=replayed(tmp_path / "c.json"), organs=("lung", "liver"))
    assert counts_of(tmp_path / "run") == counts_of(tmp_path / "again")
    assert {c.given.text for c in clicks_of(tmp_path / "again")} == {"", "lung", "liver"}


def test_the_command_line_refuses_prompts_for_models_without(tmp_path):
    from cohort import MODEL, make_cohort

    manifest = make_cohort(tmp_path / "cohort", 1)
    command = ("evaluate", manifest, "--out", tmp_path / "run", "--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0")
    assert "no model of this run takes prompts" in umd(*command, "--prompt", "box", code=1).stderr
    assert "nnunet takes no prompts" in umd(*command, "--prompt", "nnunet=box", code=1).stderr
    assert "did you mean ritm-5" in umd(*command, "--prompt", "ritm5", code=1).stderr
    assert "is no model of this run" in umd(*command, "--prompt", "sam=box", code=1).stderr
    assert "--seed" in umd(*command, "--seed", -1, code=2).stderr
    save(tmp_path / "x.nii.gz", label_of(), place())
    assert "not a file of clicks" in umd(*command, "--replay", tmp_path / "x.nii.gz", code=1).stderr
    assert not (tmp_path / "run").exists()
