"""The scheduler, driven to the end by plain integers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from umd_engine.engine.scheduler import Scheduler

# a program: its bytes, and its works as (unit, items)
works = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=4)
programs = st.lists(st.tuples(st.integers(0, 100), works), max_size=12)


def drive(scheduler, programs):
    """Run every program; returns the batches in order and the order in which programs ended."""
    todo = {scheduler.submit(nbytes): list(works) for nbytes, works in programs}
    batches, ended, held = [], [], {}
    while True:
        while (number := scheduler.admit()) is not None:
            held[number] = programs[number][0]
            assert len(held) == 1 or sum(held.values()) <= scheduler.budget
            assert len(held) <= scheduler.max_live
            scheduler.offer(number, *todo[number].pop(0))
        batch = scheduler.next_batch()
        if batch is None:
            return batches, ended
        batches.append(batch)
        for number in scheduler.delivered(batch):
            if todo[number]:
                scheduler.offer(number, *todo[number].pop(0))
            else:
                scheduler.finish(number)
                ended.append(number)
                del held[number]


@given(programs, st.integers(1, 8), st.integers(1, 5), st.integers(1, 200))
@settings(max_examples=200, deadline=None)
def test_every_item_of_every_work_runs_once_and_in_order(programs, batch_size, max_live, budget):
    batches, ended = drive(Scheduler(budget, batch_size, max_live), programs)
    assert sorted(ended) == list(range(len(programs)))
    seen = {number: [] for number in range(len(programs))}
    for batch in batches:
        assert 1 <= batch.size <= batch_size
        for part in batch.slices:
            seen[part.program] += [(batch.unit, part.first + i) for i in range(part.count)]
    for number, (_, works) in enumerate(programs):
        assert seen[number] == [(unit, i) for unit, count in works for i in range(count)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 8))
def test_one_unit_fills_every_batch_but_the_last(counts, batch_size):
    programs = [(0, [(0, count)]) for count in counts]
    batches, _ = drive(Scheduler(1, batch_size, len(counts)), programs)
    assert [b.size for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(batches) == -(-sum(counts) // batch_size)


def test_windows_and_clicks_over_mixed_scans_share_batches():
    # 3 window programs of 20 items and 15 programs of 4 sequential clicks: 120 calls alone
    programs = [(1, [(0, 20)])] * 3 + [(1, [(1, 1)] * 4)] * 15
    batches, _ = drive(Scheduler(100, 8, 18), programs)
    assert sum(b.size for b in batches) == 120
    assert len(batches) == 8 + 4 * 2  # 60 windows in batches of 8; 4 rounds of 15 clicks


def test_the_oldest_program_comes_first_and_is_never_overtaken():
    scheduler = Scheduler(budget=10, batch_size=4, max_live=4)
    first, large, small = (scheduler.submit(n) for n in (6, 8, 1))
    assert scheduler.admit() == first
    assert scheduler.admit() is None  # the large one waits, and the small one behind it too
    scheduler.finish(first)
    assert [scheduler.admit(), scheduler.admit()] == [large, small]


def test_a_program_above_the_budget_runs_alone():
    scheduler = Scheduler(budget=10, batch_size=1, max_live=4)
    huge, other = scheduler.submit(1000), scheduler.submit(1)
    assert scheduler.admit() == huge
    assert scheduler.admit() is None
    scheduler.finish(huge)
    assert scheduler.admit() == other


def test_a_limit_is_kept():
    scheduler = Scheduler(budget=1, batch_size=8)
    scheduler.submit(0)
    scheduler.offer(scheduler.admit(), unit=5, count=10)
    assert scheduler.next_batch().size == 8
    scheduler.limit(5, 4)
    assert scheduler.next_batch().size == 2
    scheduler.limit(5, 8)
    scheduler.offer(scheduler.admit() or _another(scheduler), unit=5, count=9)
    assert scheduler.next_batch().size == 4


def _another(scheduler):
    scheduler.finish(0)
    scheduler.submit(0)
    return scheduler.admit()


def test_one_program_alone_is_let_in_whatever_it_declares():
    scheduler = Scheduler(budget=10, max_live=4)
    large, small = scheduler.submit(100), scheduler.submit(1)
    assert scheduler.admit() == large and scheduler.admit() is None
    scheduler.finish(large)
    assert scheduler.admit() == small


def test_what_programs_hold_together_counts_once_and_for_as_long_as_one_lives():
    scheduler = Scheduler(budget=20, max_live=4)
    first, second = scheduler.submit(3, {"scan": 10}), scheduler.submit(3, {"scan": 10})
    other, last = scheduler.submit(3, {"other": 5}), scheduler.submit(3, {"other": 5})
    assert [scheduler.admit(), scheduler.admit()] == [first, second] and scheduler.declared == 16
    assert scheduler.admit() is None  # 16 + 3 + 5
    scheduler.finish(first)
    assert scheduler.declared == 13 and scheduler.admit() is None
    scheduler.finish(second)
    assert [scheduler.admit(), scheduler.admit()] == [other, last] and scheduler.declared == 11
