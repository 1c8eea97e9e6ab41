"""nnInteractive: interactive 3D segmentation (Isensee et al. 2025, nninteractive 2.6.0)."""
