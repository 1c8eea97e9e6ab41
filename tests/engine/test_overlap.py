"""Stages overlap: the device is hardly ever without a batch, and the end of one scan fills up with the next ones."""

import time
from functools import partial

import torch

from umd_engine.engine.executor import Executor, Job
from umd_engine.engine.trace import Trace
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import Work

PATCH = (4, 4, 4)
NETWORK = Unit("network", torch.nn.Identity(), (TensorSpec("image", (1, *PATCH)),))
FORWARD, READ, FINISH = 0.04, 0.1, 0.06  # s


class Sleeps:
    """A device that is busy for as long whatever the batch; `batches`: the scans that each was made of."""

    def __init__(self):
        self.batches = []

    def run(self, inputs):
        time.sleep(FORWARD)
        self.batches.append([int(number) for number in inputs[0][:, 0, 0, 0, 0]])
        return inputs


def scan(number, windows):
    """Reads, then gives its windows, then finishes: each takes its time."""
    time.sleep(READ)
    return segment(number, windows)


def segment(number, windows):
    seen = []
    items = ((torch.full((1, *PATCH), float(number)),) for _ in range(windows))
    yield Work(NETWORK, items, windows, lambda item, out: seen.append((item, int(out[0].mean()))))
    time.sleep(FINISH)
    assert seen == [(item, number) for item in range(windows)]
    return number


def test_a_batch_is_in_flight_nearly_all_the_time():
    """12 scans of 10 or 11 windows in batches of 4: reading and finishing alone would leave the device idle a third."""
    device, trace = Sleeps(), Trace(keep=True)
    executor = Executor(lambda unit: device, batch_size=4, max_live=6, readers=2, trace=trace)
    counts = [10 + number % 2 for number in range(12)]
    outcomes = list(executor.run(Job(i, 1, partial(scan, i, count)) for i, count in enumerate(counts)))
    assert {outcome.key: outcome.result for outcome in outcomes} == {i: i for i in range(12)}
    assert trace.busy("forward") > 0.9
    short = [batch for batch in device.batches if len(batch) < 4]
    assert len(short) <= 2 and len(device.batches) <= sum(counts) // 4 + 2  # none is filled up by its own scan alone
    mixed = [batch for batch in device.batches if len(set(batch)) > 1]
    assert len(mixed) >= 6  # a scan's last windows share a batch with the next scan's first
    assert all(batch == sorted(batch) for batch in mixed)  # the older scan first


def test_a_scan_alone_waits_for_nobody():
    device = Sleeps()
    (outcome,) = Executor(lambda unit: device, batch_size=4).run([Job(0, 1, partial(scan, 0, 10))])
    assert outcome.error is None and [len(batch) for batch in device.batches] == [4, 4, 2]
