"""Limits: time, retries, memory, cancelling, how far an imap pulls ahead; and what shows how far it has come."""

import concurrent.futures
import fcntl
import functools
import io
import itertools
import multiprocessing
import os
import pty
import signal
import struct
import termios
import threading

import pytest
import scenarios
import scripts
import tasks
import watch

import brine

SHORT = 0.3  # seconds, for tasks that would take for ever
MB = 1 << 20


def usable(pool):
    return pool.map(tasks.square, range(8), 1) == [i * i for i in range(8)]


# Time.


@pytest.mark.parametrize("task", [tasks.hang_in_python, tasks.hang_in_c])
def test_timeout_ends_the_worker(task, pool):
    others = [pool.apply_async(tasks.square, (i,)) for i in range(20)]
    worker = pool.apply_async(tasks.pid).get()
    with pytest.raises(brine.TaskTimeoutError) as caught:
        pool.apply(task, timeout=SHORT)
    e = caught.value
    assert isinstance(e, multiprocessing.TimeoutError) and isinstance(e, TimeoutError)
    assert task.__name__ in e.stack
    assert [r.get() for r in others] == [i * i for i in range(20)]
    assert usable(pool) and worker


TIMED = {
    "apply": lambda p, t: p.apply(tasks.hang_in_python, timeout=t),
    "apply_async": lambda p, t: p.apply_async(tasks.hang_in_python, timeout=t).get(),
    "map": lambda p, t: p.map(tasks.hang_in_python, [1], timeout=t),
    "map_async": lambda p, t: p.map_async(tasks.hang_in_python, [1], timeout=t).get(),
    "starmap": lambda p, t: p.starmap(tasks.hang_in_python, [(1,)], timeout=t),
    "starmap_async": lambda p, t: p.starmap_async(tasks.hang_in_python, [(1,)], timeout=t).get(),
    "imap": lambda p, t: next(p.imap(tasks.hang_in_python, [1], timeout=t)),
    "imap_unordered": lambda p, t: next(p.imap_unordered(tasks.hang_in_python, [1], timeout=t)),
}


@pytest.mark.parametrize("call", TIMED.values(), ids=TIMED)
def test_timeout_of_each_verb(call, pool):
    with pytest.raises(brine.TaskTimeoutError):
        call(pool, 0.1)


def test_timeout_is_in_its_place(pool):
    found = scenarios.transcript(pool.imap(functools.partial(tasks.hang_at, 2), range(5), timeout=SHORT))
    assert found[:2] == [0, 1] and found[2][1] is brine.TaskTimeoutError and found[3:5] == [3, 4]


@pytest.mark.parametrize("chunksize", [None, 1, 8])
def test_timeout_is_for_a_task_and_not_for_its_chunk(chunksize, tmp_path):
    """Eight of 0.2 s in a chunk take longer than the limit of one."""
    with brine.Pool(1) as pool:
        assert pool.map(tasks.nap, [0.2] * 8, chunksize, timeout=1.2) == [0.2] * 8


def test_timeout_lets_the_rest_of_a_map_run(pool, tmp_path):
    path = str(tmp_path / "log")
    with pytest.raises(brine.TaskTimeoutError):
        pool.map(functools.partial(tasks.append_and_hang_at, path, 3), range(8), 1, timeout=SHORT)
    assert sorted(tasks.lines(path)) == [str(i) for i in range(8)]


def test_timeout_of_a_pool():
    with brine.Pool(1, timeout=SHORT) as pool:
        with pytest.raises(brine.TaskTimeoutError):
            pool.apply(tasks.hang_in_python)
        assert pool.apply(tasks.nap, (2 * SHORT,), timeout=20) == 2 * SHORT  # that of a call counts
        assert usable(pool)


def test_timeout_does_not_count_waiting():
    """It is the time of a task, not that in the queue."""
    with brine.Pool(1) as pool:
        results = [pool.apply_async(tasks.nap, (0.2,), timeout=0.8) for _ in range(6)]
        assert [r.get() for r in results] == [0.2] * 6


def test_timeout_by_method(ctx):
    with brine.Pool(1, context=ctx) as pool:
        with pytest.raises(brine.TaskTimeoutError):
            pool.apply(tasks.hang_in_c, timeout=SHORT)
        assert usable(pool)


def test_children_of_a_task_over_its_time_go_with_it(pool, tmp_path):
    path = str(tmp_path / "pid")
    with pytest.raises(brine.TaskTimeoutError):
        pool.apply(tasks.start_child, (path, "wait"), timeout=1)
    (child,) = map(int, tasks.lines(path))
    watch.wait_until(lambda: not watch.alive(child))


# Retries.


def test_retries_after_deaths(pool, tmp_path):
    assert pool.apply(tasks.die_until, (str(tmp_path / "log"), 2), retries=2) == 3
    assert usable(pool)


def test_retries_after_timeouts(pool, tmp_path):
    assert pool.apply(tasks.hang_until, (str(tmp_path / "log"), 1), retries=1, timeout=SHORT) == 2


def test_retries_run_out(pool, tmp_path):
    path = str(tmp_path / "log")
    with pytest.raises(brine.CrashError) as caught:
        pool.apply(tasks.die_until, (path, 100), retries=2)
    assert len(tasks.lines(path)) == 3
    assert caught.value.attempt == 3


def test_no_retries_by_default(pool, tmp_path):
    path = str(tmp_path / "log")
    with pytest.raises(brine.CrashError):
        pool.apply(tasks.die_until, (path, 100))
    assert len(tasks.lines(path)) == 1


def test_own_errors_are_not_retried(pool, tmp_path):
    path = str(tmp_path / "log")
    with pytest.raises(ValueError, match="its own"):
        pool.apply(tasks.append_and_fail, (path,), retries=5)
    assert len(tasks.lines(path)) == 1


def test_retries_of_a_map(tmp_path):
    """Each of its tasks dies once."""
    with brine.Pool(2, retries=1) as pool:
        assert pool.map(tasks.die_once, [str(tmp_path / f"log {i}") for i in range(6)], 1) == [2] * 6


# Memory.


def test_max_memory():
    with brine.Pool(1, max_memory=300 * MB) as pool:
        with pytest.raises((MemoryError, brine.CrashError)):
            pool.apply(tasks.use_memory, (600 * MB,))
        assert pool.apply(tasks.use_memory, (50 * MB,)) == 50 * MB


def test_no_max_memory(pool):
    assert pool.apply(tasks.use_memory, (400 * MB,)) == 400 * MB


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": -1}, {"retries": -1}, {"max_memory": -1}],
    ids=str,
)
def test_bad_limits(arguments):
    with pytest.raises(ValueError):
        brine.Pool(1, **arguments)


@pytest.mark.parametrize("arguments", [{"timeout": -1}, {"retries": -1}], ids=str)
def test_bad_limits_of_a_call(arguments, pool):
    with pytest.raises(ValueError):
        pool.apply(tasks.same, (1,), **arguments)


# Cancelling.


def test_cancel_a_running_task(tmp_path):
    path = str(tmp_path / "pid")
    with brine.Pool(1) as pool:
        result = pool.apply_async(tasks.announce_and_wait, (path,))
        (pid,) = map(int, watch.wait_until(lambda: tasks.lines(path)))
        result.cancel()
        with pytest.raises(brine.CancelledError) as caught:
            result.get()
        assert isinstance(caught.value, concurrent.futures.CancelledError)
        assert result.ready() and not result.successful()
        assert usable(pool)
        assert pool.apply(tasks.pid) != pid


def test_cancel_a_waiting_task(tmp_path):
    """It never runs, and the one before it is not hurt."""
    gate, path = str(tmp_path / "gate"), str(tmp_path / "log")
    with brine.Pool(1) as pool:
        first = pool.apply_async(tasks.wait_for, (gate,))
        waiting = [pool.apply_async(tasks.append, (path, i)) for i in range(3)]
        waiting[1].cancel()
        with pytest.raises(brine.CancelledError):
            waiting[1].get()
        tasks.append(gate, "open")
        assert first.get() == gate
        assert [waiting[0].get(), waiting[2].get()] == [0, 2]
    assert tasks.lines(path) == ["0", "2"]


def test_cancel_a_map(pool):
    result = pool.map_async(tasks.hang_in_python, range(1000))
    result.cancel()
    with pytest.raises(brine.CancelledError):
        result.get()
    assert usable(pool)


def test_cancel_what_is_done(pool):
    result = pool.apply_async(tasks.same, (1,))
    result.wait()
    assert not result.cancel()
    assert result.get() == 1 and result.successful()


def test_cancel_twice(pool):
    result = pool.apply_async(tasks.hang_in_python)
    result.cancel()
    result.cancel()
    with pytest.raises(brine.CancelledError):
        result.get()


# How far an imap pulls ahead of who takes its results.


class Pulled:
    """An iterator without an end, or with one, that counts what was taken from it."""

    def __init__(self, stop=None):
        self.count = 0
        self.items = itertools.count() if stop is None else iter(range(stop))

    def __iter__(self):
        return self

    def __next__(self):
        x = next(self.items)
        self.count += 1
        return x


@pytest.mark.parametrize("verb", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [1, 4])
@pytest.mark.parametrize("buffersize", [1, 3])
def test_buffersize(verb, chunksize, buffersize):
    """At most buffersize chunks are submitted whose results were not taken, and one for each worker."""
    workers = 2
    with brine.Pool(workers) as pool:
        items = Pulled()
        iterator = getattr(pool, verb)(tasks.square, items, chunksize, buffersize=buffersize)
        found = []
        for n in range(1, 41):
            found.append(next(iterator))
            taken = -(-n // chunksize)  # in chunks, begun ones too
            assert items.count <= (taken + buffersize + workers) * chunksize
        if verb == "imap":
            assert found == [i * i for i in range(40)]
        assert len(set(found)) == 40


def test_buffersize_of_a_bounded_iterable(pool):
    assert list(pool.imap(tasks.square, range(100), buffersize=4)) == [i * i for i in range(100)]
    assert sorted(pool.imap_unordered(tasks.square, range(100), 3, buffersize=4)) == [i * i for i in range(100)]
    assert list(pool.imap(tasks.square, [], buffersize=1)) == []


def test_buffersize_with_errors(pool):
    found = scenarios.transcript(pool.imap(tasks.fail_if_odd, Pulled(6), buffersize=2))
    assert [x if isinstance(x, int) else x[1] for x in found[:6]] == [0, ValueError, 2, ValueError, 4, ValueError]


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_buffersize_and_the_end(end):
    """A pool ends though nobody takes the rest (gh-155477)."""
    pool = brine.Pool(2)
    iterator = pool.imap(tasks.square, Pulled(), buffersize=2)
    assert next(iterator) == 0
    getattr(pool, end)()
    pool.join()


@pytest.mark.parametrize("buffersize", [0, -1])
@pytest.mark.parametrize("verb", ["imap", "imap_unordered"])
def test_bad_buffersize(verb, buffersize, pool):
    with pytest.raises(ValueError):
        getattr(pool, verb)(tasks.square, [1], buffersize=buffersize)


# What shows how far it is.

PROGRESS = """
    import sys, tasks
    import brine

    with brine.Pool(2) as pool:
        print(sum(pool.map(tasks.square, range(40), 1, progress=True)))
        print(sum(pool.imap(tasks.square, range(40), progress=True)))
    with brine.Pool(2, progress=True) as pool:
        print(len(pool.starmap(tasks.add, [(i, i) for i in range(40)])))
"""
PROGRESS_OUT = "20540\n20540\n40\n"
PLAIN = "import sys; sys.modules['tqdm'] = sys.modules['tqdm.auto'] = None\n"  # as if it were not installed


@pytest.mark.parametrize("head", [PLAIN, ""], ids=["plain", "tqdm"])
def test_progress_on_a_pipe(head, tmp_path):
    """It is on standard error, so that standard output is the program's alone."""
    program = scripts.write(tmp_path / "program.py", PROGRESS)
    program.write_text(head + program.read_text())
    status, out, err = scripts.run(program)
    assert (status, out) == (0, PROGRESS_OUT)
    assert "40/40" in err


@pytest.mark.parametrize("head", [PLAIN, ""], ids=["plain", "tqdm"])
def test_progress_on_a_terminal(head, tmp_path):
    program = scripts.write(tmp_path / "program.py", PROGRESS)
    program.write_text(head + program.read_text())
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = scripts.start(program, stderr=theirs)
    os.close(theirs)
    seen = []

    def read():
        try:
            while more := os.read(ours, 4096):
                seen.append(more)
        except OSError:  # the end of a terminal
            pass

    reader = threading.Thread(target=read)
    reader.start()
    status, out, _ = scripts.finish(process)
    reader.join()
    os.close(ours)
    assert (status, out) == (0, PROGRESS_OUT)
    text = b"".join(seen)
    assert b"40/40" in text and b"\r" in text and b"Traceback" not in text


@pytest.mark.parametrize("verb", ["apply", "apply_async"])
def test_progress_of_a_single_call(verb, capfd, pool):
    result = getattr(pool, verb)(tasks.square, (3,), progress=True)
    assert (result if verb == "apply" else result.get()) == 9


def test_no_progress_by_default(capfd, pool):
    pool.map(tasks.square, range(40), 1)
    assert capfd.readouterr() == ("", "")


def test_progress_of_a_failing_map(capfd, pool):
    with pytest.raises(ValueError):
        pool.map(tasks.fail_if_odd, range(40), 1, progress=True)
    assert "Traceback" not in capfd.readouterr().err


# The bill.


def test_stats_and_report(pool):
    for _ in range(3):
        pool.map(tasks.Adder(1).method, range(100))
    with pytest.raises(ValueError):
        pool.apply(tasks.fail, ("value",))
    out = io.StringIO()
    pool.report(file=out)
    assert "Adder.method" in out.getvalue() and "fail" in out.getvalue()
    assert "Adder.method" in str(pool.stats())


def test_report_is_printed(capfd, pool):
    pool.map(tasks.square, range(10))
    pool.report()
    assert "square" in "".join(capfd.readouterr())


def test_stats_after_the_end():
    """The account is what one wants to read when all is done."""
    with brine.Pool(1) as pool:
        pool.map(tasks.square, range(10))
    pool.join()
    out = io.StringIO()
    pool.report(file=out)
    assert "square" in out.getvalue()


def test_signal_is_a_number(pool):
    with pytest.raises(brine.CrashError) as caught:
        pool.apply(tasks.die, ("kill",), retries=1)
    assert caught.value.signal == signal.SIGKILL and caught.value.attempt == 2
