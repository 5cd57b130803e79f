"""The bill: what stats() says is what crossed, to the byte, and report() writes it in every form."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import signal
import subprocess

import pytest
import tasks

import brine

METHODS = multiprocessing.get_all_start_methods()


def line(stats, function, kind):
    """Return the one line of a function and class."""
    (found,) = [x for x in stats["lines"] if x["function"] == function and x["class"] == kind]
    return found


def total(tallies):
    """Add tallies up: count and bytes."""
    tallies = list(tallies)
    return sum(t["count"] for t in tallies), sum(t["bytes"] for t in tallies)


@pytest.fixture
def stats():
    """The account of a pool that has ended: of many small tasks, of large ones, of a method and of lane calls."""
    big = [bytes([i]) * 100_000 for i in range(6)]
    with brine.Pool(2) as pool:
        assert pool.map(tasks.Adder(1).method, range(100), 1) == list(range(1, 101))
        assert pool.map(tasks.same, big, 1) == big
        for i in range(5):
            assert pool.apply(tasks.square, (i,)) == i * i
    pool.join()
    return pool.stats()


def test_bytes_are_those_of_the_pickles(stats):
    """A payload has a byte for its form, and what is stored in the arena has none."""
    numbers = sum(len(pickle.dumps(i, 5)) + 1 for i in range(100))
    argument = line(stats, "Adder.method", "argument")
    assert (argument["encode"]["count"], argument["encode"]["bytes"]) == (100, numbers)
    assert (argument["decode"]["count"], argument["decode"]["bytes"]) == (100, numbers)
    results = sum(len(pickle.dumps(i, 5)) + 1 for i in range(1, 101))
    assert total([line(stats, "Adder.method", "result")["decode"]]) == (100, results)
    large = 6 * len(pickle.dumps(bytes(100_000), 5))
    argument = line(stats, "same", "argument")
    assert total([argument["encode"]]) == total([argument["decode"]]) == (6, large)
    assert argument["encode"]["max"] == large // 6
    function = line(stats, "Adder.method", "function")
    assert function["encode"]["count"] == 1 and 1 <= function["decode"]["count"] <= 2
    assert function["encode"]["bytes"] == len(pickle.dumps(tasks.Adder(1).method, 5))


def test_lane_calls_are_counted(stats):
    argument, result = line(stats, "square", "argument"), line(stats, "square", "result")
    assert argument["encode"]["count"] == argument["decode"]["count"] == 5
    assert result["encode"]["count"] == result["decode"]["count"] == 5
    assert (
        result["encode"]["bytes"] == result["decode"]["bytes"] == sum(len(pickle.dumps(i * i, 5)) + 1 for i in range(5))
    )


def test_processes_add_up_to_lines(stats):
    parent, *workers = stats["processes"]
    assert parent["name"] == "parent" and parent["pid"] == os.getpid()
    assert [w["name"] for w in workers] == ["worker"] * 2 and sum(w["tasks"] for w in workers) == 111
    for direction in ("encode", "decode"):
        assert total(p[direction] for p in stats["processes"]) == total(x[direction] for x in stats["lines"])


def test_how_the_workers_spent_their_time(stats):
    for worker in stats["processes"][1:]:
        assert worker["starting_ns"] > 0 and worker["initialising_ns"] > 0
        assert worker["working_ns"] >= worker["run_ns"] >= 0
        assert worker["peak_memory"] > 4 << 20
        parts = sum(worker[name] for name in ("starting_ns", "initialising_ns", "working_ns", "waiting_ns"))
        assert parts <= stats["elapsed_ns"]


def test_what_happened_when(stats):
    assert sum(c["tasks"] for c in stats["chunks"]) == 111
    kinds = [e["kind"] for e in stats["events"]]
    assert kinds.count("started") == kinds.count("ready") == 2 and len(kinds) == 6
    for chunk in stats["chunks"]:
        assert chunk["parent"] == os.getpid() and chunk["worker"] != chunk["parent"]
        assert chunk["encode"]["begin_ns"] <= chunk["send"]["begin_ns"] <= chunk["run"]["begin_ns"]
        assert chunk["back"]["begin_ns"] + chunk["back"]["ns"] <= stats["elapsed_ns"]


def test_path_to_what_is_large():
    data = tasks.Holder(small=1, large={i: str(i) for i in range(20_000)})
    with brine.Pool(2) as pool:
        pool.map(data.length, range(4), 1)
        stats = pool.stats()
    assert line(stats, "Holder.length", "function")["encode"]["max_path"] == ".__self__.large"
    (part,) = [p for p in stats["parts"] if p["function"] == "Holder.length" and p["class"] == "function"]
    assert part["bytes"] == len(pickle.dumps(data.length, 5))
    assert [p["name"] for p in part["parts"][0]["parts"]][0] == ".large"


@pytest.mark.parametrize("method", METHODS)
def test_initializer(method):
    context = multiprocessing.get_context(method)
    data = list(range(50_000))
    with brine.Pool(2, tasks.same, (data,), expect_initret=True, context=context) as pool:
        pool.map(tasks.length_of_initret, range(3), 1)
        stats = pool.stats()
    lines = [x for x in stats["lines"] if x["class"] == "initializer"]
    if method == "fork":
        assert lines == []
        return
    (found,) = lines
    assert found["function"] == "same" and found["encode"]["count"] == 1 and found["decode"]["count"] == 2
    assert found["decode"]["bytes"] == 2 * found["encode"]["bytes"] > 100_000


def test_a_death_is_an_event():
    with brine.Pool(1) as pool:
        with pytest.raises(brine.CrashError):
            pool.apply_async(tasks.die, ("kill",)).get()
        assert pool.apply(tasks.square, (2,)) == 4
        stats = pool.stats()
    (died,) = [e for e in stats["events"] if e["kind"] == "died"]
    assert died["pid"] in [p["pid"] for p in stats["processes"] if p["ended"]]
    assert stats["counts"]["deaths"] == 1 and stats["counts"]["started"] == 2
    assert [c["lost"] for c in stats["chunks"] if c.get("lost")] == ["the worker died"]


def test_stats_of_an_open_pool_go_on():
    with brine.Pool(1) as pool:
        for i in range(1, 4):
            pool.map(tasks.square, range(10), 1)
            assert line(pool.stats(), "square", "argument")["encode"]["count"] == 10 * i


def test_report_in_all_forms(tmp_path):
    with brine.Pool(1) as pool:
        pool.map(tasks.square, range(10))
    pool.join()
    text = io.StringIO()
    pool.report(
        text, json=tmp_path / "bill.json", html=str(tmp_path / "bill.html"), timeline=tmp_path / "timeline.json"
    )
    assert text.getvalue().startswith("Pool: ") and "square" in text.getvalue()
    document = json.loads((tmp_path / "bill.json").read_text())
    assert document["bills"][0]["lines"] and document["bills"][0]["advice"]
    assert "square" in (tmp_path / "bill.html").read_text()
    assert json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    again = subprocess.run([os.environ["BRINE_ENGINE"], "bill", tmp_path / "bill.json"], capture_output=True, text=True)
    assert again.stdout == text.getvalue()


def test_report_that_cannot_be_written(tmp_path):
    with brine.Pool(1) as pool:
        pool.map(tasks.square, range(10))
        with pytest.raises(brine.EngineError, match="no such file or directory"):
            pool.report(json=tmp_path / "nowhere" / "bill.json")
        assert pool.apply(tasks.square, (3,)) == 9


def test_a_killed_engine_leaves_this_process_account():
    with brine.Pool(1) as pool:
        pool.map(tasks.square, range(10), 1)
        os.kill(pool._core.engine.pid, signal.SIGKILL)
        with pytest.raises(brine.EngineError):
            pool.apply(tasks.square, (1,))
        stats = pool.stats()
    assert line(stats, "square", "argument")["encode"]["count"] == 11  # and the one that nobody ran
    text = io.StringIO()
    pool.report(text)
    assert "square" in text.getvalue()


def test_what_goes_along_with_every_task_is_found():
    numpy = pytest.importorskip("numpy")
    table = numpy.arange(1 << 18)
    with brine.Pool(2) as pool:
        assert pool.map(tasks.first_of_pair, [(i, table) for i in range(5)], 1) == list(range(5))
        stats = pool.stats()
    (repeat,) = stats["repeats"]
    assert (repeat["function"], repeat["class"], repeat["count"]) == ("first_of_pair", "argument", 5)
    assert repeat["bytes"] == table.nbytes and repeat["path"] == "[1].data"


def test_what_only_looks_alike_is_no_repeat():
    tables = [pytest.importorskip("numpy").zeros(2 << 20, "u1") for _ in range(5)]
    for i, table in enumerate(tables):
        table[(1 << 20) + 1000] = i  # where nobody takes a sample
    with brine.Pool(2) as pool:
        pool.map(tasks.first_of_pair, [(0, table) for table in tables], 1)
        assert pool.stats()["repeats"] == []
