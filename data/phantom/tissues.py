"""What the phantom is made of, and how each tissue looks in CT, FDG PET and T1-weighted MR."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """A tissue's code in the painted volume and its mean signal.

    Attributes:
        hu, texture: mean and spatial SD in HU, the scanner's noise not counted.
        suv: FDG uptake an hour after injection.
        mr: T1-weighted in-phase gradient echo, arbitrary units.
        organ: of the label set umd13; empty for what no organ's label covers.
    """

    code: int
    name: str
    hu: float
    texture: float
    suv: float
    mr: float
    organ: str = ""


# name, HU, texture, SUV, MR, organ. Means as radiology textbooks give them for unenhanced CT at 120 kV and for
# FDG in a fasting adult; a subject's own are drawn around them (subject.py).
_TABLE: tuple[tuple[str, float, float, float, float, str], ...] = (
    ("AIR", -1000, 0, 0.0, 3, ""),
    ("SKIN", 10, 8, 0.4, 350, ""),
    ("FAT", -102, 7, 0.25, 900, ""),
    ("MUSCLE", 54, 7, 0.7, 330, ""),
    ("DIAPHRAGM", 50, 5, 0.9, 320, ""),
    ("CAVITY", -95, 10, 0.35, 840, ""),  # visceral fat
    ("BONE", 780, 110, 0.7, 60, ""),
    ("MARROW", 190, 45, 1.3, 560, ""),
    ("YELLOW_MARROW", -30, 30, 0.4, 820, ""),
    ("DISC", 80, 8, 0.6, 280, ""),
    ("CARTILAGE", 105, 15, 0.6, 260, ""),
    ("TEETH", 1700, 150, 0.3, 20, ""),
    ("CORD", 34, 4, 1.7, 330, ""),
    ("CSF", 6, 3, 0.4, 110, ""),
    ("EYE", 12, 3, 0.9, 130, ""),
    ("AIRWAY", -985, 5, 0.2, 8, ""),
    ("GLAND", 35, 12, 0.9, 430, ""),
    ("THYROID", 105, 8, 1.4, 350, ""),
    ("VEIN", 41, 4, 1.6, 190, ""),
    ("VESSEL", 42, 4, 1.7, 180, ""),
    ("BOWEL", 38, 8, 1.3, 330, ""),
    ("BOWEL_CONTENT", 12, 14, 1.0, 240, ""),
    ("BOWEL_GAS", -960, 20, 0.3, 10, ""),
    ("GALLBLADDER", 8, 3, 0.4, 200, ""),
    ("PELVIC_ORGAN", 48, 6, 1.4, 330, ""),
    ("SINUS_FAT", -80, 12, 0.6, 760, ""),
    ("LESION_NODE", 46, 6, 8.0, 320, ""),
    ("LESION_BONE", 420, 60, 9.0, 260, ""),
    ("LIVER", 57, 6, 2.2, 450, "liver"),
    ("LIVER_VESSEL", 44, 4, 1.9, 330, "liver"),
    ("LESION_LIVER", 38, 6, 7.5, 300, "liver"),
    ("KIDNEY_LEFT", 34, 5, 3.0, 340, "kidney_left"),
    ("PELVIS_LEFT", 12, 4, 14.0, 170, "kidney_left"),  # urine on its way out
    ("KIDNEY_RIGHT", 34, 5, 3.0, 340, "kidney_right"),
    ("PELVIS_RIGHT", 12, 4, 14.0, 170, "kidney_right"),
    ("GREY_MATTER", 38, 3, 10.0, 330, "brain"),
    ("WHITE_MATTER", 29, 3, 4.2, 430, "brain"),
    ("VENTRICLE", 8, 3, 1.2, 110, "brain"),
    ("MYOCARDIUM", 46, 5, 4.0, 330, "heart"),
    ("HEART_WALL", 44, 5, 2.0, 320, "heart"),
    ("HEART_BLOOD", 41, 4, 1.7, 210, "heart"),
    ("SPLEEN", 49, 5, 1.9, 300, "spleen"),
    ("AORTA", 42, 4, 1.7, 150, "aorta"),
    ("LUNG", -840, 28, 0.45, 22, "lung"),
    ("LUNG_VESSEL", 10, 15, 1.0, 90, "lung"),
    ("LESION_LUNG", 35, 8, 8.0, 250, "lung"),
    ("COLON", 40, 8, 1.5, 320, "colon"),
    ("COLON_CONTENT", 10, 75, 0.9, 420, "colon"),
    ("COLON_GAS", -950, 25, 0.4, 10, "colon"),
    ("BLADDER", 40, 4, 3.0, 320, "urinary_bladder"),
    ("URINE", 5, 3, 22.0, 120, "urinary_bladder"),
    ("PANCREAS", 38, 10, 1.8, 480, "pancreas"),
    ("ESOPHAGUS", 40, 6, 1.9, 320, "esophagus"),
    ("STOMACH", 42, 6, 2.1, 330, "stomach"),
    ("STOMACH_CONTENT", 18, 16, 0.8, 260, "stomach"),
    ("STOMACH_GAS", -960, 15, 0.5, 10, "stomach"),
)

TISSUES: dict[str, Tissue] = {row[0]: Tissue(code, *row) for code, row in enumerate(_TABLE)}
