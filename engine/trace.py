"""What a run did when: spans of its stages and of their parts, a line a thread, to look at and to tell how long a
batch was in flight.

The file is in Chrome's trace format, which https://ui.perfetto.dev opens; its times are microseconds.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from umd_engine.engine.fault import strike
from umd_engine.kernels.parts import PARTS, watched

STAGES = ("read", "prepare", "forward", "collect", "program", "store")


@dataclass(frozen=True)
class Span:
    """One stage of one scan or batch, or a part of it, in seconds of `time.perf_counter`.

    Attributes:
        cpu: seconds that all processors worked for this process meanwhile, for this stage or another.
        within: of a part, the stage or part that it belongs to.
    """

    stage: str
    name: str
    thread: str
    start: float
    end: float
    cpu: float = 0.0
    within: str = ""


class Trace:
    """Spans of all threads of a run; what is open now is counted a stage.

    Args:
        keep: keep finished spans; without it only `open` is known, and parts are not looked at.
        settle: waits for the device, at the end of every stage and part, so that what it computes for one does not
            count for another: stages then overlap less.

    Attributes:
        spans: of stages. parts: of their parts.
    """

    def __init__(self, keep: bool = False, settle: Callable[[], None] = lambda: None):
        self.keep, self._settle = keep, settle
        self.spans: list[Span] = []
        self.parts: list[Span] = []
        self.open: Counter[str] = Counter()
        self._opened: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def span(self, stage: str, name: str = "") -> Iterator[None]:
        """Note the block as a span."""
        assert stage in STAGES, stage
        with self._lock:
            self.open[stage] += 1
            self._opened[stage] += 1
            strike(stage, self._opened[stage])
        thread = threading.current_thread().name
        start, worked = time.perf_counter(), time.process_time()
        try:
            with watched(partial(self._part, stage, thread)) if self.keep else nullcontext():
                yield
        finally:
            self._settle()
            end, cpu = time.perf_counter(), time.process_time() - worked
            with self._lock:
                self.open[stage] -= 1
                if self.keep:
                    self.spans.append(Span(stage, name, thread, start, end, cpu))

    @contextmanager
    def _part(self, within: str, thread: str, part: str) -> Iterator[None]:
        """Note a part on the line of the thread whose stage it belongs to, whichever thread it runs in."""
        assert part in PARTS, part
        start = time.perf_counter()
        try:
            with watched(partial(self._part, part, thread)):
                yield
        finally:
            self._settle()
            self.parts.append(Span(part, "", thread, start, time.perf_counter(), within=within))

    @property
    def seconds(self) -> dict[str, float]:
        """Of every stage and part that there was, without those of the parts within it; threads add up."""
        found: dict[str, float] = defaultdict(float)
        for span in (*self.spans, *self.parts):
            found[span.stage] += span.end - span.start
            if span.within:
                found[span.within] -= span.end - span.start
        return dict(found)

    def write(self, path: Path) -> None:
        """Write the finished spans for Perfetto."""
        spans = (*self.spans, *self.parts)
        threads = list(dict.fromkeys(span.thread for span in spans))
        zero = min((span.start for span in spans), default=0.0)
        events: list[dict[str, object]] = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": thread}}
            for number, thread in enumerate(threads)
        ]
        events += [
            {
                "ph": "X",
                "cat": span.stage,
                "name": f"{span.stage} {span.name}".strip(),
                "pid": 1,
                "tid": threads.index(span.thread),
                "ts": 1e6 * (span.start - zero),
                "dur": 1e6 * (span.end - span.start),
            }
            for span in spans
        ]
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")

    def busy(self, stage: str = "forward") -> float:
        """Share of the time in which at least one span of the stage was open, from its first start to its last end."""
        spans = sorted((span.start, span.end) for span in self.spans if span.stage == stage)
        if not spans:
            return 0.0
        covered, reached = 0.0, spans[0][0]
        for start, end in spans:
            covered += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return covered / (reached - spans[0][0])
