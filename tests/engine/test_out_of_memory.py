"""Out of memory: a batch is halved, sums go to the host, and what does not fit even so is a status of its case."""

from functools import partial

import pytest
import torch

from umd_engine.engine.accumulator import Accumulator
from umd_engine.engine.executor import Executor, Job, run_program
from umd_engine.engine.together import together
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.windows import gaussian_weights, window_grid
from umd_engine.engine.work import Work, call
from umd_engine.errors import OutOfMemoryError
from umd_engine.models.ready import open_unit

PATCH = (8, 8, 8)
SHAPE = (17, 12, 9)
SUMS = 4 * 3 * 17 * 12 * 9  # bytes of three channels in float32
ITEM = 1000  # bytes that the network asks for, an item
HOST = torch.device("cpu", 0)  # unlike "cpu", which is what tensors of the test's device say
opener = partial(open_unit, backend="torch", device=torch.device("cpu"))


class Powers(torch.nn.Module):
    def forward(self, image):
        return torch.cat([image, image * image, image * image * image], 1)


@pytest.fixture(scope="module")
def unit():
    """Its bits do not depend on the batch, as a convolution's may."""
    return Unit("network", Powers().eval(), (TensorSpec("image", (1, *PATCH)),))


@pytest.fixture(scope="module")
def click_unit():
    torch.manual_seed(1)
    return Unit("decoder", torch.nn.Linear(4, 4).eval(), (TensorSpec("x", (4,)),))


class Device:
    """Room for so many bytes of sums and of the network's items; `sizes`: of the batches that it was given."""

    def __init__(self, free):
        self.free, self.sizes, self.on_host = free, [], 0

        class Sums(Accumulator):
            host = HOST
            zeros = staticmethod(self.zeros)

        self.sums = Sums

    def zeros(self, shape, dtype, device):
        made = torch.zeros(*shape, dtype=dtype)
        if device == HOST:
            self.on_host += 1
        else:
            self.take(made.nbytes)
        return made

    def take(self, nbytes):
        if nbytes > self.free:
            raise torch.OutOfMemoryError("no room")
        self.free -= nbytes

    def open(self, unit):
        session, device = opener(unit), self

        class OnDevice:
            def run(self, inputs):
                device.sizes.append(len(inputs[0]))
                device.take(ITEM * len(inputs[0]))
                device.free += ITEM * len(inputs[0])
                return session.run(inputs)

        return OnDevice()


def windows(unit, image, device, dtype=torch.float32):
    sums = device.sums(3, image.shape[1:], gaussian_weights(PATCH, dtype), dtype)

    def spill():
        freed = sums.spill()
        device.free += freed
        return freed

    starts = window_grid(tuple(image.shape[1:]), PATCH)
    items = ((image[:, x : x + 8, y : y + 8, z : z + 8],) for x, y, z in starts)
    yield Work(unit, items, len(starts), lambda i, out: sums.add(starts[i], out[0].to(dtype)), spill)
    return sums.mean()


def clicks(unit, x, rounds):
    for _ in range(rounds):
        (x,) = yield from call(unit, torch.tanh(x))
    return x


def images(count):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((1, *SHAPE), generator=generator) for _ in range(count)]


def results(executor, jobs):
    return {outcome.key: outcome.result for outcome in executor.run(jobs)}


def test_the_batch_is_halved_and_no_larger_one_is_tried_again(click_unit):
    device = Device(3 * ITEM)
    executor = Executor(device.open, batch_size=8, max_live=16)
    x = torch.randn(16, 4)
    found = results(executor, [Job(i, 0, partial(clicks, click_unit, x[i], 4)) for i in range(16)])
    for i in range(16):
        assert torch.allclose(found[i], run_program(clicks(click_unit, x[i], 4), opener), atol=1e-6)
    assert device.sizes[0] == 8 and device.sizes.count(8) == 1 and max(device.sizes[2:]) <= 2


def test_a_limit_is_one_units_own(unit, click_unit):
    small, large = Device(ITEM), Device(100 * ITEM)
    executor = Executor(lambda u: (small if u is unit else large).open(u), batch_size=4, max_live=12)
    jobs = [Job(i, 0, partial(clicks, click_unit, torch.ones(4), 3)) for i in range(8)]
    jobs += [Job(9 + i, 0, partial(windows, unit, image, Device(1 << 30))) for i, image in enumerate(images(2))]
    assert all(result is not None for result in results(executor, jobs).values())
    assert max(small.sizes[3:]) == 1 and large.sizes.count(4) > 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_sums_that_find_no_room_on_the_device_are_made_on_the_host(unit, dtype):
    (image,) = images(1)
    roomy, full = Device(1 << 30), Device(100)
    expected = run_program(windows(unit, image, roomy, dtype), opener)
    assert torch.equal(run_program(windows(unit, image, full, dtype), opener), expected)
    assert roomy.on_host == 0 and full.on_host >= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_sums_go_to_the_host_when_not_one_window_fits_beside_them(unit, dtype, caplog):
    """Scans in flight fill the device with sums; those that are there are moved in mid-course and all end with the same
    bits."""
    scans = images(3)
    roomy = Device(1 << 30)
    expected = [run_program(windows(unit, image, roomy, dtype), opener, batch_size=1) for image in scans]
    share = SUMS if dtype is torch.float32 else SUMS // 2 + SUMS // 6
    device = Device(3 * share + ITEM // 2)
    executor = Executor(device.open, batch_size=2, max_live=3)
    jobs = [Job(i, 0, partial(windows, unit, image, device, dtype)) for i, image in enumerate(scans)]
    found = results(executor, jobs)
    assert all(torch.equal(found[i], expected[i]) for i in range(3))
    assert device.on_host >= 1 and "moved to the host's memory" in caplog.text


def test_sums_of_programs_that_go_together_make_room_too(unit):
    scans = images(2)
    device = Device(2 * SUMS + ITEM // 2)
    executor = Executor(device.open, batch_size=1)
    program = together([windows(unit, image, device) for image in scans])
    (outcome,) = executor.run([Job(0, 0, lambda: program)])
    for image, result in zip(scans, outcome.result, strict=True):
        assert torch.equal(result, run_program(windows(unit, image, Device(1 << 30)), opener, batch_size=1))
    assert device.on_host == 2


def test_what_does_not_fit_even_alone_is_a_status_and_the_others_go_on(unit, click_unit):
    small = Device(ITEM - 1)
    executor = Executor(lambda u: small.open(u) if u is unit else opener(u), batch_size=4, max_live=6)
    jobs = [Job(i, 0, partial(windows, unit, image, Device(1 << 30))) for i, image in enumerate(images(2))]
    jobs += [Job("click", 0, partial(clicks, click_unit, torch.ones(4), 2))]
    outcomes = {outcome.key: outcome for outcome in executor.run(jobs)}
    assert outcomes["click"].error is None
    assert all(outcomes[i].error.status == "out-of-memory" and outcomes[i].result is None for i in range(2))


def fails_in(place, unit, error):
    """A program that runs out of memory: while it prepares, resamples, cuts a window, adds one, or finishes."""

    def items():
        if place == "items":
            raise error
        yield (torch.ones(4),)

    def sink(item, outputs):
        if place == "sink":
            raise error

    def program():
        if place == "first step":
            raise error
        yield Work(unit, items(), 1, sink)
        if place == "finish":
            raise error

    if place == "prepare":
        raise error
    return program()


@pytest.mark.parametrize("place", ["prepare", "first step", "items", "sink", "finish"])
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_out_of_memory_anywhere_in_a_case_is_its_status_alone(click_unit, place, error):
    jobs = [
        Job("first", 0, partial(clicks, click_unit, torch.ones(4), 3)),
        Job("full", 0, partial(fails_in, place, click_unit, error)),
        Job("last", 0, partial(clicks, click_unit, torch.ones(4), 3)),
    ]
    executor = Executor(opener, batch_size=2, max_live=3)
    outcomes = {outcome.key: outcome.error for outcome in executor.run(jobs)}
    assert isinstance(outcomes.pop("full"), OutOfMemoryError) and outcomes == {"first": None, "last": None}
    assert executor.scheduler.live == 0 and executor.scheduler.declared == 0


@pytest.mark.gpu
def test_sums_move_from_a_gpu_to_the_host(unit):
    cuda = torch.device("cuda")
    (image,) = images(1)
    starts = window_grid(SHAPE, PATCH)
    sums = [Accumulator(3, SHAPE, gaussian_weights(PATCH, torch.float32).to(cuda)) for _ in range(2)]
    for number, (x, y, z) in enumerate(starts):
        output = image[:, x : x + 8, y : y + 8, z : z + 8].expand(3, *PATCH).contiguous().to(cuda)
        for one in sums:
            one.add((x, y, z), output)
        if number == len(starts) // 2:
            assert sums[1].spill() == SUMS and sums[1].spill() == 0
    stayed, moved = (one.mean() for one in sums)
    assert moved.device.type == "cpu" and stayed.device.type == "cuda"
    assert torch.allclose(stayed.cpu(), moved, rtol=1e-6, atol=1e-6)
