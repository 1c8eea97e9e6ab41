"""The chart in the terminal: true to the figures, no wider than the terminal, coloured only where asked for."""

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from umd_engine.evaluation import text_tables
from umd_engine.evaluation.chart import chart
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.report import render
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.tables import build_tables
from umd_engine.evaluation.text_tables import output_colours, printed

BAR = "█▉▊▋▌▍▎▏"


def rows_of(models=("m",), organs=("liver",), modalities=("ct", "pet"), tp=(8, 2)):
    """Dice tp / 10 on each modality."""
    return [
        Row(
            plan="p", cohort="c", subject="a", scan_id=f"a_{modality}", modality=modality, model=model, organ=organ,
            status="ok", tp=hit, fp=10 - hit, fn=10 - hit,
        )
        for model in models for organ in organs for modality, hit in zip(modalities, tp, strict=True)
    ]  # fmt: skip


def drawn(rows, width=100):
    (table,) = build_tables(rows, convention("umd"))
    return printed(chart(table, width), width)


def test_bars_are_as_long_as_the_means():
    lines = drawn(rows_of()).splitlines()[3:]
    assert [line.split() for line in lines[:2]] == [
        ["liver", "ct", "█" * 19 + "▎", "0.80", "+0.60"],  # 0.8 * 24 = 19.2
        ["pet", "█" * 4 + "▊", "0.20"],
    ]
    assert [line.split()[0] for line in lines[2:]] == ["Avg", "pet"]


def test_an_empty_bar_a_full_one_and_none_at_all():
    text = drawn(rows_of(tp=(10, 0)))
    assert "█" * 24 + " 1.00 +1.00" in text and re.search(r"pet +0\.00$", text, re.M)
    missing = [*rows_of(), replace(rows_of()[1], organ="colon")]
    colon = drawn(missing).splitlines()[5:7]
    assert colon[0].split() == ["colon", "ct", "-"] and colon[1].split()[-1] == "0.20"
    gain = drawn(rows_of(tp=(2, 8)))
    assert "0.20 -0.60" in gain


@pytest.mark.parametrize("width", [40, 60, 100, 300])
def test_it_fits_and_every_model_has_all_its_lines(monkeypatch, width):
    models = [f"a_model_with_a_long_name_{i:02d}" for i in range(9)]
    organs = ("a_mask_whose_organ_has_a_very_long_name_of_55_characters", "liver", "brain")
    rows = rows_of(models, organs, ("ct", "mr", "pet"), (9, 7, 5))
    text = drawn(rows, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert text.count("0.90 +0.40") == text.count("0.70 +0.20") == 9 * 4 and len(re.findall(r"0\.50", text)) == 9 * 4
    assert "…" not in text
    monkeypatch.setenv("COLUMNS", str(width))
    assert text.strip() in render(build_tables(rows, convention("umd")), "text")


def test_one_modality_has_no_chart_and_other_forms_have_none():
    (table,) = build_tables(rows_of(modalities=("ct",), tp=(8,)), convention("umd"))
    assert chart(table, 100) == []
    paired = build_tables(rows_of(), convention("umd"))
    assert not any(char in render(paired, form) for form in ("markdown", "csv", "json") for char in BAR)


class Terminal:
    @staticmethod
    def isatty():
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    assert not output_colours() and "\x1b" not in drawn(rows_of())
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(text_tables.sys, "stdout", Terminal)
    assert output_colours()
    coloured, plain = drawn(rows_of()), re.compile(r"\x1b\[[0-9;]*m")
    assert "\x1b[94m█" in coloured and "\x1b[33m█" in coloured
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as setting:
            setting.setenv(name, value)
            assert plain.sub("", coloured).split() == drawn(rows_of()).split()


def test_text_from_data_is_not_interpreted():
    hostile = "[red]x[/red]\x1b[31m$a^b$"
    text = drawn(rows_of((hostile,), (hostile,)))
    assert "[red]x[/red]" in text and "\x1b" not in text and "$a^b$" in text
