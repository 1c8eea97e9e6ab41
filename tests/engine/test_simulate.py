"""The virtual run: by hand on small cases, and against the executor with sleeping stages."""

import time

import pytest
import torch

from umd_engine.engine.executor import Executor, Job
from umd_engine.engine.simulate import NOTHING, Case, Machine, Task, simulate
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import Work


def machine(engines=1, cores=8.0, budget=1 << 40, batch=2, live=2, readers=1, call=1.0):
    """A call takes `call` seconds whatever it holds, on a device of its own."""
    return Machine(
        engines, cores, budget, batch, live, readers, lambda unit, items: Task(call, 0.0), lambda *_: NOTHING
    )


def case(items=4, read=1.0, prepare=2.0, nbytes=1, finish=0.5, store=0.25):
    return Case(nbytes, Task(read), Task(prepare), [(0, items)], NOTHING, Task(finish), Task(store))


def test_one_case_takes_its_stages_one_after_the_other():
    found = simulate([[case()]], machine())
    assert found.seconds == pytest.approx(1 + 2 + 2 + 0.5 + 0.25)
    assert (found.calls, found.items) == (2, 4)
    assert found.busy["forward"] == pytest.approx(2) and found.share["prepare"] == pytest.approx(2 / 5.75)


def test_a_scan_is_read_once_and_the_next_is_prepared_meanwhile():
    found = simulate([[case(), case()]], machine())
    # read 1, prepare 2, then the first computes while the second is prepared 3 to 5, computes 5 to 7
    assert found.seconds == pytest.approx(7.75) and found.busy["read"] == pytest.approx(1)
    apart = simulate([[case()], [case()]], machine())
    assert apart.busy["read"] == pytest.approx(2) and apart.seconds == pytest.approx(8.75)


def test_windows_of_two_cases_share_batches():
    one = case(items=3, prepare=0.0, read=0.0, finish=0.0, store=0.0)
    found = simulate([[one], [one]], machine())
    assert (found.calls, found.items, found.seconds) == (3, 6, pytest.approx(3))


def test_rounds_wait_for_one_another():
    rounds = Case(1, NOTHING, NOTHING, [(0, 1), (1, 1), (0, 1)], Task(0.5), NOTHING, NOTHING)
    assert simulate([[rounds]], machine()).seconds == pytest.approx(3 * 1.5, abs=0.05)


def test_stages_that_want_more_cores_than_there_are_slow_each_other():
    busy = case(items=2, read=0.0, prepare=4.0, finish=0.0, store=0.0)
    free, shared = (simulate([[busy], [busy]], machine(cores=cores, readers=2, live=2)).seconds for cores in (2.0, 1.0))
    assert free == pytest.approx(4 + 2, abs=0.01) and shared == pytest.approx(8 + 2, abs=0.01)


def test_the_budget_holds_cases_back():
    scans = [[case(nbytes=60)] for _ in range(6)]
    free, held = (simulate(scans, machine(budget=budget, live=6, readers=6)) for budget in (1000, 100))
    assert free.peak == 360 and held.peak == 60 and held.seconds > free.seconds


def test_engines_pull_scans_from_one_queue():
    scans = [[case(items=40)] for _ in range(24)]
    one, four = (simulate(scans, machine(engines=n)) for n in (1, 4))
    assert one.items == four.items == 960
    assert 3.5 < one.seconds / four.seconds <= 4.01
    assert one.binding == four.binding == "forward"


@pytest.mark.parametrize(
    ("slow", "stage"),
    [({"read": 50.0}, "read"), ({"prepare": 50.0}, "prepare"), ({"finish": 50.0}, "program"),
     ({"store": 50.0}, "store"), ({"items": 100}, "forward")],
)  # fmt: skip
def test_the_stage_that_all_wait_for_is_named(slow, stage):
    assert simulate([[case(**slow)] for _ in range(8)], machine()).binding == stage


def test_it_tells_how_long_the_executor_takes():
    """Stages sleep, so that other load on the machine does not matter."""
    unit = Unit("sleeper", torch.nn.Identity(), (TensorSpec("x", (1,)),))
    times = {"start": 0.06, "call": 0.05, "finish": 0.04}
    counts = [7, 2, 11, 5, 3, 8]

    class Sleeper:
        def run(self, inputs):
            time.sleep(times["call"])
            return inputs

    def program(count):
        yield Work(unit, ((torch.zeros(1),) for _ in range(count)), count, lambda *_: None)
        time.sleep(times["finish"])

    def start(count):
        time.sleep(times["start"])
        return program(count)

    executor = Executor(lambda _: Sleeper(), batch_size=4, max_live=2, readers=1)
    began = time.perf_counter()
    list(executor.run(Job(i, 1, lambda count=count: start(count)) for i, count in enumerate(counts)))
    real = time.perf_counter() - began
    cases = [[Case(1, NOTHING, Task(times["start"]), [(0, n)], NOTHING, Task(times["finish"]))] for n in counts]
    found = simulate(cases, machine(batch=4, call=times["call"]))
    assert found.calls == executor.calls
    assert found.seconds == pytest.approx(real, rel=0.2)
