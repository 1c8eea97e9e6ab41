"""The published tables of the UMD study, and a run beside them (docs/umd-paper.md)."""
