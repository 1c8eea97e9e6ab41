"""A scan is read, prepared and its label looked at once for all models, and let go when the last has it."""

import gc
import sys
import weakref
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from asked_model import CubeModel, make_pairs
from cohort import MODEL, make_cohort

from umd_engine.data.manifest import read_manifest
from umd_engine.data.scan import Scan, read_scan
from umd_engine.evaluation.cases import all_cases
from umd_engine.evaluation.counting import reference_of
from umd_engine.evaluation.crew import side_by_side
from umd_engine.evaluation.declared import Declared
from umd_engine.evaluation.prompts.reference import organs_of
from umd_engine.evaluation.run import Evaluation, Settings
from umd_engine.evaluation.shared_scans import Shared, SharedScans
from umd_engine.evaluation.store import Store
from umd_engine.models.nnunet.model import NnUNet
from umd_engine.models.nnunet.protocol import Options

CPU = torch.device("cpu")
opened: Counter[str] = Counter()  # how often each file was, since the last clear
read: list[weakref.ref[Scan]] = []  # all scans that were


@pytest.fixture(autouse=True)
def note_scans(monkeypatch):
    def reading(*arguments, **options):
        scan = read_scan(*arguments, **options)
        read.append(weakref.ref(scan))
        return scan

    monkeypatch.setattr("umd_engine.evaluation.crew.read_scan", reading)


def count_opening(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        opened[arguments[0]] += 1


sys.addaudithook(count_opening)


@dataclass(eq=False)
class Watched:
    """A model, and how often it prepared a scan."""

    model: NnUNet
    prepared: int = 0

    def __getattr__(self, name):
        return getattr(self.model, name)

    def prepare(self, images, device):
        self.prepared += 1
        return self.model.prepare(images, device)


def nnunet(name, **options):
    return Watched(NnUNet(name, MODEL, Options(folds="0", **options)))


def run_of(rows, models, out, **settings):
    """Every row but its time, and the most scans that were in memory when a case ended."""
    most = 0
    for ended in Evaluation(rows, models, out, Settings(**settings)).run():
        assert ended.error is None
        del ended
        gc.collect()
        most = max(most, sum(scan() is not None for scan in read))
    with Store(out / "store.sqlite", create=False) as store:
        return {row.key: (row.status, row.tp, row.fp, row.fn) for row in store.rows()}, most


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 4)


def test_six_models_read_a_scan_once_and_prepare_it_once_a_rule(manifest, tmp_path):
    rows = read_manifest(manifest)
    alike = [nnunet("a", mirroring=False), nnunet("b", mirroring=False, step=1.0), nnunet("c", mirroring=False)]
    others = [nnunet("z", normalization="zscore", mirroring=False), nnunet("y", normalization="zscore", step=1.0)]
    models = [alike[0], others[0], alike[1], CubeModel(), others[1], alike[2]]
    opened.clear()
    found, most = run_of(rows, models, tmp_path / "all", max_live=2)
    for row in rows:
        assert opened[str(row.label)] == 1
        assert opened[str(row.images[0])] == 2  # its header, for what is declared, and its voxels
    assert sum(model.prepared for model in alike) == sum(model.prepared for model in others) == len(rows)
    assert most <= 2  # as many as are in flight
    alone = {}
    for model in models:
        alone |= run_of(rows, [model], tmp_path / f"only-{model.name}")[0]
    assert found == alone and len(found) == len(rows) * (5 * 4 + 3)


def test_cases_that_prepare_alike_are_neighbours_and_scans_stay_in_order(manifest):
    rows = read_manifest(manifest)
    models = [nnunet("a"), nnunet("z", normalization="zscore"), CubeModel(), nnunet("b", step=1.0)]
    cases = all_cases(rows, models, dict.fromkeys(("a", "z", "cube", "b"), "plan"), Settings())
    ordered = side_by_side(cases)
    assert [case.row.key for case in ordered] == [case.row.key for case in cases]
    assert [case.model.name for case in ordered] == ["a", "b", "z", "cube"] * len(rows)


class Thing:
    pass


def test_a_shared_value_is_made_once_and_let_go_with_its_last_turn():
    shared, made = Shared(["x", "x", "y"]), []

    def make():
        made.append(weakref.ref(thing := Thing()))
        return thing

    with shared.turn("x") as value:
        first = value(make)
        with shared.turn("y") as other:
            assert other(make) is not first
        assert made[1]() is None
    with shared.turn("x") as value:
        assert value(make) is first
        del first, value
        assert made[0]() is not None
    assert made[0]() is None and len(made) == 2


def test_a_turn_that_fails_before_it_comes_to_the_value_counts_too():
    shared, made = Shared(["x", "x"]), []
    with shared.turn("x") as value:
        made.append(weakref.ref(value(Thing)))
        del value
    with pytest.raises(KeyError), shared.turn("x"):
        raise KeyError("another")
    assert made[0]() is None


def test_a_failed_reading_fails_for_all_and_is_tried_once(manifest):
    (row, *_), tried = read_manifest(manifest), []

    def read(row):
        tried.append(row)
        raise OSError("no disk")

    scans = SharedScans([row, row], read)
    for _ in range(2):
        with pytest.raises(OSError, match="no disk"):
            scans.take(row)
    assert len(tried) == 1


def test_label_statistics_are_those_of_the_scan_for_every_model(tmp_path):
    row = read_manifest(make_pairs(tmp_path, 1))[0]
    scan = read_scan(row)
    assert reference_of(scan, CPU) is reference_of(scan, CPU)
    organs = ("liver", "spleen", "brain")
    found = organs_of(scan, organs, CPU)
    assert found is organs_of(scan, organs, CPU) and found is not organs_of(scan, ("liver",), CPU)
    assert {organ: label.voxels for organ, label in found.items()} == {
        "liver": int((scan.label.voxels == 1).sum()), "spleen": int((scan.label.voxels == 2).sum()), "brain": 0,
    }  # fmt: skip
    unlabelled = read_scan(row, with_label=False)
    assert reference_of(unlabelled, CPU) is None and organs_of(unlabelled, organs, CPU) == {}


def test_a_scan_is_declared_once_for_all_its_models_and_nothing_less_than_it_is(manifest):
    row = read_manifest(manifest)[0]
    cases = all_cases([row], [nnunet("a"), CubeModel()], {"a": "p", "cube": "p"}, Settings())
    declared = Declared(CPU)
    (one, other) = (declared.needs(case)[1] for case in cases)
    scan = read_scan(row)
    held = sum(np.asarray(volume.voxels).nbytes for volume in (*scan.images, scan.label))
    assert one == other and held < one[row.key] < 5 * held
    assert declared.needs(cases[0])[0] == cases[0].model.nbytes(scan.images[0].grid.shape, scan.images[0].grid.spacing)
    assert Declared(torch.device("cuda")).needs(cases[0])[1][row.key] < one[row.key]
