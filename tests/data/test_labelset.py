"""Label sets: the built-in ones, files of one's own, ids outside a set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from umd_engine.data import labelset
from umd_engine.data.labelset import LABEL_SETS, LabelSet, found_ids, load_label_set, write_label_set
from umd_engine.data.nifti import read_labels
from umd_engine.errors import LabelError, ManifestError, MissingFileError, UnknownNameError

ABDOMEN = Path(__file__).parents[2].parent / "shared" / "data" / "ct_abdomen"
UMD13 = [
    "liver", "kidney_left", "kidney_right", "brain", "heart", "spleen", "aorta", "lung", "colon", "urinary_bladder",
    "pancreas", "esophagus", "stomach",
]  # fmt: skip
needs_abdomen = pytest.mark.skipif(not ABDOMEN.is_dir(), reason=f"no {ABDOMEN}")


def test_the_list_is_what_the_package_has() -> None:
    folder = Path(labelset.__file__).parent / "label_sets"
    assert sorted(LABEL_SETS) == sorted(path.stem for path in folder.glob("*.json"))


def test_umd13_numbers_its_organs_in_order() -> None:
    assert load_label_set("umd13").ids == {organ: (i,) for i, organ in enumerate(UMD13, start=1)}


LACKING = {  # sets of the abdomen
    "amos22": {"brain", "heart", "lung", "colon"},
    "flare22": {"brain", "heart", "lung", "colon", "urinary_bladder"},
}


@pytest.mark.parametrize("name", LABEL_SETS)
def test_built_in_sets_have_the_umd_organs(name: str) -> None:
    label_set = load_label_set(name)
    assert label_set.name == name
    assert set(UMD13) - set(label_set.ids) == LACKING.get(name, set())


@needs_abdomen
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("totalsegmentator-v1-104", "labels_v1_104classes"),
        ("totalsegmentator-v2-117", "labels_v2_117classes"),
        ("totalsegmentator-mr-50", "total_mr"),
    ],
)
def test_totalsegmentator_sets_are_its_class_maps(name: str, key: str) -> None:
    classes = json.loads((ABDOMEN / "class_maps.json").read_text())[key]
    ids = load_label_set(name).ids
    assert {organ: (int(i),) for i, organ in classes.items()}.items() <= ids.items()
    unions = {organ: set(found) for organ, found in ids.items() if organ not in classes.values()}
    for organ, found in unions.items():
        assert found == {int(i) for i, part in classes.items() if part.startswith(f"{organ}_")}


@needs_abdomen
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("organs13", "umd13"),
        ("labels_v1_104classes", "totalsegmentator-v1-104"),
        ("labels_v2_117classes_fastmodel", "totalsegmentator-v2-117"),
        ("example_seg_mr", "totalsegmentator-mr-50"),
    ],
)
def test_real_label_maps_hold_only_ids_of_their_set(file: str, name: str) -> None:
    path = ABDOMEN / f"{file}.nii.gz"
    voxels = read_labels(path).voxels
    load_label_set(name).check(voxels, path)
    if name != "umd13":
        with pytest.raises(LabelError, match="umd13"):
            load_label_set("umd13").check(voxels, path)


@needs_abdomen
def test_unions_are_the_organs_of_the_13_organ_map() -> None:
    organs = read_labels(ABDOMEN / "organs13.nii.gz").voxels
    parts = read_labels(ABDOMEN / "labels_v1_104classes.nii.gz").voxels
    for organ, ids in load_label_set("umd13").ids.items():
        of_parts = np.isin(parts, load_label_set("totalsegmentator-v1-104").ids[organ])
        assert np.array_equal(organs == ids[0], of_parts), organ


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16, np.int32]), hnp.array_shapes(min_dims=3, max_dims=3)))
def test_found_ids_are_those_of_unique(voxels: np.ndarray) -> None:
    assert found_ids(voxels) == np.unique(voxels).tolist()
    assert found_ids(voxels[::-1].transpose(2, 0, 1)) == np.unique(voxels).tolist()


def test_found_ids_over_several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelset, "_CHUNK", 7)
    voxels = np.zeros((5, 4, 3), np.uint16)
    voxels[0, 0, 0], voxels[2, 1, 1], voxels[-1, -1, -1] = 7, 300, 65535
    assert found_ids(voxels) == [0, 7, 300, 65535]


def test_ids_outside_the_set_are_named() -> None:
    voxels = np.array([[[0, 1, 14, 200]]], np.uint8)
    with pytest.raises(LabelError, match=r"label.nii.gz: ids 14, 200 are not in label set 'umd13'"):
        load_label_set("umd13").check(voxels, Path("label.nii.gz"))
    with pytest.raises(LabelError, match=r"id 14 is not in label set 'umd13'"):
        load_label_set("umd13").check(voxels[..., :3], None)
    load_label_set("umd13").check(voxels[..., :2], None)


def test_round_trip_of_unions_and_shared_ids(tmp_path: Path) -> None:
    label_set = LabelSet("tumour", {"whole": (1, 2, 3), "core": (2, 3), "näher dran": (65535,)})
    write_label_set(tmp_path / "set.json", label_set)
    assert load_label_set(str(tmp_path / "set.json")) == label_set
    assert load_label_set(tmp_path / "set.json") == label_set


def test_a_flat_file_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"background": 0, "liver": 3, "lung": [1, 2]}')
    assert load_label_set(str(path)) == LabelSet("mine", {"liver": (3,), "lung": (1, 2)})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[1]", "not a JSON object"),
        ("{", "not a JSON file"),
        ("\xff", "not a JSON file"),
        ("{}", "no organ"),
        ('{"name": "x", "labels": {}}', "no organ"),
        ('{"name": "", "labels": {"liver": 1}}', "the name"),
        ('{"name": "x", "label": {"liver": 1}}', "'name' has"),
        ('{"name": "x", "labels": {"liver": 1}, "ids": 3}', "unknown keys ids"),
        ('{"liver": 1, "liver": 2}', "twice"),
        ('{"liver": 0}', "'liver' has 0"),
        ('{"background": 1, "liver": true}', "'liver' has true"),
        ('{"liver": -1}', "'liver' has -1"),
        ('{"liver": 65536}', "65536"),
        ('{"liver": 1.0}', "1.0"),
        ('{"liver": "1"}', "liver"),
        ('{"liver": []}', "liver"),
        ('{"liver": [1, 1]}', "twice"),
        ('{"liver,left": 1}', "comma"),
        ('{" liver": 1}', "blanks"),
    ],
)
def test_files_that_are_no_label_set(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "set.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ManifestError, match=fault) as error:
        load_label_set(path)
    assert error.value.where == path


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean umd13"):
        load_label_set("umd-13")
    with pytest.raises(MissingFileError):
        load_label_set(tmp_path / "none.json")
    with pytest.raises(ManifestError, match="cannot read"):
        load_label_set(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ManifestError, match="cannot write"):
        write_label_set(tmp_path / "file" / "set.json", load_label_set("umd13"))
