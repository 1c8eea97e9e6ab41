"""The catalogue as rows and as a table for the documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umd_engine.models.catalog import CATALOG, Entry
from umd_engine.models.catalog.folder import found_checkpoint, model_folder, places

UNKNOWN = "size unknown"


def describe(known: Entry) -> dict[str, Any]:
    """Everything the catalogue says of a model, and whether its checkpoint is found; JSON-able."""
    found = found_checkpoint(known)
    return {
        "model": known.name,
        "summary": known.summary,
        "needs": known.needs,
        "prompts": list(known.prompts),
        "patch": known.patch,
        "spacing": known.spacing,
        "parameters": sum(known.parameters.values()) or None,
        "parts": dict(known.parameters),
        "published": _published(known),
        "otherwise": None if known.published else known.otherwise,
        "verified": known.verified,
        "licence": {"code": known.code_licence, "weights": known.weights_licence},
        "options": known.defaults,
        "folder": str(model_folder(known)),
        "looked_for": [str(place / known.checkpoint.marker) for place in places(known)],
        "checkpoint": None if found is None else str(found),
    }


def describe_all() -> list[dict[str, Any]]:
    return [describe(known) for known in CATALOG.values()]


def size_of(parameters: int | None, patch: str) -> str:
    """A number of parameters in millions, for people; unknown, what decides it is what decides the patch."""
    return patch if parameters is None else f"{parameters / 1e6:.2f} M"


def _published(known: Entry) -> Mapping[str, Any] | None:
    if known.published is None:
        return None
    files = [{"file": file.pattern, "size": file.size or None} for file in known.published.files]
    return {"repository": known.published.repository, "page": known.published.page, "files": files}


def markdown_table() -> str:
    """The table of docs/models.md."""
    head = ("model", "prompts", "patch", "spacing", "parameters", "checkpoint", "published by its authors", "licence")
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for known in CATALOG.values():
        cells = (
            f"`{known.name}`",
            ", ".join(known.prompts) or "none",
            known.patch,
            known.spacing,
            size_of(sum(known.parameters.values()) or None, known.patch),
            known.needs,
            published_text(_published(known), known.otherwise),
            f"code {known.code_licence}; weights {known.weights_licence}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verified_table() -> str:
    """The second table of docs/models.md."""
    lines = ["| model | verified |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{known.name}` | {known.verified} |" for known in CATALOG.values())])


def published_text(published: Mapping[str, Any] | None, otherwise: str) -> str:
    """Where and what, of the `published` and `otherwise` of a row."""
    if published is None:
        return otherwise
    files = ", ".join(f"{file['file']} ({file['size'] or UNKNOWN})" for file in published["files"])
    return f"{published['page']}: {files}"
