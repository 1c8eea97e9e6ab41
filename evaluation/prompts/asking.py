"""How a run asks its prompted models, as the command line says it, and what one model gets of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from umd_engine.errors import OptionError
from umd_engine.evaluation.prompts.protocols import (
    NUMPY,
    PromptProtocol,
    find_protocol,
    largest_use,
    replay_protocol,
)
from umd_engine.evaluation.prompts.replay import Replay, read_replay
from umd_engine.models.model import Model, PromptedModel, default_prompt, is_prompted, one_stream

MAX_REPEATS = 2**16


@dataclass(frozen=True, eq=False)
class Asking:
    """How one model is asked.

    Attributes:
        repeats: draws of each organ.
        independent: first clicks are drawn anew in every scan of a subject.
        crops_by_label: the model itself looks at the label.
        one_stream: chance runs on from organ to organ: what one gets depends on those before it.
    """

    protocol: PromptProtocol
    repeats: int
    independent: bool
    replay: Replay | None
    crops_by_label: bool
    one_stream: bool = False

    @cached_property
    def uses_label(self) -> str:
        """What of the label the model is told, in prompts or by its crop."""
        return largest_use([self.protocol.uses_label, *(["crop"] if self.crops_by_label else [])])

    @property
    def needs_label(self) -> bool:
        return self.protocol.needs_label or (self.crops_by_label and self.replay is None)

    @property
    def shares_first_click(self) -> bool:
        return self.protocol.shares_first_click and not self.independent

    @property
    def plan(self) -> Mapping[str, Any]:
        """What of it enters the plan: everything but the number of repeats, which are further rows."""
        return {**asdict(self.protocol), "hash": self.protocol.hash, "independent": self.independent}


@dataclass(frozen=True, eq=False)
class PromptSettings:
    """The options of a run that are about prompts.

    Attributes:
        default: the protocol of models that `of` does not name; None where none was named: each model's own default.
        of: a model's name in results -> its protocol.
        replay: given instead of drawing.
    """

    default: PromptProtocol | None = None
    of: Mapping[str, PromptProtocol] = field(default_factory=dict)
    repeats: int = 1
    independent: bool = False
    replay: Replay | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise OptionError(f"{self.repeats} repeats", where="--repeats", mend=f"1 to {MAX_REPEATS}")

    def asking(self, model: PromptedModel) -> Asking:
        """What a model gets.

        Raises:
            OptionError: the protocol needs a kind of prompt that the model does not take.
        """
        protocol = self._protocol(model)
        if missing := protocol.kinds - model.prompts:
            raise OptionError(
                f"{model.name} takes no {' and no '.join(sorted(missing))} prompts, which '{protocol.name}' gives",
                where="--replay" if self.replay else "--prompt",
                mend=f"it takes {', '.join(sorted(model.prompts)) or 'none'}",
            )
        runs_on = protocol.stream == NUMPY or one_stream(model)
        return Asking(protocol, self.repeats, self.independent, self.replay, bool(model.crops_by_label), runs_on)

    def _protocol(self, model: PromptedModel) -> PromptProtocol:
        if self.replay is not None:
            return replay_protocol(self.replay.sha256, self.replay.kinds)
        return self.of.get(model.name) or self.default or find_protocol(default_prompt(model))

    def check(self, models: Sequence[Model | PromptedModel]) -> None:
        """Refuse options about prompts that no model of the run takes.

        Raises:
            OptionError.
        """
        prompted = {model.name for model in models if is_prompted(model)}
        if others := [name for name in self.of if name not in prompted]:
            raise OptionError(f"{others[0]} takes no prompts", where="--prompt", mend=_known(prompted))
        if (self.default or self.replay) and not prompted:
            raise OptionError("no model of this run takes prompts", where="--replay" if self.replay else "--prompt")


def parse_prompts(
    texts: Sequence[str],
    titles: Collection[str],
    repeats: int | None = None,
    independent: bool = False,
    replay: Path | None = None,
) -> PromptSettings:
    """The settings from `[MODEL=]NAME` texts and the other options.

    Args:
        titles: how the models are named in results.
        repeats: None: one, or as many as the replayed file has.

    Raises:
        OptionError: options that exclude each other, a model that is none, a second protocol for one model.
        UnknownNameError: no such protocol. What `read_replay` raises.
    """
    if replay is not None and (texts or independent):
        raise OptionError("nothing is drawn in a replay", where="--replay", mend="leave out --prompt and --independent")
    default: PromptProtocol | None = None
    named: dict[str, PromptProtocol] = {}
    for text in texts:
        title, equals, name = text.rpartition("=")
        if (equals and title in named) or (not equals and default is not None):
            raise OptionError(f"a second protocol: '{text}'", where="--prompt", mend="name one a model")
        if equals and title not in titles:
            raise OptionError(
                f"'{title}' is no model of this run", where="--prompt", mend=f"models: {', '.join(titles)}"
            )
        if equals:
            named[title] = find_protocol(name)
        else:
            default = find_protocol(name)
    stored = read_replay(replay) if replay is not None else None
    return PromptSettings(default, named, repeats or (stored.repeats if stored else 1), independent, stored)


def _known(titles: Collection[str]) -> str:
    return f"those that do: {', '.join(sorted(titles))}" if titles else "no model of this run does"
