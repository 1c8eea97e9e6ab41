"""How much memory a call takes, for tests of declared bytes."""

import itertools

from torch.profiler import ProfilerActivity, profile


def peak(run):
    """The most bytes that torch held at once on the CPU beyond what was there before, copies inside its functions
    included; what NumPy holds is not seen."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    changes = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(itertools.accumulate(event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())))
