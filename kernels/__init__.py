"""Compiled operations on volumes, one folder each; see docs/kernels.md."""
