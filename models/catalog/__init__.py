"""The models, a list you can read: what each takes, where its weights are published, and how it is asked for."""

from umd_engine.models.catalog.entries import CATALOG, entry
from umd_engine.models.catalog.facts import Entry, Implementation
from umd_engine.models.catalog.options import parse_options
from umd_engine.models.catalog.request import Request

__all__ = ["CATALOG", "Entry", "Implementation", "Request", "entry", "parse_options"]
