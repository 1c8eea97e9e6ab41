"""How much memory a call takes, for tests of declared bytes."""

import itertools

from torch.profiler import ProfilerActivity, profile


def peak(run):
    """The most bytes that torch held at once on the CPU beyond what was there before, copies inside its functions
    included; what NumPy holds is not seen, nor other threads."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    changes = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(itertools.accumulate(event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())))


def run_here(program, opened):
    """A program's result, item by item in this thread, where the executor has threads of its own."""
    try:
        while True:
            work = next(program)
            for number, item in enumerate(work.items):
                outputs = opened(work.unit).run(tuple(x[None] for x in item))
                work.sink(number, tuple(out[0] for out in outputs))
                del outputs, item
    except StopIteration as end:
        return end.value
