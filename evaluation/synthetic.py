"""What outputs say of computer-made scans, so that nobody takes them for patients."""

from __future__ import annotations

MARK = "SYNTHETIC DATA"
SHORT = "synthetic"
PHANTOMS = "computer-made phantoms, no patients"


def warning(synthetic: int, scans: int, outputs: str = "figures", of: str = "scans") -> str:
    """The line that stands above everything else; empty where no scan is synthetic.

    Args:
        synthetic: how many of `scans` are.
        outputs: what is shown below: "figures", "masks".
        of: what `scans` counts.
    """
    if not synthetic:
        return ""
    which = PHANTOMS if synthetic == scans else f"{synthetic} of {scans} {of} are synthetic ({PHANTOMS})"
    subject = f"These {outputs}" if synthetic == scans else f"{outputs.capitalize()} with them"
    return f"{MARK}: {which}. {subject} say nothing about how a model does on people."


def marked(scan: str, synthetic: bool) -> str:
    """The name of a scan in a sentence."""
    return f"{scan} ({SHORT})" if synthetic else scan
