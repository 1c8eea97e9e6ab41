"""VISTA3D: 13 organs or up to 117 classes by id in one pass, or one object from points (He et al. 2024, MONAI 1.6)."""
