"""Layouts of data sets that a manifest can be made of: a list you can read, one module a layout."""

from __future__ import annotations

from umd_engine.data.layouts.nnunet import import_nnunet

LAYOUTS = {
    "nnunet": import_nnunet,
}
