"""The tables of a run as one picture: for each organ and model the way from the structural image to PET."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from umd_engine.data.atomic import atomic_file
from umd_engine.errors import DataError, OptionError
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.metrics import METRICS
from umd_engine.evaluation.report import stored_rows
from umd_engine.evaluation.tables import Table, build_tables

DPI = 200
MOST_INCHES = 65_000 / DPI  # a PNG's side has less than 65,536 pixels
# Nothing of the moment of drawing: the same store gives the same bytes.
METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": "umd-engine"},
    ".svg": {"Creator": "umd-engine", "Date": None},
    ".pdf": {"Creator": "umd-engine", "Producer": None, "CreationDate": None},
}
STYLE: dict[Any, object] = {
    "text.parse_math": False,  # names of models and organs are text, also between dollar signs
    "font.family": "DejaVu Sans",
    "hatch.linewidth": 0.4,
    "pdf.fonttype": 42,
    "svg.hashsalt": "umd-engine",
}


def check_picture(path: Path) -> None:
    """That a picture can be made at all, before any work.

    Raises:
        OptionError: an ending other than .png, .svg and .pdf; matplotlib is not installed.
    """
    if path.suffix.lower() not in METADATA:
        raise OptionError("not a picture's ending", where=path, mend=f"name a {', '.join(METADATA)} file")
    if find_spec("matplotlib") is None:
        raise OptionError("pictures need matplotlib", where="--picture", mend="pip install 'umd-engine[report]'")


def draw_run(run: Path, convention: Convention, path: Path, metric: str = "dice") -> None:
    """Draw a run's store, which is not written to.

    Raises:
        OptionError: as `draw`. DataError: the file cannot be written. MissingFileError, StoreError: no store.
    """
    check_picture(path)
    draw(build_tables(stored_rows(run), convention, metric), path)


def draw(tables: Sequence[Table], path: Path) -> None:
    """Write the tables to a .png (200 dpi), .svg or .pdf file: the cohorts below each other, a panel a model.

    The file appears whole or not at all; its bytes depend on the tables alone. No display is needed.

    Raises:
        OptionError: as `check_picture`; no table, a metric that does not lie in 0 to 1, or more than a picture holds.
        DataError: it cannot be written.
    """
    check_picture(path)
    if tables and not METRICS[tables[0].metric].bounded:
        fault = f"a picture goes from 0 to 1, and {METRICS[tables[0].metric].title} does not"
        raise OptionError(fault, where="--picture", mend="choose --metric dice, iou or nsd")
    if not tables:
        raise OptionError("there are no results to draw", where="--picture", mend="evaluate first")
    import matplotlib
    from matplotlib.figure import Figure

    from umd_engine.evaluation.panels import Block, height_of, width_of
    from umd_engine.evaluation.ruler import Ruler

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nobody's own settings
        matplotlib.rcParams.update(STYLE)
        ruler = Ruler()
        width = max(width_of(table, ruler) for table in tables)
        heights = [height_of(table, width, ruler) for table in tables]
        _check_size(width, sum(heights), path)
        figure = Figure(figsize=(width, sum(heights)), dpi=DPI, facecolor="white")
        top = sum(heights)
        for table, height in zip(tables, heights, strict=True):
            Block(figure, ruler, width, top).draw(table)
            top -= height
        _save(figure, path)


def _check_size(width: float, height: float, path: Path) -> None:
    if max(width, height) > MOST_INCHES:
        fault = f"it would be {width:.0f} x {height:.0f} inches; {MOST_INCHES:.0f} are the most"
        raise OptionError(fault, where=path, mend="evaluate fewer cohorts, models or organs in one run folder")


def _save(figure: Any, path: Path) -> None:
    ending = path.suffix.lower()
    try:
        with atomic_file(path) as file:
            figure.savefig(file, format=ending[1:], dpi=DPI, metadata=METADATA[ending])
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=path, mend="check the folder and its space") from None
