"""umd-engine: re-evaluates 3D medical segmentation foundation models at the speed of the hardware."""

__version__ = "0.1.0"
