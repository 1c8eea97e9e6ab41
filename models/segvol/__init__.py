"""SegVol: 3D segmentation from text, points or a box (BAAI, MIT licence; arXiv 2311.13385)."""
