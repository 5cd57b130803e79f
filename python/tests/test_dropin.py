"""brine.Pool against multiprocessing.pool.Pool: every scenario runs on both, with the same start method, and is compared."""

import functools
import inspect
import multiprocessing
import multiprocessing.pool

import pytest
from scenarios import CALLS, POOLS, outcome

Stdlib = multiprocessing.pool.Pool

# Those that depend on how workers are started; the others run with fork alone, which is quick.
BY_METHOD = (
    "workers_as_the_parent_sees_them",
    "workers_as_they_see_themselves",
    "initializer_runs_in_an_idle_pool",
    "maxtasksperchild_counts_chunks",
    "shared_things_in_initargs",
    "manager_proxies_as_arguments",
)


def on_pools(scenario, Pool, ctx, tmp_path):
    """The outcome of a scenario of POOLS, with what it asks for."""
    offered = {"ctx": ctx, "path": str(tmp_path / f"log {len(list(tmp_path.iterdir()))}")}
    wanted = [offered[name] for name in inspect.signature(scenario).parameters if name in offered]
    return outcome(scenario, functools.partial(Pool, context=ctx), *wanted)


@pytest.mark.parametrize("name", CALLS)
def test_call(name, Pool):
    ctx = multiprocessing.get_context("fork")
    with Stdlib(2, context=ctx) as pool:
        want = outcome(CALLS[name], pool)
    with Pool(2, context=ctx) as pool:
        assert outcome(CALLS[name], pool) == want


@pytest.mark.limit(60)
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_calls_of_one_pool(method, Pool):
    """The same, one after the other on one pool, for these pools take long to start."""
    ctx = multiprocessing.get_context(method)
    waiting = {"get_and_next_time_out"}  # takes the workers and keeps them
    with Stdlib(2, context=ctx) as pool:
        want = {name: outcome(CALLS[name], pool) for name in CALLS if name not in waiting}
    with Pool(2, context=ctx) as pool:
        got = {name: outcome(CALLS[name], pool) for name in want}
    assert {name: got[name] for name in got if got[name] != want[name]} == {}


@pytest.mark.parametrize("name", [name for name in POOLS if name not in BY_METHOD])
def test_pool(name, Pool, tmp_path):
    ctx = multiprocessing.get_context("fork")
    assert on_pools(POOLS[name], Pool, ctx, tmp_path) == on_pools(POOLS[name], Stdlib, ctx, tmp_path)


@pytest.mark.parametrize("name", BY_METHOD)
def test_pool_by_method(name, Pool, ctx, tmp_path):
    assert on_pools(POOLS[name], Pool, ctx, tmp_path) == on_pools(POOLS[name], Stdlib, ctx, tmp_path)


def positional(function):
    return [
        (p.name, p.default) for p in inspect.signature(function).parameters.values() if p.kind is not p.KEYWORD_ONLY
    ]


METHODS_OF_A_POOL = [name for name in vars(Stdlib) if not name.startswith("_")] + ["__init__", "__enter__", "__exit__"]


@pytest.mark.parametrize("name", [name for name in METHODS_OF_A_POOL if callable(getattr(Stdlib, name))])
def test_signature(name, Pool):
    """The stdlib's parameters in the stdlib's order with its defaults; what is more is keyword-only."""
    want = [p for p in positional(getattr(Stdlib, name)) if p[0] != "buffersize"]
    got = [p for p in positional(getattr(Pool, name)) if p[0] != "buffersize"]
    if name in ("Process", "__exit__"):
        pytest.skip("a detail of the stdlib's")
    assert got == want


def test_fork_inherits(Pool, monkeypatch):
    """What the parent has when the pool is made is in its workers; what it gets later is not."""
    import tasks

    monkeypatch.setattr(tasks, "STATE", "before")
    with Pool(2, context=multiprocessing.get_context("fork")) as pool:
        tasks.STATE = "after"
        assert pool.map(tasks.kept, range(4)) == ["before"] * 4


def test_terminate_is_quick_with_work_waiting(Pool):
    """It doesn't wait for the work: this would take hours."""
    import tasks

    pool = Pool(2)
    pool.map_async(tasks.hang_in_python, range(10_000), 1)
    pool.imap(tasks.hang_in_python, iter(range(10_000)))
    pool.terminate()
    pool.join()
