"""What a run would cost, without running it: `umd-engine plan`."""
