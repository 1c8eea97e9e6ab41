"""The picture: decoded again, of one store always the same bytes, of another store other pixels."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib import image as images
from scipy import ndimage

from umd_engine.cli import main
from umd_engine.data.labelset import load_label_set
from umd_engine.errors import DataError, MissingFileError, OptionError
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.picture import check_picture, draw, draw_run
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.store import Store
from umd_engine.evaluation.tables import build_tables

ALARM = (0xB0, 0x00, 0x20)
CT, MR, PET = (0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73), (0xD5, 0x5E, 0x00)
ORGANS = tuple(load_label_set("umd13").ids)


def rows_of(models=("m",), organs=ORGANS, modalities=("ct", "pet"), cohort="petct", shift=0, synthetic=False):
    return [
        Row(
            plan="p", cohort=cohort, subject=subject, scan_id=f"{subject}_{modality}", modality=modality, model=model,
            organ=organ, status="ok", tp=80 - 5 * i - 10 * j - shift, fp=20, fn=20, synthetic=synthetic,
        )
        for subject in "ab" for model in models
        for i, organ in enumerate(organs) for j, modality in enumerate(modalities)
    ]  # fmt: skip


def pixels_of(rows, path, name="umd"):
    draw(build_tables(rows, convention(name)), path)
    return (images.imread(path)[..., :3] * 255).round().astype(np.uint8)


def count(pixels, colour):
    return int((pixels == np.array(colour, np.uint8)).all(axis=-1).sum())


def test_thirteen_organs_of_three_models(tmp_path):
    pixels = pixels_of(rows_of(("nnunet@ct", "nnunet@pet", "sat")), tmp_path / "p.png")
    assert pixels.shape[0] > 900 and pixels.shape[1] > 1500  # 200 dpi
    assert count(pixels, CT) > 1000 and count(pixels, PET) > 1000 and count(pixels, MR) == count(pixels, ALARM) == 0
    edge = np.concatenate([pixels[:6].reshape(-1, 3), pixels[:, :6].reshape(-1, 3), pixels[:, -6:].reshape(-1, 3)])
    assert (edge == 255).all()  # nothing is cut off


def test_the_same_store_gives_the_same_bytes_and_another_one_other_pixels(tmp_path):
    first = pixels_of(rows_of(), tmp_path / "1.png")
    pixels_of(rows_of(), tmp_path / "2.png")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    other = pixels_of(rows_of(shift=3), tmp_path / "3.png")
    assert other.shape == first.shape and (other != first).any()
    for ending, start in ((".svg", b"<?xml"), (".pdf", b"%PDF")):
        pixels_of_both = []
        for name in "12":
            draw(build_tables(rows_of(), convention("umd")), tmp_path / f"{name}{ending}")
            pixels_of_both.append((tmp_path / f"{name}{ending}").read_bytes())
        assert pixels_of_both[0] == pixels_of_both[1] and pixels_of_both[0].startswith(start)


def test_a_marker_lies_where_its_mean_is(tmp_path):
    columns = []
    for hit in (0, 50, 100):
        row = replace(rows_of(organs=("liver",), modalities=("ct",))[0], tp=hit, fp=100 - hit, fn=100 - hit)
        pixels = pixels_of([row], tmp_path / "p.png")
        below = pixels[pixels.shape[0] // 2 :]  # the legend's marker is above
        blobs, _ = ndimage.label((below == np.array(CT, np.uint8)).all(axis=-1))
        largest = int(np.bincount(blobs[blobs > 0]).argmax())
        columns.append(float(ndimage.center_of_mass(blobs == largest)[1]))
    half = 0.5 / 1.4 * 3.4 * 200  # the axis reaches from -0.2 to 1.2 over 3.4 inches of 200 dots
    assert np.diff(columns) == pytest.approx([half, half], abs=1)


def test_synthetic_data_are_said_in_red(tmp_path):
    plain = pixels_of(rows_of(), tmp_path / "p.png")
    marked = pixels_of(rows_of(synthetic=True), tmp_path / "s.png")
    mixed = [replace(row, synthetic=row.subject == "a") for row in rows_of()]
    mixture = pixels_of(mixed, tmp_path / "m.png")
    assert count(plain, ALARM) == 0 and count(marked, ALARM) > 1000 and count(mixture, ALARM) > count(marked, ALARM)


def test_cohorts_lie_below_each_other_and_mr_has_its_own_colour(tmp_path):
    one = pixels_of(rows_of(), tmp_path / "1.png")
    both = [*rows_of(), *rows_of(modalities=("mr", "pet"), cohort="petmri")]
    two = pixels_of(both, tmp_path / "2.png")
    assert abs(two.shape[0] - 2 * one.shape[0]) <= 2 and two.shape[1] == one.shape[1]
    half = one.shape[0]
    assert count(two[:half], CT) > 1000 and count(two[half:], MR) > 1000 and count(two[half:], CT) == 0


@pytest.mark.parametrize("models", [1, 2, 4, 6, 9])
def test_any_number_of_models_fits(tmp_path, models):
    pixels = pixels_of(rows_of([f"model{i}" for i in range(models)]), tmp_path / "p.png")
    assert (pixels[:, -6:] == 255).all() and pixels.shape[1] < 2600
    per_model = count(pixels, CT) / models
    assert 800 < per_model < 3000


def test_names_are_text_and_not_formulas(tmp_path):
    hostile = "$\\frac{a}{b}$ $\\bad{ ^ _ & % # {} \n\x1b[31m"
    plain = pixels_of(rows_of((hostile,), organs=(hostile, "liver"), cohort=hostile), tmp_path / "p.png")
    assert count(plain, CT) > 100
    lone = pixels_of(rows_of(("$x^2$",), organs=("liver",)), tmp_path / "1.png")
    wide = pixels_of(rows_of(("x2",), organs=("liver",)), tmp_path / "2.png")
    dark = [int((pixels.max(axis=-1) < 80).sum()) for pixels in (lone, wide)]
    assert dark[0] > dark[1]  # the dollars and the caret are drawn


def test_long_names_do_not_run_into_each_other(tmp_path):
    names = [f"a_model_{i}_" + "w" * 150 for i in range(3)]
    organs = ["o" * 200, "liver"]
    pixels = pixels_of(rows_of(names, organs=organs, cohort="c" * 300), tmp_path / "p.png")
    assert (pixels[:, -6:] == 255).all() and (pixels[:, :6] == 255).all()


def test_places_without_a_figure_are_hatched(tmp_path):
    rows = rows_of(("m", "n"), organs=("liver", "brain"))
    without = [row for row in rows if (row.model, row.organ) != ("n", "brain")]
    full, holed = pixels_of(rows, tmp_path / "1.png"), pixels_of(without, tmp_path / "2.png")
    assert full.shape == holed.shape and count(holed, CT) < count(full, CT)
    hatch = [
        int((np.ptp(p, axis=-1) == 0).sum() - count(p, (255, 255, 255)) - count(p, (243,) * 3)) for p in (full, holed)
    ]
    assert hatch[1] > hatch[0]


def test_a_run_is_drawn_beside_its_report(tmp_path):
    with Store(tmp_path / "store.sqlite") as store:
        store.add(rows_of())
    arguments = ["report", str(tmp_path), "--format", "csv", "--picture", str(tmp_path / "new" / "p.png")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0 and result.stdout.startswith("cohort,organ") and "picture in" in result.stderr
    assert images.imread(tmp_path / "new" / "p.png").shape[0] > 500
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["p.png"]
    draw_run(tmp_path, convention("nnunet"), tmp_path / "q.png", "iou")
    assert (tmp_path / "q.png").read_bytes() != (tmp_path / "new" / "p.png").read_bytes()


def test_what_cannot_be_drawn_says_so_before_any_work(tmp_path):
    for name in ("p.jpg", "p", "png"):
        with pytest.raises(OptionError, match=r"not a picture's ending .*\.png, \.svg, \.pdf"):
            draw_run(tmp_path / "no run", convention("umd"), tmp_path / name)
    with pytest.raises(MissingFileError):
        draw_run(tmp_path, convention("umd"), tmp_path / "p.png")
    Store(tmp_path / "store.sqlite").close()
    with pytest.raises(OptionError, match="no results to draw"):
        draw_run(tmp_path, convention("umd"), tmp_path / "p.png")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"p\.png: cannot write.*check the folder"):
        draw(build_tables(rows_of(), convention("umd")), tmp_path / "file" / "p.png")
    many = [row for i in range(90) for row in rows_of(cohort=f"c{i:02d}", organs=ORGANS[:13])]
    with pytest.raises(OptionError, match="inches"):
        draw(build_tables(many, convention("umd")), tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()


def test_matplotlib_is_needed_for_pictures_alone(tmp_path):
    with Store(tmp_path / "store.sqlite") as store:
        store.add(rows_of())
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from umd_engine.cli import main\n"
        "main(sys.argv[1:])"
    )  # fmt: skip
    command = [sys.executable, "-c", code, "report", str(tmp_path)]
    assert "liver" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    asked = subprocess.run([*command, "--picture", "p.png"], capture_output=True, text=True, cwd=tmp_path)
    assert asked.returncode == 1 and "pip install 'umd-engine[report]'" in asked.stderr and not asked.stdout
    check_picture(tmp_path / "p.PNG")
