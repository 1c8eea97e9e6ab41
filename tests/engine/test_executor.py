"""The executor with real small networks: results do not depend on batches or on what else is in flight."""

import gc
import weakref
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from umd_engine.engine.accumulator import Accumulator
from umd_engine.engine.executor import Executor, Job, run_program
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.windows import gaussian_weights, window_grid
from umd_engine.engine.work import Work, call
from umd_engine.errors import UmdEngineError, VoxelError
from umd_engine.models.ready import open_unit

PATCH = (8, 8, 8)
CPU = torch.device("cpu")
TOLERANCE = 1e-5  # float32 convolutions of another batch size may sum in another order


@pytest.fixture(scope="module")
def unit():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.InstanceNorm3d(4, affine=True), torch.nn.LeakyReLU(),
        torch.nn.Conv3d(4, 3, 1),
    )  # fmt: skip
    return Unit("network", network.eval(), (TensorSpec("image", (1, *PATCH)),))


@pytest.fixture(scope="module")
def click_unit():
    torch.manual_seed(1)
    return Unit("decoder", torch.nn.Linear(4, 4).eval(), (TensorSpec("x", (4,)),))


def windows(unit, image):
    sums = Accumulator(3, image.shape[1:], gaussian_weights(PATCH, torch.float32))
    starts = window_grid(tuple(image.shape[1:]), PATCH)
    items = ((image[:, x : x + 8, y : y + 8, z : z + 8],) for x, y, z in starts)
    yield Work(unit, items, len(starts), lambda i, out: sums.add(starts[i], out[0]))
    return sums.mean()


def clicks(unit, x, rounds):
    for _ in range(rounds):
        (x,) = yield from call(unit, torch.tanh(x))
    return x


opener = partial(open_unit, backend="torch", device=CPU)


@given(
    st.lists(st.tuples(st.integers(8, 17), st.integers(8, 12), st.integers(8, 9)), min_size=1, max_size=4),
    st.lists(st.integers(1, 4), max_size=4),
    st.integers(1, 7),
    st.integers(1, 6),
)
@settings(max_examples=25, deadline=None)
def test_results_are_those_of_each_program_alone(unit, click_unit, shapes, rounds, batch_size, max_live):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn((1, *shape), generator=generator) for shape in shapes]
    starts = [torch.randn(4, generator=generator) for _ in rounds]

    def programs():
        window_programs = [partial(windows, unit, image) for image in images]
        return window_programs + [partial(clicks, click_unit, x, n) for x, n in zip(starts, rounds, strict=True)]

    alone = [run_program(make(), opener) for make in programs()]
    executor = Executor(opener, batch_size=batch_size, max_live=max_live)
    mixed = {o.key: o.result for o in executor.run(Job(i, 1, make) for i, make in enumerate(programs()))}
    for i, expected in enumerate(alone):
        assert (mixed[i] - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_batches_mix_programs(click_unit):
    executor = Executor(opener, batch_size=16, max_live=10, readers=1)
    jobs = [Job(i, 1, partial(clicks, click_unit, torch.randn(4), 3)) for i in range(10)]
    assert len(list(executor.run(jobs))) == 10
    assert executor.calls < 30  # alone they would be 30


def bad_start():
    raise VoxelError("not a number", where="scan.nii.gz")


def bad_items(unit):
    def items():
        yield (torch.randn(4),)
        raise ValueError("a bug")

    yield Work(unit, items(), 2, lambda i, out: None)


def bad_sink(unit):
    def sink(item, outputs):
        raise VoxelError("cannot take it")

    yield Work(unit, iter([(torch.randn(4),)]), 1, sink)


def bad_end(unit, x):
    yield from call(unit, x)
    raise KeyError("lost")


def test_a_failing_case_becomes_a_typed_error_and_stops_nobody(click_unit, caplog):
    x = torch.ones(4)
    jobs = [
        Job("start", 1, bad_start),
        Job("items", 1, partial(bad_items, click_unit)),
        Job("good", 1, partial(clicks, click_unit, x, 3)),
        Job("sink", 1, partial(bad_sink, click_unit)),
        Job("end", 1, partial(bad_end, click_unit, x)),
        Job("good too", 1, partial(clicks, click_unit, x, 2)),
    ]
    outcomes = {o.key: o for o in Executor(opener, batch_size=3, max_live=6).run(jobs)}
    assert len(outcomes) == 6
    assert isinstance(outcomes["start"].error, VoxelError)
    assert isinstance(outcomes["sink"].error, VoxelError)
    assert outcomes["items"].error.status == "error" and "a bug" in str(outcomes["items"].error)
    assert "lost" in str(outcomes["end"].error)
    assert outcomes["good"].error is None
    assert torch.allclose(outcomes["good"].result, run_program(clicks(click_unit, x, 3), opener))
    assert outcomes["good too"].error is None


class Picky:
    """A session that cannot compute a batch holding one particular item."""

    def __init__(self, session, bad):
        self.session, self.bad = session, bad

    def run(self, inputs):
        if (inputs[0] == self.bad).all(1).any():
            raise RuntimeError("cuDNN says no")
        return self.session.run(inputs)


def test_a_backend_error_fails_only_the_case_that_causes_it(click_unit, caplog):
    x = torch.arange(24.0).reshape(6, 4) / 24
    executor = Executor(lambda unit: Picky(opener(unit), torch.tanh(x[3])), batch_size=6, max_live=6)
    outcomes = {o.key: o for o in executor.run(Job(i, 0, partial(clicks, click_unit, x[i], 2)) for i in range(6))}
    assert [i for i in outcomes if outcomes[i].error] == [3]
    assert "cuDNN says no" in str(outcomes[3].error)


def test_an_error_holds_no_voxels(click_unit):
    def fails():
        voxels = torch.zeros(1000)
        alive.append(weakref.ref(voxels))
        raise VoxelError("bad")
        yield

    alive = []
    (outcome,) = Executor(opener).run([Job(0, 0, fails)])
    gc.collect()
    assert outcome.error is not None and alive[0]() is None


def test_a_manifest_of_any_length_is_taken_lazily(click_unit):
    taken = []

    def jobs():
        for i in range(1000):
            taken.append(i)
            yield Job(i, 1, partial(clicks, click_unit, torch.ones(4), 1))

    outcomes = Executor(opener, max_live=3).run(jobs())
    next(outcomes)
    assert len(taken) < 10
    assert isinstance(next(outcomes).error, UmdEngineError | None)
    outcomes.close()


def test_a_program_without_work_just_ends():
    def nothing():
        return "done"
        yield

    assert run_program(nothing(), opener) == "done"
