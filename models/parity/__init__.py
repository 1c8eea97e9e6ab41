"""Holds a model against stored results of its official code."""
