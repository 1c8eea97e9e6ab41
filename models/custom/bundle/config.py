"""The values of a bundle's configuration: literals, references, and the few expressions that are understood."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umd_engine.errors import CheckpointError, MissingFileError, UnsupportedModelError
from umd_engine.models.custom.reading import parse_yaml

REFERENCE = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*(?:#[A-Za-z0-9_]+)*)")
DEEPEST = 20  # references that lead to references
MOST = 1_000_000  # values and characters of texts, each as often as it is referred to
MEND = "describe it in a my.yaml instead (network: {format: bundle, file: configs/inference.json}); docs/custom.md"


class Config:
    """A bundle's configuration file.

    Args:
        folder: the bundle. name: of the file in its `configs`, without its ending.

    Raises:
        MissingFileError: no such file. CheckpointError: it is no JSON or YAML.
    """

    def __init__(self, folder: Path, name: str = "inference"):
        self.folder = folder
        self.path = next((p for e in ("json", "yaml") if (p := folder / "configs" / f"{name}.{e}").is_file()), None)
        if self.path is None:
            raise MissingFileError(
                "no such file", where=folder / "configs" / f"{name}.json", mend="give a MONAI bundle's folder"
            )
        self.content = read(self.path)
        self._followed = 0

    def get(self, key: str, default: Any = None) -> Any:
        return self.value(self.content[key]) if key in self.content else default

    def value(self, given: Any, depth: int = 0) -> Any:
        """A value with its references followed, in lists and dictionaries too.

        Understood: `@key`, `@key#part`, and after `$` references, literals, lists of them, `+`, and
        `A if B else C`. Anything else is refused, not run.

        Raises:
            UnsupportedModelError: an expression or a reference that is not understood.
        """
        if depth > DEEPEST:
            raise self.refused(f"references lead to references {DEEPEST} times")
        self._followed += len(given) if isinstance(given, str) else 1
        if self._followed > MOST:
            raise self.refused("references that multiply")
        if isinstance(given, Mapping):
            return {key: self.value(inner, depth + 1) for key, inner in given.items()}
        if isinstance(given, list):
            return [self.value(inner, depth + 1) for inner in given]
        if not isinstance(given, str):
            return given
        if given.startswith("$"):
            return self._expression(given, depth)
        if given.startswith("%"):
            raise self.refused(f"a macro that reads another file: '{given}'")
        if found := REFERENCE.fullmatch(given):
            return self._reference(found[1], depth)
        return given

    def refused(self, what: str) -> UnsupportedModelError:
        return UnsupportedModelError(f"not the standard pattern: {what}", where=self.path, mend=MEND)

    def _reference(self, name: str, depth: int) -> Any:
        if name == "bundle_root":
            return "."  # whatever the file says: the folder that was given
        found: Any = self.content
        for step in name.split("#"):
            if isinstance(found, str):
                found = self.value(found, depth + 1)
            try:
                found = found[int(step)] if isinstance(found, list) else found[step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise self.refused(f"'@{name}' refers to nothing") from None
        return self.value(found, depth + 1)

    def _expression(self, text: str, depth: int) -> Any:
        names: list[str] = []

        def number(found: re.Match[str]) -> str:
            names.append(found[1])
            return f"_reference_{len(names) - 1}"

        plain = REFERENCE.sub(number, text[1:])
        try:
            return self._walk(ast.parse(plain.strip(), mode="eval").body, names, text, depth)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self.refused(f"the expression '{text[:80]}'") from None

    def _walk(self, node: ast.expr, names: list[str], text: str, depth: int) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple):
            return [self._walk(inner, names, text, depth) for inner in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self._walk(node.operand, names, text, depth)
            if isinstance(inner, int | float):
                return -inner
        if isinstance(node, ast.Name) and re.fullmatch(r"_reference_\d+", node.id):
            return self._reference(names[int(node.id.rsplit("_", 1)[1])], depth)
        if isinstance(node, ast.IfExp):
            chosen = node.body if self._walk(node.test, names, text, depth) else node.orelse
            return self._walk(chosen, names, text, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = (self._walk(side, names, text, depth) for side in (node.left, node.right))
            if isinstance(left, str) and isinstance(right, str):
                return left + right
        raise self.refused(f"the expression '{text[:80]}'")


def read(path: Path) -> dict[str, Any]:
    """A JSON or YAML file with a dictionary in it."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else parse_yaml(text)
    except FileNotFoundError:
        raise MissingFileError("no such file", where=path, mend="give a MONAI bundle's folder") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"not {path.suffix[1:].upper()}: {error}", where=path, mend="copy the file again"
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError("holds no dictionary", where=path, mend="copy the file again")
    return content
