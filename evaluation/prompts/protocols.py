"""Prompt protocols: frozen values with a name and a hash, which go into every row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from umd_engine.errors import OptionError, UnknownNameError

REPLAY = "replay"
SCAN, MODEL = "scan", "model"
PHILOX, NUMPY = "philox", "numpy"
MAX_CLICKS = 100
LABEL_USES = ("none", "click", "box", "crop")  # what of the label a model is told, less to more


@dataclass(frozen=True)
class Ask:
    """What one step gives; all of it together.

    Attributes:
        rule: of `kernels.clicks.RULES`, by which a click is drawn from the error so far; empty: no click.
    """

    text: bool = False
    box: bool = False
    rule: str = ""

    @property
    def kinds(self) -> frozenset[str]:
        given = {"text": self.text, "box": self.box, "point": bool(self.rule)}
        return frozenset(kind for kind, wanted in given.items() if wanted)


@dataclass(frozen=True)
class PromptProtocol:
    """What a model is asked with, step by step.

    Attributes:
        asks: one a step.
        grid: where clicks are drawn: the scan's grid or the model's own, which it shows through a view.
        stream: Philox draws keyed by scan, organ, click and repeat; or NumPy's legacy stream, one a case.
        replay: SHA-256 of the file whose prompts are given instead, with their `kinds`.
        version: of the meaning of all this.
    """

    name: str
    asks: tuple[Ask, ...]
    grid: str = SCAN
    stream: str = PHILOX
    replay: str = ""
    replayed: tuple[str, ...] = ()
    version: int = 1

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of prompts that a model has to take."""
        return frozenset(self.replayed).union(*(ask.kinds for ask in self.asks))

    @property
    def uses_label(self) -> str:
        """What the prompts tell of the label: of `LABEL_USES`. Replayed ones count as drawn from it."""
        return "box" if "box" in self.kinds else "click" if "point" in self.kinds else "none"

    @property
    def needs_label(self) -> bool:
        return not self.replay and self.uses_label != "none"

    @property
    def starts_with_box(self) -> bool:
        """Its first step is a box alone: no click yet."""
        return len(self.asks) > 1 and not self.asks[0].rule

    @property
    def shares_first_click(self) -> bool:
        """Its first click can be the same physical point in every scan of a subject."""
        return bool(self.asks) and bool(self.asks[0].rule) and self.grid == SCAN

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the JSON of all fields."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Family:
    """Protocols of 1 to `MAX_CLICKS` clicks; `alone`: the name without a number is one click."""

    rule: str
    grid: str = SCAN
    stream: str = PHILOX
    alone: bool = False


FAMILIES: Mapping[str, _Family] = {
    "random": _Family("random"),
    "cvpr25": _Family("cvpr25"),
    "ritm": _Family("ritm"),
    "vista3d": _Family("vista3d", alone=True),
    "sam-med3d": _Family("sam_med3d", MODEL, alone=True),
    "sam-med3d-official": _Family("sam_med3d", MODEL, NUMPY, alone=True),
}
FIXED: Mapping[str, tuple[Ask, ...]] = {
    "paper-1pt": (Ask(rule="random"),),
    "center-1pt": (Ask(rule="deepest"),),
    "box": (Ask(box=True),),
    "text": (Ask(text=True),),
    "text+point": (Ask(text=True, rule="random"),),
    "text+box": (Ask(text=True, box=True),),
}
BOX_FIRST = "box+"


def find_protocol(name: str) -> PromptProtocol:
    """The protocol of that name, e.g. "paper-1pt", "ritm-5", "box+cvpr25-5".

    Raises:
        UnknownNameError: suggests the nearest names. OptionError: a number of clicks out of range.
    """
    if name in FIXED:
        return PromptProtocol(name, FIXED[name])
    prefix = BOX_FIRST if name.startswith(BOX_FIRST) else ""
    stem, clicks = _split(name.removeprefix(prefix))
    if stem not in FAMILIES or (clicks is None and not FAMILIES[stem].alone):
        raise UnknownNameError("prompt protocol", name, known_names())
    family, count = FAMILIES[stem], 1 if clicks is None else clicks
    if not 1 <= count <= MAX_CLICKS:
        raise OptionError(f"{count} clicks", where=name, mend=f"1 to {MAX_CLICKS} clicks")
    asks = (Ask(box=True),) * bool(prefix) + (Ask(rule=family.rule),) * count
    tail = "" if family.alone and count == 1 else f"-{count}"
    return PromptProtocol(f"{prefix}{stem}{tail}", asks, family.grid, family.stream)


def replay_protocol(sha256: str, kinds: frozenset[str]) -> PromptProtocol:
    """Stored prompts, given again."""
    return PromptProtocol(REPLAY, (), replay=sha256, replayed=tuple(sorted(kinds)))


def known_names() -> list[str]:
    """Every fixed name and every family with 5 clicks: what suggestions are made of."""
    families = [name if family.alone else f"{name}-5" for name, family in FAMILIES.items()]
    several = [f"{name}-5" for name, family in FAMILIES.items() if family.alone]
    boxes = [f"{BOX_FIRST}{name}-5" for name in FAMILIES]
    return [*FIXED, *families, *several, *boxes]


def _split(name: str) -> tuple[str, int | None]:
    stem, dash, number = name.rpartition("-")
    if dash and number.isascii() and number.isdigit():
        return stem, int(number[:6])
    return name, None


def largest_use(uses: Iterable[str]) -> str:
    """The one that tells most of the label; "none" of none."""
    return max(uses, key=LABEL_USES.index, default=LABEL_USES[0])
