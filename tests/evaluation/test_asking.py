"""What each model of a run is asked by, and what is done whole."""

import sqlite3

import pytest
from asked_model import CubeModel, evaluate, make_pairs, prompts, rows_of
from click.testing import CliRunner

from umd_engine.cli import main
from umd_engine.commands.options import settings_of


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


def test_a_model_is_asked_by_its_own_default(pairs, tmp_path):
    by_kinds = {"point": "paper-1pt", "box": "box", "text": "text"}
    models = [CubeModel(kind, prompts=frozenset({kind})) for kind in by_kinds]
    models += [CubeModel("both"), CubeModel("own")]
    models[-1].default_prompt = "center-1pt"
    titles = tuple(model.name for model in models)
    assert evaluate(pairs, tmp_path / "run", models, organs=("liver",), asked=prompts(titles=titles)) == []
    used = {r.model: r.prompt for r in rows_of(tmp_path / "run")}
    assert used == by_kinds | {"both": "paper-1pt", "own": "center-1pt"}
    asked = prompts("own=ritm-2", titles=titles)
    evaluate(pairs, tmp_path / "named", models, organs=("liver",), asked=asked)
    assert {r.prompt for r in rows_of(tmp_path / "named") if r.model == "own"} == {"ritm-2"}


def test_what_depends_on_other_organs_is_done_whole_and_has_a_plan_of_its_own(pairs, tmp_path):
    model = CubeModel()
    model.one_stream = True
    run, organs = tmp_path / "run", ("spleen", "liver")
    evaluate(pairs, run, [model], asked=prompts(), organs=organs)
    with sqlite3.connect(run / "store.sqlite") as db:
        db.execute("DELETE FROM results WHERE scan_id = 's001_pet' AND organ = 'spleen'")
    model.asked.clear()
    evaluate(pairs, run, [model], asked=prompts(), organs=organs)
    assert {organ for organ, _ in model.asked} == set(organs) and len(model.asked) == 2
    evaluate(pairs, run, [model], asked=prompts(), organs=organs[::-1])
    assert len({r.plan for r in rows_of(run)}) == 1 and len(model.asked) == 2
    evaluate(pairs, run, [model], asked=prompts(), organs=("liver",))
    evaluate(pairs, run, [model], asked=prompts())
    assert len({r.plan for r in rows_of(run)}) == 3
    evaluate(pairs, tmp_path / "free", [CubeModel()], asked=prompts(), organs=organs)
    evaluate(pairs, tmp_path / "free", [CubeModel()], asked=prompts())
    assert len({r.plan for r in rows_of(tmp_path / "free")}) == 1


def test_an_organ_named_twice_is_asked_for_once(pairs, tmp_path):
    command = ("evaluate", pairs, "--out", tmp_path / "run", "--model", f"sam-med3d-turbo={pairs}")
    result = CliRunner().invoke(main, [str(a) for a in (*command, "--organs", "liver, spleen,liver")])
    assert result.exit_code == 1  # no checkpoint: a failed row an organ
    assert sorted(r.organ for r in rows_of(tmp_path / "run") if r.scan_id == "s000_ct") == ["liver", "spleen"]
    shared = {"backend": "torch", "device": "cpu", "precision": "fp32", "batch": 2, "readers": 1, "memory": None}
    options = shared | {"seed": 0, "prompts": (), "repeats": None, "independent": False, "replay": None}
    assert settings_of(options | {"organs": "liver, spleen,liver"}, []).organs == ("liver", "spleen")
