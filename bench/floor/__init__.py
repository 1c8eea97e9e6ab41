"""The bench's floor: entries in, a report with a version and a machine out; one rule of repetition for every bench."""

from umd_engine.bench.floor.entry import Entry
from umd_engine.bench.floor.promise import Promise

__all__ = ["Entry", "Promise"]
