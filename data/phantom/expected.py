"""What a phantom's organs look like: the bounds that its subjects stay in."""

from __future__ import annotations

# mL in an adult; a subject's are this times its body's scale, and the bladder's times how full it is
REFERENCE_ML: dict[str, float] = {
    "liver": 1700,
    "kidney_left": 150,
    "kidney_right": 150,
    "brain": 1400,
    "heart": 800,
    "spleen": 145,
    "aorta": 200,
    "lung": 4000,
    "colon": 650,
    "urinary_bladder": 200,
    "pancreas": 135,
    "esophagus": 40,
    "stomach": 400,
}
TOLERANCE = 0.3

# Mean of an organ in one scan, lowest and highest; contents, walls and partial volume counted. CT in HU, with and
# without contrast; PET in SUV; MR in units of its own, which differ from scan to scan.
MEANS: dict[str, dict[str, tuple[float, float]]] = {
    "ct": {
        "liver": (40, 125),
        "kidney_left": (15, 180),
        "kidney_right": (15, 180),
        "brain": (30, 45),
        "heart": (25, 145),
        "spleen": (30, 130),
        "aorta": (10, 155),
        "lung": (-790, -710),
        "colon": (-150, 40),
        "urinary_bladder": (0, 20),
        "pancreas": (10, 105),
        "esophagus": (-20, 60),
        "stomach": (-110, 20),
    },
    "pet": {
        "liver": (1.5, 3.0),
        "kidney_left": (2.0, 4.6),
        "kidney_right": (2.0, 4.6),
        "brain": (5.5, 10.5),
        "heart": (1.2, 6.0),
        "spleen": (1.3, 2.6),
        "aorta": (1.0, 2.2),
        "lung": (0.3, 0.8),
        "colon": (0.6, 2.0),
        "urinary_bladder": (6.0, 40.0),
        "pancreas": (1.2, 2.5),
        "esophagus": (1.0, 2.4),
        "stomach": (0.8, 1.9),
    },
    "mr": {
        "liver": (120, 1300),
        "kidney_left": (100, 1100),
        "kidney_right": (100, 1100),
        "brain": (90, 1100),
        "heart": (70, 800),
        "spleen": (80, 900),
        "aorta": (45, 550),
        "lung": (8, 160),
        "colon": (90, 1100),
        "urinary_bladder": (35, 600),
        "pancreas": (120, 1350),
        "esophagus": (80, 1100),
        "stomach": (70, 850),
    },
}
