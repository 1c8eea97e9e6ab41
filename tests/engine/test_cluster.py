"""Work over Ray's workers: everything is done once, deaths cost nobody else anything, waiting workers pull."""

import os
import time
from collections import Counter

import pytest
from cluster_engines import DiesAtStart, Environment, Fails, Heavy, Refuses, Squares

from umd_engine.engine.cluster import STORE_BYTES, Cluster
from umd_engine.errors import BackendError, OptionError, UnknownNameError, WorkerError

ray = pytest.importorskip("ray", reason="Ray is not installed")
GROUPS = [[0, 1], [2, 3, 4], [5], [6, 7], [8], [9, 10, 11]]
SQUARES = {item: item * item for group in GROUPS for item in group}


@pytest.fixture(scope="module")
def two_nodes():
    """A cluster of two machines of one CPU each, on this one."""
    from ray.cluster_utils import Cluster as Machines

    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 << 20})
    machines.add_node(num_cpus=1, object_store_memory=80 << 20)
    machines.wait_for_nodes()
    yield machines.address
    machines.shutdown()


def started(folder, kind):
    return [path for path in folder.iterdir() if path.name.startswith(kind)]


def test_every_item_has_one_result_and_both_machines_work(two_nodes, tmp_path):
    results = list(Cluster(two_nodes, "cpu").run(Squares(tmp_path, pace=0.3), GROUPS))
    assert dict(results) == SQUARES and len(results) == len(SQUARES)
    assert len(started(tmp_path, "worker")) == 2
    processes = {tuple({(tmp_path / f"item-{item}").read_text() for item in group}) for group in GROUPS}
    assert all(len(of_group) == 1 for of_group in processes) and len(processes) == 2  # a group goes to one worker


@pytest.mark.full
def test_a_slow_group_holds_up_nobody(two_nodes, tmp_path):
    cluster = Cluster(two_nodes, "cpu")
    order = [item for item, _ in cluster.run(Squares(tmp_path, slow={0}, pace=0.1), [[i] for i in range(12)])]
    assert order.index(0) > 8 and sorted(order) == list(range(12))


def test_items_of_a_dead_worker_run_again_and_a_killer_gets_a_status(two_nodes, tmp_path):
    results = list(Cluster(two_nodes, "cpu").run(Squares(tmp_path, deadly={3}, once={9}, pace=0.3), GROUPS))
    found = dict(results)
    error = found.pop(3)
    assert isinstance(error, WorkerError) and error.status == "worker-died" and error.mend
    assert found == {item: square for item, square in SQUARES.items() if item != 3}
    assert len(results) == len(SQUARES)
    times = Counter({item: len((tmp_path / f"item-{item}").read_text().split()) for item in SQUARES})
    assert times[3] == times[9] == 2 and times[2] == 1  # what was done before a death is not done again


@pytest.mark.full
def test_a_lost_machine_costs_no_item(tmp_path):
    from ray.cluster_utils import Cluster as Machines

    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 << 20})
    lost = machines.add_node(num_cpus=1, object_store_memory=80 << 20)
    machines.wait_for_nodes()
    try:
        results = []
        for result in Cluster(machines.address, "cpu").run(Squares(tmp_path, pace=0.3), GROUPS):
            results.append(result)
            if len(started(tmp_path, "worker")) == 2 and lost is not None:
                machines.remove_node(lost, allow_graceful=False)
                lost = None
        assert lost is None and dict(results) == SQUARES and len(results) == len(SQUARES)
    finally:
        machines.shutdown()


@pytest.mark.full
def test_results_leave_the_object_store_as_they_come(two_nodes):
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    size, used, spilled = 1 << 20, [], []
    for item, found in Cluster(two_nodes, "cpu").run(Heavy(size), [[i] for i in range(320)]):  # twice what both hold
        assert found == item.to_bytes(2) * (size // 2)
        stats = get_memory_info_reply(get_state_from_address(two_nodes)).store_stats
        used.append(stats.object_store_bytes_used)
        spilled.append(stats.spilled_bytes_total)
    # Ray itself frees what nobody refers to about once a second
    assert len(used) == 320 and size <= max(used) < 80 * size and max(spilled) == 0


@pytest.mark.full
def test_errors_of_a_worker_reach_the_driver(two_nodes, tmp_path):
    cluster = Cluster(two_nodes, "cpu")
    with pytest.raises(UnknownNameError, match="did you mean tensorrt"):
        list(cluster.run(Refuses(), GROUPS))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(cluster.run(Fails(), GROUPS))
    with pytest.raises(WorkerError, match="no worker is left"):
        list(cluster.run(DiesAtStart(), GROUPS))


@pytest.mark.full
def test_a_stopped_run_ends_with_what_is_in_flight(two_nodes, tmp_path):
    cluster = Cluster(two_nodes, "cpu")
    results = []
    for result in cluster.run(Squares(tmp_path), [[i] for i in range(50)]):
        results.append(result)
        cluster.stop()
    assert 1 <= len(results) < 10
    assert len(results) == len(started(tmp_path, "item"))


@pytest.mark.full
def test_a_run_that_is_let_go_leaves_no_worker(two_nodes, tmp_path):
    running = Cluster(two_nodes, "cpu").run(Squares(tmp_path), [[i] for i in range(50)])
    next(running)
    running.close()
    deadline = time.monotonic() + 20
    pids = [int(path.name.partition("-")[2]) for path in started(tmp_path, "worker")]
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_of_a_machine_divide_its_cores():
    cores = len(os.sched_getaffinity(0))
    found = dict(Cluster("local:2", "cpu").run(Environment(), [[i] for i in range(8)]))
    assert len({pid for pid, *_ in found.values()}) == 2
    for _, device, sharers, threads, mine, top_pad, store in found.values():
        assert (device, sharers) == ("cpu", 2) and threads == max(1, cores // 2) and top_pad == str(256 << 20)
        assert store == STORE_BYTES
        if cores > 1:
            assert len(mine) == cores // 2
    if cores > 1:
        assert len({mine for _, _, _, _, mine, *_ in found.values()}) == 2


def test_what_is_no_cluster_says_so():
    for text in ("local:0", "local", "s3://x", "ray://", ""):
        with pytest.raises(OptionError, match="is no cluster"):
            Cluster(text)
    with pytest.raises(OptionError, match="with --cluster"):
        Cluster("local:2", "cuda:1")
    with pytest.raises(BackendError, match="no Ray cluster"):
        list(Cluster("127.0.0.1:1").run(Refuses(), GROUPS))
