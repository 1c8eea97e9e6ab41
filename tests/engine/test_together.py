"""Programs of one scan that share their batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from umd_engine.engine.executor import run_program
from umd_engine.engine.together import in_turn, together
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import Work, call
from umd_engine.errors import DataError, UmdEngineError


class Plus(torch.nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.amount = amount

    def forward(self, x):
        return x + self.amount


ONE, TEN = (Unit(f"plus{n}", Plus(n), (TensorSpec("x", (2,)),)) for n in (1, 10))


class Session:
    def __init__(self, unit, batches):
        self.unit, self.batches = unit, batches

    def run(self, inputs):
        self.batches.append((self.unit.name, len(inputs[0])))
        return (self.unit.module(*inputs),)


def run(program, batch_size=16):
    batches = []
    return run_program(program, lambda unit: Session(unit, batches), batch_size), batches


def chained(start, units):
    x = torch.full((2,), float(start))
    for unit in units:
        (x,) = yield from call(unit, x)
    return float(x[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([ONE, TEN]), max_size=5), max_size=6), st.integers(1, 5))
def test_results_are_those_of_each_program_alone(paths, batch_size):
    found, _ = run(together([chained(i, path) for i, path in enumerate(paths)]), batch_size)
    assert found == [i + sum(unit.module.amount for unit in path) for i, path in enumerate(paths)]


def test_the_number_of_batches_is_that_of_the_longest_program():
    _, batches = run(together([chained(0, [ONE] * n) for n in (1, 4, 2)]))
    assert batches == [("plus1", 3), ("plus1", 2), ("plus1", 1), ("plus1", 1)]


def test_in_turn_ends_each_program_before_the_next_begins():
    _, batches = run(in_turn([chained(0, [ONE, TEN]), chained(0, [ONE])]))
    assert batches == [("plus1", 1), ("plus10", 1), ("plus1", 1)]


@pytest.mark.parametrize("where", ["before", "sink", "after"])
def test_an_error_ends_its_own_program_only(where):
    def failing():
        def fail(*_):
            if where == "sink":
                raise DataError("fault")

        if where == "before":
            raise DataError("fault")
        yield Work(ONE, iter([(torch.zeros(2),)]), 1, fail)
        raise DataError("fault")

    (bad, good), _ = run(together([failing(), chained(5, [ONE, ONE])]))
    assert isinstance(bad, DataError) and bad.fault == "fault" and good == 7


def test_no_program_and_a_program_without_work():
    assert run(together([]))[0] == []
    assert run(together([chained(3, [])])) == ([3.0], [])


def test_an_unforeseen_error_becomes_a_typed_one():
    def broken():
        yield from call(ONE, torch.zeros(2))
        return 1 // 0

    (bad,), _ = run(together([broken()]))
    assert isinstance(bad, UmdEngineError) and "ZeroDivisionError" in bad.fault
