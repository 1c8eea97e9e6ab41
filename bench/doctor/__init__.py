"""`umd-engine doctor`: what is installed, and what of it works, by trying it."""
