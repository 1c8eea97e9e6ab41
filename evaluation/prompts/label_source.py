"""A source that draws its prompts from the label, by a protocol."""

from __future__ import annotations

from umd_engine.errors import OptionError, PromptError
from umd_engine.evaluation.prompts.drawing import AGAIN, Drawn, Within, click_key, draw_on_scan, draw_on_view
from umd_engine.evaluation.prompts.given import OWN, POINT, SHARED, TEXT, Given, box_of, point_at, words_of
from umd_engine.evaluation.prompts.official_stream import OfficialStream
from umd_engine.evaluation.prompts.protocols import SCAN, Ask, PromptProtocol
from umd_engine.evaluation.prompts.reference import OrganLabel
from umd_engine.evaluation.prompts.source import Place, Source, Views
from umd_engine.kernels.clicks import ClickKey
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import Point, View, world_of

NOTHING_LEFT = "no voxel of the organ is left on the model's grid: no click, an empty mask"


class LabelSource(Source):
    """Draws its prompts from the label, by a protocol.

    Args:
        seed: the run's.
        shared: the subject's first click in mm, where it lies in this scan's organ too.
        stream: the case's, for the official draws.
    """

    def __init__(
        self,
        place: Place,
        protocol: PromptProtocol,
        seed: int,
        shared: Point | None = None,
        stream: OfficialStream | None = None,
    ):
        super().__init__(place)
        self.protocol, self.seed, self.shared, self.stream = protocol, seed, shared, stream
        self._refused = False  # a click lay where the model takes none

    def _draw(self, step: int, mask: Mask | None, view: Views | None) -> tuple[Given, ...] | None:
        if step == len(self.protocol.asks):
            return None
        ask = self.protocol.asks[step]
        given = [*self._text(ask), *self._box(ask)]
        if ask.rule:
            click = self._click(ask.rule, step, mask, view)
            if click is None:
                self._check_start(ask.rule)
                return None
            given.append(click)
        return tuple(given)

    def _text(self, ask: Ask) -> list[Given]:
        return [Given(TEXT, OWN, text=words_of(self.organ))] if ask.text else []

    def _box(self, ask: Ask) -> list[Given]:
        if not ask.box:
            return []
        label = self._reference.mask
        return [box_of(label.low, label.high, self.place.grid.affine, OWN)]

    def _click(self, rule: str, step: int, mask: Mask | None, view: Views | None) -> Given | None:
        if self.protocol.grid != SCAN:
            return self._on_view(rule, step, self._view(view))
        if step == 0 and self.shared is not None:
            click: Given | None = point_at(self.shared, self.place.grid.affine, SHARED)
        else:
            click = self._on_scan(rule, step, mask)
        if click is None or view is None:
            return click
        assert click.world is not None
        shown = view()
        self._refused = shown.ends and not shown.holds(click.world)
        return self._on_scan(rule, step, mask, shown) if self._refused else click

    def _on_scan(self, rule: str, step: int, mask: Mask | None, ends: View | None = None) -> Given | None:
        """A click on the scan's grid; within a view it is drawn again, by a stream of its own."""
        grid = self.place.grid
        key = self._key(step, *([] if ends is None else [AGAIN]))
        within = None if ends is None else Within.of(ends, grid.affine)
        drawn = draw_on_scan(self._reference, mask, rule, key, grid.spacing, within)
        if drawn is None:
            return None
        return Given(POINT, OWN, drawn.positive, drawn.voxel, world_of(drawn.voxel, grid.affine))

    def _on_view(self, rule: str, step: int, shown: View) -> Given | None:
        drawn = self._official(step, shown) if self.stream else draw_on_view(shown, rule, self._key(step))
        if drawn is None:
            return None
        return point_at(world_of(drawn.voxel, shown.affine), self.place.grid.affine, OWN, drawn.positive)

    def _key(self, step: int, *more: str) -> ClickKey:
        row = self.place.row
        return click_key(self.seed, (row.cohort, row.subject, row.scan_id, self.organ, *more), step, self.place.repeat)

    def _official(self, step: int, shown: View) -> Drawn | None:
        assert self.stream is not None
        return self.stream.draw(self.organ, step, shown)

    def _view(self, view: Views | None) -> View:
        if view is None:
            raise OptionError(
                f"protocol {self.protocol.name} draws on a grid of the model's own, and this model has none",
                where="--prompt",
                mend="choose a protocol that draws on the scan's grid, e.g. paper-1pt or random-5",
            )
        return view()

    def _check_start(self, rule: str) -> None:
        """Without a click: the end where steps were made, an answer or an error where there was nothing to click on."""
        if self.steps:
            return
        if self.protocol.grid == SCAN and not self._refused:
            raise PromptError(
                f"rule {rule} finds no voxel to click on in {self.organ}",
                where=self.place.row.label,
                mend="it leaves out what is too thin; choose another protocol, e.g. paper-1pt",
            )
        empty = Mask.empty(self.place.grid.shape, self._reference.mask.voxels.device)
        self._keep(empty, NOTHING_LEFT)

    @property
    def _reference(self) -> OrganLabel:
        assert self.place.label is not None, f"{self.organ}: no label to draw from"
        return self.place.label
