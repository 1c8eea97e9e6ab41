"""Trains the demo's two networks on the synthetic phantom.

    python -m umd_engine.bench.demo.training ct|pet --out FOLDER

The result is a trained-model folder as nnU-Net v2 writes it, with the log of its training in `training.json`. It is a
reference for the demo's synthetic scans and knows nothing of patients.
"""
