"""What users of multiprocessing.Pool suffer from, and what must come instead: an error that says why, and a pool that goes on."""

import functools
import gc
import itertools
import multiprocessing
import os
import pickle
import signal
import threading

import pytest
import scenarios
import tasks
import watch

import brine


def usable(pool, n=8):
    """Does every worker of the pool work?"""
    return pool.map(tasks.square, range(n), 1) == [i * i for i in range(n)]


# Workers that die.


@pytest.mark.parametrize(
    "how, number, status",
    [
        ("kill", signal.SIGKILL, None),
        ("segv", signal.SIGSEGV, None),
        ("abort", signal.SIGABRT, None),
        ("_exit", None, 7),
        ("exit", None, 3),
        ("exit 0", None, 0),
    ],
)
def test_death_is_the_error_of_its_task(how, number, status, pool):
    results = [pool.apply_async(tasks.die, (how,)), *(pool.apply_async(tasks.square, (i,)) for i in range(39))]
    with pytest.raises(brine.CrashError) as caught:
        results[0].get()
    e = caught.value
    assert e.signal == number
    assert status is None or e.exitcode == status
    assert "die" in e.function and e.attempt == 1
    assert "last words" in e.stderr
    assert (signal.Signals(number).name if number else str(status)) in str(e)
    assert [r.get() for r in results[1:]] == [i * i for i in range(39)]
    assert usable(pool)


def test_death_names_the_process(pool, tmp_path):
    path = str(tmp_path / "pid")
    result = pool.apply_async(tasks.announce_and_wait, (path,))
    (pid,) = watch.wait_until(lambda: tasks.lines(path))
    os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(brine.CrashError) as caught:
        result.get()
    assert caught.value.pid == int(pid)
    assert isinstance(caught.value, multiprocessing.ProcessError)


def test_fault_has_a_report(pool):
    """The stack of the fault, which Python itself wrote when it was too late for anything else."""
    with pytest.raises(brine.CrashError) as caught:
        pool.apply(tasks.die, ("segv",))
    assert "Segmentation fault" in caught.value.report + caught.value.stderr
    assert "tasks.py" in caught.value.report and " in die" in caught.value.report


def test_death_by_method(ctx):
    with brine.Pool(2, context=ctx) as pool:
        with pytest.raises(brine.CrashError):
            pool.map(functools.partial(tasks.die_at, 3), range(10), 1)
        assert usable(pool)


def test_death_in_map_lets_the_others_run(pool, tmp_path):
    path = str(tmp_path / "log")
    calls = [functools.partial(tasks.append, path), functools.partial(tasks.die_at, 20)]
    results = [pool.map_async(call, range(40), 1) for call in calls]
    assert results[0].get() == list(range(40))
    with pytest.raises(brine.CrashError):
        results[1].get()
    assert sorted(map(int, tasks.lines(path))) == list(range(40))
    assert usable(pool)


@pytest.mark.parametrize("verb", ["imap", "imap_unordered"])
def test_death_in_imap_is_in_its_place(verb, pool):
    found = scenarios.transcript(getattr(pool, verb)(functools.partial(tasks.die_at, 4), range(12)))
    if verb == "imap":
        assert found[:4] == [0, 1, 2, 3] and found[4][1] is brine.CrashError and found[5:12] == list(range(5, 12))
    assert {x for x in found if isinstance(x, int)} == set(range(12)) - {4}
    assert [x[1] for x in found if isinstance(x, tuple)] == [brine.CrashError]
    assert found[12:] == ["end"] * 3


def test_base_exception_does_not_hang(pool):
    """In the stdlib's it ends the worker. Here it may, or may arrive as itself."""
    with pytest.raises((tasks.BadBase, brine.CrashError)):
        pool.apply_async(tasks.fail, ("base",)).get()
    assert usable(pool)


def test_idle_workers_that_die_are_replaced(pool):
    before = {p.pid for p in multiprocessing.active_children()}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    watch.wait_until(lambda: not any(watch.alive(pid) for pid in before))
    assert usable(pool)
    assert not before & set(pool.map(tasks.pid, range(20), 1))


def test_somebody_else_reaps(pool):
    """active_children() waits for any child that has ended; whoever waits second must not mind."""
    results = [pool.apply_async(tasks.die, ("_exit",)) for _ in range(5)]
    while not all(r.ready() for r in results):
        multiprocessing.active_children()
    for result in results:
        with pytest.raises(brine.CrashError) as caught:
            result.get()
        assert caught.value.exitcode == 7
    assert usable(pool)


def test_children_of_a_dead_worker_go_with_it(pool, tmp_path):
    path = str(tmp_path / "pid")
    with pytest.raises(brine.CrashError):
        pool.apply(tasks.start_child, (path, "kill"))
    (child,) = map(int, tasks.lines(path))
    watch.wait_until(lambda: not watch.alive(child))


def test_children_of_workers_go_with_the_pool(tmp_path):
    path = str(tmp_path / "pid")
    with brine.Pool(1) as pool:
        pool.apply_async(tasks.start_child, (path, "wait"))
        (child,) = map(int, watch.wait_until(lambda: tasks.lines(path)))
    watch.wait_until(lambda: not watch.alive(child))


def test_worker_that_ignores_sigterm(tmp_path):
    path = str(tmp_path / "pid")
    pool = brine.Pool(1)
    pool.apply_async(tasks.ignore_sigterm_and_hang, (path,))
    (worker,) = map(int, watch.wait_until(lambda: tasks.lines(path)))
    pool.terminate()
    pool.join()
    assert not watch.alive(worker)


def test_crash_error_can_be_sent(pool):
    """It is what comes from a pool within a pool."""
    with pytest.raises(brine.CrashError) as caught:
        pool.apply(tasks.die, ("kill",))
    e, copy = caught.value, pickle.loads(pickle.dumps(caught.value))
    names = ("pid", "exitcode", "signal", "stderr", "report", "function", "attempt")
    assert [getattr(copy, name) for name in names] == [getattr(e, name) for name in names]
    assert str(copy) == str(e)


# What can't be sent, and what can't be received.


@pytest.mark.parametrize(
    "kind, name, words",
    [
        ("two", "TwoArguments", "first and second"),
        ("reduce", "BadReduce", "first"),
        ("state", "BadState", "first"),
        ("lock", "ValueError", "has a lock"),
        ("local", "Local", "first"),
    ],
)
def test_exceptions_that_cannot_be_sent(kind, name, words, pool):
    """Something arrives that tells which it was, and the pool goes on."""
    with pytest.raises(Exception) as caught:
        pool.apply(tasks.fail, (kind,))
    e = caught.value
    told = f"{type(e)} {e} {e.__cause__}"
    assert name in told and words in told
    assert [type(x) for x in scenarios.transcript(pool.imap(tasks.fail, [kind] * 3))[:3]] == [tuple] * 3
    assert usable(pool)


def test_result_that_does_not_load(pool):
    results = [pool.apply_async(tasks.give_what_fails_to_load), pool.map_async(tasks.same, range(3))]
    with pytest.raises(Exception, match="will not load"):
        results[0].get()
    assert results[1].get() == [0, 1, 2]
    assert usable(pool)


def test_argument_that_does_not_load(ctx):
    with brine.Pool(2, context=ctx) as pool:
        with pytest.raises(RuntimeError, match="will not load"):
            pool.apply(tasks.same, (tasks.FailsWhenLoaded(),))
        found = scenarios.transcript(pool.imap(tasks.same, [0, tasks.FailsWhenLoaded(), 2]))
        assert found[0] == 0 and "will not load" in found[1][3] and found[2:] == [2, "end", "end", "end"]
        assert usable(pool)


def test_argument_that_kills_when_loaded(pool):
    with pytest.raises(brine.CrashError):
        pool.apply(tasks.same, (tasks.DiesWhenLoaded(),))
    assert usable(pool)


def test_function_that_does_not_load(pool):
    with pytest.raises(RuntimeError, match="will not load"):
        pool.map(functools.partial(tasks.add, tasks.FailsWhenLoaded()), range(4))
    assert usable(pool)


@pytest.mark.parametrize(
    "call",
    [
        lambda pool, bad: pool.apply_async(tasks.add, ({"a": [1, bad]},)).get(),
        lambda pool, bad: pool.apply_async(tasks.add, (1,), {"b": {"a": [1, bad]}}).get(),
        lambda pool, bad: pool.map(tasks.add, [1, {"a": [bad]}]),
        lambda pool, bad: pool.starmap(tasks.add, [(1, 2), (1, bad)]),
        lambda pool, bad: pool.map(functools.partial(tasks.add, bad), [1, 2]),
        lambda pool, bad: list(pool.imap(tasks.add, [1, bad])),
        lambda pool, bad: list(pool.imap_unordered(tasks.add, [bad, 2], chunksize=2)),
    ],
)
def test_what_cannot_be_sent(call, pool):
    """The error names the function and the reason, and is of the stdlib's types for it."""
    with pytest.raises(brine.SendError) as caught:
        call(pool, threading.Lock())
    assert "add" in str(caught.value) and "lock" in str(caught.value)
    assert usable(pool)


def test_what_cannot_be_sent_is_known_at_once(pool):
    result = pool.apply_async(tasks.add, (1, {"key": [threading.Lock()]}))
    assert result.ready() and not result.successful()
    with pytest.raises(brine.SendError) as caught:
        result.get()
    assert "args[1]" in str(caught.value) and "'key'" in str(caught.value) and "[0]" in str(caught.value)


def test_what_cannot_be_sent_is_told_to_callbacks(pool):
    errors = []
    pool.apply_async(tasks.add, (threading.Lock(),), error_callback=errors.append).wait()
    pool.map_async(tasks.add, [threading.Lock()], error_callback=errors.append).wait()
    assert [type(e) for e in errors] == [brine.SendError] * 2


def test_what_cannot_be_sent_is_in_its_place(pool):
    found = scenarios.transcript(pool.imap(tasks.same, [0, threading.Lock(), 2, 3]))
    assert found[0] == 0 and found[1][1] is brine.SendError and found[2:] == [2, 3, "end", "end", "end"]


def test_iterable_that_ends_before_its_length(pool):
    """A map of the stdlib's waits for ever for what never came."""

    class Short(scenarios.Fails):
        def __len__(self):
            return 20

    for chunk in (None, 1, 2):
        with pytest.raises(KeyError):
            pool.map(tasks.same, Short(3), chunk)
    assert usable(pool)


# Errors and chunks.


@pytest.mark.parametrize("chunksize", [2, 4, 100])
def test_error_hides_nothing_of_its_chunk(chunksize, pool):
    """The stdlib's loses the chunk, and ends there."""
    found = scenarios.transcript(pool.imap(tasks.fail_if_odd, range(9), chunksize))
    assert [x[2][0] if isinstance(x, tuple) else x for x in found[:9]] == list(range(9))
    assert [isinstance(x, tuple) for x in found[:9]] == [False, True] * 4 + [False]


def test_stop_iteration_is_an_error(pool):
    """In the stdlib's it silently shortens a map."""
    with pytest.raises(StopIteration):
        pool.map(tasks.fail, ["stop", "stop"])


# Initializers.


@pytest.mark.parametrize("kind, error", [("value", ValueError), ("custom", tasks.Custom), ("os", FileNotFoundError)])
def test_initializer_that_raises(kind, error):
    """Its own error comes from the constructor, and nothing is left."""
    with pytest.raises(error) as caught:
        brine.Pool(2, tasks.init_fail, (kind,))
    assert caught.value.args == tasks.FAILURES[kind]().args


def test_initializer_that_raises_by_method(ctx):
    with pytest.raises(ValueError, match="no"):
        brine.Pool(2, tasks.init_fail, context=ctx)


@pytest.mark.parametrize("how", ["kill", "_exit", "exit"])
def test_initializer_that_dies(how):
    with pytest.raises(brine.CrashError, match="init"):
        brine.Pool(2, tasks.init_die, (how,))


def test_initializer_that_fails_later(tmp_path):
    """In the worker that replaces the first: the tasks fail, for nobody could run them."""
    with brine.Pool(1, tasks.init_fail_second, (str(tmp_path / "log"),), maxtasksperchild=1) as pool:
        first = pool.apply_async(tasks.same, (1,))
        assert first.get() == 1
        with pytest.raises(Exception, match="second worker"):
            pool.apply(tasks.same, (2,))
    assert len(tasks.lines(tmp_path / "log")) < 20


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_initargs_that_cannot_be_sent(method):
    with pytest.raises((brine.SendError, TypeError)):
        brine.Pool(2, tasks.init_keep, (threading.Lock(),), context=multiprocessing.get_context(method))


# Ends.


def open_results(pool):
    return {
        "apply": pool.apply_async(tasks.hang_in_python).get,
        "map": pool.map_async(tasks.hang_in_python, range(4)).get,
        "starmap": pool.starmap_async(tasks.hang_in_python, [(1,)]).get,
        "imap": functools.partial(next, pool.imap(tasks.hang_in_python, range(4))),
        "imap in chunks": functools.partial(next, pool.imap(tasks.hang_in_python, range(4), 2)),
        "imap, waiting": functools.partial(next, pool.imap(tasks.hang_in_python, itertools.count(), buffersize=2)),
        "imap_unordered": functools.partial(next, pool.imap_unordered(tasks.hang_in_python, range(4))),
    }


@pytest.mark.parametrize("end", ["terminate", "with"])
def test_get_after_the_end(end):
    with brine.Pool(2) as pool:
        done = pool.apply_async(tasks.same, (1,))
        done.wait()
        results = open_results(pool)
        if end == "terminate":
            pool.terminate()
    for get in results.values():
        with pytest.raises(brine.PoolClosedError):
            get()
    assert done.get() == 1


def test_get_while_the_pool_is_terminated(tmp_path):
    path = str(tmp_path / "pid")
    pool = brine.Pool(1)
    result = pool.apply_async(tasks.announce_and_wait, (path,))
    watch.wait_until(lambda: tasks.lines(path))
    thread = threading.Timer(0.05, pool.terminate)  # most likely after get() has begun; it must hold before, too
    thread.start()
    with pytest.raises(brine.PoolClosedError):
        result.get()
    thread.join()
    pool.join()


def test_terminate_in_a_callback():
    ended = threading.Event()

    def callback(x):
        pool.terminate()
        ended.set()

    pool = brine.Pool(2)
    other = pool.apply_async(tasks.hang_in_python)
    pool.apply_async(tasks.same, (1,), callback=callback)
    with pytest.raises(brine.PoolClosedError):
        other.get()
    assert ended.wait(10)
    pool.join()


# Callbacks.


def test_callback_that_raises(pool):
    """Its error is the result's, as in CPython 3.16."""
    for result in (
        pool.apply_async(tasks.same, (1,), callback=lambda x: 1 / 0),
        pool.map_async(tasks.same, [1], callback=lambda x: 1 / 0),
        pool.starmap_async(tasks.same, [(1,)], callback=lambda x: 1 / 0),
    ):
        with pytest.raises(ZeroDivisionError):
            result.get()
        assert not result.successful()
    assert usable(pool)


def test_error_callback_that_raises(pool):
    with pytest.raises((ZeroDivisionError, ValueError)):
        pool.apply_async(tasks.fail, ("value",), error_callback=lambda x: 1 / 0).get()
    assert usable(pool)


def test_slow_callback_holds_up_no_result(pool):
    gate = threading.Event()
    slow = pool.apply_async(tasks.same, (1,), callback=lambda x: gate.wait())
    assert usable(pool)
    assert list(pool.imap(tasks.same, range(5))) == list(range(5))
    assert pool.apply_async(tasks.same, (2,)).get() == 2
    assert not slow.ready()
    gate.set()
    assert slow.get() == 1


# Arguments.


def test_iterable_that_waits_holds_up_nobody(pool):
    gate = threading.Event()

    def items():
        yield 1
        gate.wait()
        yield 2

    waiting = [pool.imap(tasks.same, items()), pool.imap_unordered(tasks.same, items(), 2)]
    assert next(waiting[0]) == 1
    assert usable(pool)
    assert list(pool.imap(tasks.same, range(3))) == [0, 1, 2]
    gate.set()
    assert list(waiting[0]) == [2]
    assert sorted(waiting[1]) == [1, 2]


def test_iterable_that_waits_for_its_results(pool):
    """A generator may ask for what came of its earlier items."""
    results = []

    def items():
        for i in range(5):
            yield i
            watch.wait_until(lambda: len(results) > i)

    for x in pool.imap(tasks.square, items()):
        results.append(x)
    assert results == [0, 1, 4, 9, 16]


def test_iterable_that_waits_does_not_hold_up_the_end():
    gate = threading.Event()

    def items():
        yield 1
        gate.wait()

    with brine.Pool(1) as pool:
        iterator = pool.imap(tasks.same, items())
        assert next(iterator) == 1
    with pytest.raises(brine.PoolClosedError):
        next(iterator)
    gate.set()


def test_arguments_changed_after_submission():
    """A task sees what was submitted; with one worker that is busy, all of these wait."""
    with brine.Pool(1) as pool:
        first, items, results = pool.apply_async(tasks.wait_for, ("/proc/self/stat",)), [0], []
        for i in range(100):
            items[0] = i
            results.append(pool.apply_async(tasks.same, (items,)))
        items[0] = -1
        big = bytearray(b"a" * 100_000)
        results_big = [pool.apply_async(tasks.same, (big,)), pool.map_async(tasks.same, [big])]
        big[:] = b"b" * 100_000
        first.get()
        assert [r.get() for r in results] == [[i] for i in range(100)]
        assert results_big[0].get() == b"a" * 100_000 and results_big[1].get() == [b"a" * 100_000]


def test_list_changed_after_map_async(pool):
    items = [[i] for i in range(100)]
    result = pool.map_async(tasks.same, items)
    for item in items:
        item.append("late")
    items.clear()
    assert result.get() == [[i] for i in range(100)]


# Pools within pools, and processes beside them.


def inner_map(n):
    with brine.Pool(2) as pool:
        return sum(pool.map(tasks.square, range(n)))


def inner_death(x):
    with brine.Pool(1) as pool:
        pool.apply(tasks.die, ("kill",))


def inner_hang(path):
    with brine.Pool(2) as pool:
        pool.map(functools.partial(tasks.append_and_hang, path), range(2), 1)


def inner_exception(x):
    with brine.Pool(1) as pool:
        return pool.apply(tasks.fail, ("custom",))


def test_nested(ctx):
    with brine.Pool(2, context=ctx) as pool:
        assert pool.map(inner_map, [3, 4, 5], 1) == [5, 14, 30]
        with pytest.raises(tasks.Custom):
            pool.apply(inner_exception, (0,))


def test_nested_death(pool):
    with pytest.raises(brine.CrashError) as caught:
        pool.apply(inner_death, (0,))
    assert caught.value.signal == signal.SIGKILL
    assert usable(pool)


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_nested_goes_with_its_worker(end, tmp_path):
    path = str(tmp_path / "pids")
    with brine.Pool(1) as pool:
        result = pool.apply_async(inner_hang, (path,))
        watch.wait_until(lambda: len(tasks.lines(path)) == 2)
        workers = [p.pid for p in multiprocessing.active_children()]
        below = [pid for worker in workers for pid in watch.descendants(worker)]
        assert set(map(int, tasks.lines(path))) <= set(below)
        if end == "kill":
            os.kill(workers[0], signal.SIGKILL)
            with pytest.raises(brine.CrashError):
                result.get()
        else:
            pool.terminate()
        watch.wait_until(lambda: not any(watch.alive(pid) for pid in below))


def use_own_pool(connection):
    with brine.Pool(2) as pool:
        connection.send(pool.map(tasks.square, range(5)))


def test_pool_in_a_child_process(ctx, pool):
    """A process that a client starts has an engine of its own, and its end does nothing to its parent's."""
    here, there = ctx.Pipe()
    process = ctx.Process(target=use_own_pool, args=(there,))
    process.start()
    assert here.recv() == [0, 1, 4, 9, 16]
    process.join()
    assert process.exitcode == 0
    assert usable(pool)
    here.close()
    there.close()
    process.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_leaves_the_parents_pool_alone(pool):
    result = pool.apply_async(tasks.wait_for, ("/proc/self/stat",))
    if (child := os.fork()) == 0:
        try:
            gc.collect()
            pool.__del__()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert result.get() == "/proc/self/stat"
    assert usable(pool)


# The engine.


def test_engine_killed():
    """Every open result is told at once, and the next pool has a new engine."""
    pool = brine.Pool(2)
    done = pool.apply_async(tasks.same, (1,))
    done.wait()
    results = open_results(pool)
    async_result = pool.apply_async(tasks.same, (1,))
    (engine,) = watch.engines()
    workers = [p.pid for p in multiprocessing.active_children()]
    os.kill(engine, signal.SIGKILL)
    assert async_result.wait(5) is None and async_result.ready()
    for get in [*results.values(), async_result.get]:
        with pytest.raises(brine.EngineError):
            get()
    assert done.get() == 1
    with pytest.raises((brine.EngineError, ValueError)):
        pool.apply(tasks.same, (1,))
    pool.terminate()
    pool.join()
    watch.wait_until(lambda: not any(watch.alive(pid) for pid in workers))
    with brine.Pool(2) as after:
        assert usable(after)
    after.join()


def test_engine_killed_idle():
    """Nobody was waiting; the next pool works, and the old one says why it doesn't."""
    with brine.Pool(1) as pool:
        (engine,) = watch.engines()
        os.kill(engine, signal.SIGKILL)
        watch.wait_until(lambda: not watch.alive(engine))
        with pytest.raises((brine.EngineError, ValueError)):
            pool.apply(tasks.same, (1,))
        with brine.Pool(1) as after:
            assert usable(after)
