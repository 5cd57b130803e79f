"""A worker over real pipes and shared memory, as the engine and the Go tests talk to it."""

from __future__ import annotations

import functools
import gc
import operator
import os
import pickle
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from multiprocessing.pool import MaybeEncodingError

import jobs
import pytest
from peer import ROOT, Body, Peer, encoded, error, item, single

from brine import _payload as payload
from brine import _wire as wire

FNL = "brine.FunctionNotLoaded"


@pytest.fixture
def start():
    """Starts workers that end with the test."""
    started = []

    def start(*args, **kwds):
        p = Peer(*args, **kwds)
        started.append(p)
        return p

    yield start
    for p in started:
        p.close()
    gc.collect()


@pytest.fixture
def peer(start):
    p = start()
    assert p.ready() == (0, b"")
    p.function()
    return p


def ok(values):
    return [(0, v) for v in values]


def test_one_task_after_the_other(peer):
    assert peer.call(pow, 2, 10) == (0, 1024)
    for named in (1, 1, 1, 0):
        assert peer.call(jobs.add, 1, b=2, named=named) == (0, 3)
    assert peer.quit() == 0
    assert list(peer.words[:4]) == [0, 0, peer.received, 0]
    assert peer.says() == ""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(start, method):
    peer = start(method)
    assert peer.ready()[0] == 0
    assert peer.call(jobs.add, 1, 2) == (0, 3)
    assert peer.call(jobs.nested, 3) == (0, [3, 2, 1])
    big = bytes(100_000)
    body, _ = payload.encode(((big,), {}), peer.arena)
    f = encoded(len)
    peer.chunk([Body(struct.pack("<BI", 0, len(f)) + f + body)], bound=0)
    assert peer.answers(peer.chunk_id, 1) == [(0, 100_000)]
    assert peer.quit() == 0
    assert peer.says() == ""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_inherited_initializers(start, method):
    peer = start(method, inherited=jobs.Handed(jobs.opened, (21,)), expect=True)
    assert peer.ready()[0] == 0
    assert peer.call(jobs.add, 1) == (0, (1, 42))


def test_modes(peer):
    calls = [((i, 2), {}) for i in range(200)] + [((1,), {"b": 3})]
    for mode, func, args, want in [
        (wire.MODE_CALL, jobs.add, calls, [i + 2 for i in range(200)] + [4]),
        (wire.MODE_ITEM, abs, list(range(-200, 0)), list(range(200, 0, -1))),
        (wire.MODE_STAR, operator.add, [(i, i) for i in range(300)], [2 * i for i in range(300)]),
        (wire.MODE_LIST, abs, [range(-3, 0), [], (-1,)], [[3, 2, 1], [], [1]]),
        (wire.MODE_STAR_LIST, operator.sub, [[(3, 1), (5, 1)], []], [[2, 4], []]),
        (wire.MODE_OUTCOMES, abs, [[-1, 2]], [[(True, 1), (True, 2)]]),
    ]:
        peer.bind(func, mode, id=mode)
        assert peer.answers(peer.chunk(args, bound=mode), len(args)) == ok(want)
    peer.send(wire.frame(wire.FREE, chunk=2), wire.frame(wire.FREE, chunk=99))
    assert peer.quit() == 0


def test_first_error_ends_a_list(peer):
    peer.bind(jobs.fail, wire.MODE_LIST)
    ((status, (kind, message, exc, trace)),) = peer.answers(peer.chunk([[1, 2]]), 1)
    assert (status, kind, message) == (1, "ValueError", "no 1")
    assert type(exc) is ValueError and "in fail" in trace and "_tasks.py" not in trace


def test_outcomes_are_kept_apart(peer):
    peer.bind(jobs.fail_odd, wire.MODE_OUTCOMES)
    ((status, found),) = peer.answers(peer.chunk([range(4)]), 1)
    assert status == 0
    assert [x for good, x in found if good] == [0, 2]
    exc, trace = found[1][1]
    assert type(exc) is jobs.Mine and exc.args == (1,) and "fail_odd" in trace
    peer.bind(jobs.fail_awkwardly, wire.MODE_OUTCOMES, id=2)
    ((_, [(good, (exc, trace))]),) = peer.answers(peer.chunk([[5]], bound=2), 1)
    assert not good and exc == "jobs.Awkward: 1 and 5" and "Awkward" in trace
    peer.bind(jobs.lambdas, wire.MODE_OUTCOMES, id=4)
    ((status, found),) = peer.answers(peer.chunk([[1, 2]], bound=4), 1)
    assert status == 0 and all(not good and isinstance(e, MaybeEncodingError) for good, (e, _) in found)


def test_errors_of_tasks(peer):
    status, (kind, message, exc, trace) = peer.call(jobs.fail, 3)
    assert (status, kind, message) == (1, "ValueError", "no 3")
    assert type(exc) is ValueError and exc.args == ("no 3",)
    assert trace.startswith("Traceback") and "in fail" in trace
    status, (kind, message, exc, trace) = peer.call(jobs.fail_awkwardly, 3)
    assert (status, kind, message, exc) == (1, "jobs.Awkward", "1 and 3", None)
    assert "in fail_awkwardly" in trace
    peer.bind(jobs.fail_odd)
    found = peer.answers(peer.chunk(range(300)), 300)
    assert [s for s, _ in found] == [0, 1] * 150
    assert [v for s, v in found if not s] == list(range(0, 300, 2))
    assert [v[2].args for s, v in found if s] == [(i,) for i in range(1, 300, 2)]
    assert peer.call(abs, -1) == (0, 1)


def test_errors_raised_in_c_have_a_traceback(peer):
    _, (_, _, exc, trace) = peer.call(int, "x")
    assert type(exc) is ValueError and trace.startswith("Traceback")


def test_results_that_cannot_be_pickled(peer):
    status, (kind, _, exc, _) = peer.call(jobs.Refuses)
    assert status == 1 and kind == "multiprocessing.pool.MaybeEncodingError"
    assert isinstance(exc, MaybeEncodingError) and "not me" in exc.exc and "Refuses" in exc.value
    assert peer.call(abs, -1) == (0, 1)
    peer.bind(jobs.Refuses, wire.MODE_STAR, id=2)
    found = peer.answers(peer.chunk([()] * 200, bound=2), 200)
    assert all(s == 1 and isinstance(v[2], MaybeEncodingError) for s, v in found)


def test_results_go_by_name(peer):
    status, (_, _, exc, _) = peer.call(jobs.lambdas, 3)
    assert status == 1 and isinstance(exc, MaybeEncodingError)


def test_arguments_that_cannot_be_loaded(peer):
    status, (kind, message, exc, trace) = peer.call(abs, jobs.Bomb())
    assert (status, kind) == (1, "LookupError")
    assert message == "loading the argument: while loading"
    assert type(exc) is LookupError and "loading the argument" in trace and "in explode" in trace
    peer.bind(jobs.same)
    found = peer.answers(peer.chunk([1, 2, 3, jobs.Bomb(), 5, Body(b"\0garbage"), Body(b""), Body(b"\7"), 9]), 9)
    assert [s for s, _ in found] == [0, 0, 0, 1, 0, 1, 1, 1, 0]
    assert found[3][1][0] == "LookupError" and found[8] == (0, 9)


def test_functions_that_cannot_be_loaded(peer):
    raw = b"\0" + b"\x80\x04\x8c\x07missing\x8c\x04nameq\x00\x93."
    peer.chunk([Body(struct.pack("<BI", 1, len(raw)) + raw + encoded(((), {})))], bound=0)
    ((status, (kind, message, exc, trace)),) = peer.answers(peer.chunk_id, 1)
    assert (status, kind) == (1, FNL) and message.startswith("loading the function")
    assert isinstance(exc, ModuleNotFoundError)
    peer.send(wire.frame(wire.BIND, item(b"\2" + raw), chunk=5, func=1))
    found = peer.answers(peer.chunk(range(3), bound=5), 3)
    assert [(s, v[0]) for s, v in found] == [(1, FNL)] * 3
    peer.chunk([Body(b"")], bound=0)
    assert peer.answers(peer.chunk_id, 1)[0][0] == 1
    assert peer.call(abs, -1) == (0, 1)


def test_initializer_and_its_result(start):
    for expect, want in ((False, 3), (True, (3, 14))):
        peer = start(config=encoded((jobs.opened, (7,), expect)))
        assert peer.ready()[0] == 0
        assert peer.call(jobs.get_state)[0] == (0 if not expect else 1)
        assert peer.call(jobs.add, 1, 2) == (0, want)
        peer.function()
        for mode, args in ((1, ((1,), {"b": 2})), (3, (1, 2))):
            peer.bind(jobs.add, mode, id=mode)
            assert peer.answers(peer.chunk([args] * 100, bound=mode), 100) == ok([want] * 100)


def test_initializer_that_fails(start):
    peer = start(config=encoded((jobs.fail, ("luck",), False)))
    status, body = peer.ready()
    assert status == 1
    kind, message, exc, trace = error(body)
    assert (kind, message) == ("ValueError", "no luck") and "in fail" in trace
    assert peer.wait() == 1 and peer.says() == ""


def test_initializer_that_exits(start):
    peer = start(config=encoded((sys.exit, (4,), False)))
    assert peer.next()[0]["type"] == wire.HELLO
    assert peer.next()[0] is None
    assert peer.wait() == 4


def test_configuration_in_the_arena(start):
    peer = start(init=False)
    body, _ = payload.encode((jobs.opened, (bytes(50_000),), False), peer.arena)
    peer.init(b"\1" + struct.pack("<QQ", 0, 10))  # nothing there: the arena isn't the worker's here
    status, body = peer.ready()
    assert status == 1 and error(body)[0].endswith("ProtocolError")


def test_another_version(start):
    peer = start(init=False)
    peer.init(version=7)
    status, body = peer.ready()
    assert status == 1 and "version 7" in error(body)[1]


def test_environment_and_group(start):
    peer = start(config=encoded((jobs.opened_env, (), False)))
    assert peer.ready()[0] == 0
    assert peer.call(jobs.get_state) == (0, (None, True, False))
    assert peer.call(jobs.threads, 0) == (0, ["MainThread"])
    assert peer.call(jobs.imported, "cloudpickle") == (0, False)


def test_large_results_lie_in_the_arena(peer):
    for n in (4095, 4096, 5000, 1 << 20, 20 << 20):
        status, value = peer.call(jobs.big, n)
        assert status == 0 and len(value) == n
        assert hasattr(peer, "placed") == (n > 4080)
    held = [peer.call(jobs.block, 2 << 20)[1] for _ in range(3)]
    assert len({bytes(h.data) for h in held}) == 1
    at = peer.placed[0]
    del held
    assert peer.call(jobs.block, 2 << 20)[1].data
    assert peer.placed[0] <= at
    assert peer.placed[0] % 4096 == 0


def test_arena_that_is_full(start):
    peer = start(arena=1 << 20)
    assert peer.ready()[0] == 0
    peer.release = lambda slot, lease: None
    for n in (600_000, 600_000, 600_000, 3 << 20):
        status, value = peer.call(jobs.big, n)
        assert status == 0 and len(value) == n
    del peer.release
    peer.release(peer.placed[2], peer.placed[3])
    del peer.placed
    assert peer.call(jobs.big, 600_000)[0] == 0
    assert peer.placed[0] == 512 << 10


def test_no_arena(start):
    peer = start(arena=0)
    assert peer.ready()[0] == 0
    status, value = peer.call(jobs.block, 2 << 20)
    assert status == 0 and len(value.data) == 2 << 20


def test_results_of_all_sizes(peer):
    rng = random.Random(2)
    sizes = [rng.choice((0, 1, 100, 4000, 4090, 5000, 200_000)) for _ in range(600)]
    peer.bind(jobs.big)
    found = peer.answers(peer.chunk(sizes), len(sizes))
    assert [(s, len(v)) for s, v in found] == [(0, n) for n in sizes]
    peer.bind(jobs.same, id=2)
    texts = ["x" * n for n in sizes]
    assert peer.answers(peer.chunk(texts, bound=2), len(texts)) == ok(texts)
    assert peer.quit() == 0
    assert peer.words[2] == peer.received


def test_arguments_in_the_engines_arena(peer):
    raw = single(len, (bytes(10_000),))
    off = peer.arguments.alloc(len(raw))
    peer.arguments.write(off, [raw])
    place = struct.pack("<QQII", wire.IN_ARENA | len(raw), off, 0, 0)
    peer.send(wire.frame(wire.CHUNK, struct.pack("<qQ", 0, 0) + place, count=1, chunk=1, func=1))
    assert peer.answers(1, 1) == [(0, 10_000)]
    place = struct.pack("<QQII", wire.IN_ARENA | len(raw), 1 << 40, 0, 0)
    peer.send(wire.frame(wire.CHUNK, struct.pack("<qQ", 0, 0) + place, count=1, chunk=2, func=1))
    assert peer.wait() == 70


def stored(peer, obj):
    body, off = payload.encode(obj, peer.arena)
    assert off is not None
    return Body(body), off


@pytest.fixture
def forked(start):
    """A worker with the client's arena."""
    peer = start("fork")
    assert peer.ready()[0] == 0
    peer.function()
    return peer


def test_kept_arguments_are_made_private(forked):
    peer = forked
    data = bytearray(b"\1" * (3 << 20))
    n = len(data) // 4096
    body, off = stored(peer, jobs.Block(data))
    peer.bind(jobs.keep)
    assert peer.answers(peer.chunk([body]), 1) == ok([1])
    peer.arena.write(off, [bytes(3 << 20)])  # the client uses the place again
    assert peer.call(jobs.kept_sums) == (0, [n])


def test_arguments_are_the_tasks_own(forked):
    peer = forked
    peer.bind(change)
    body, off = stored(peer, jobs.Block(bytearray(2 << 20)))
    before = os.pread(peer.client, 3 << 20, off)
    for _ in range(2):
        assert peer.answers(peer.chunk([body]), 1) == ok([(0, 7)])
    assert os.pread(peer.client, 3 << 20, off) == before


def change(b):
    was = b.data[9]
    b.data[9] = 7
    return was, b.data[9]


def test_arguments_that_are_returned(forked):
    peer = forked
    peer.bind(jobs.same)
    data = bytearray(os.urandom(2 << 20))
    body, _ = stored(peer, jobs.Block(data))
    ((status, value),) = peer.answers(peer.chunk([body]), 1)
    assert status == 0 and value.data == data


def test_bound_functions_do_not_depend_on_their_place(forked):
    peer = forked
    body, off = stored(peer, functools.partial(operator.add, bytes(2 << 20)))
    peer.send(wire.frame(wire.BIND, item(b"\2" + body), chunk=1, func=1))
    assert peer.answers(peer.chunk([b"a"]), 1)[0][0] == 0
    data = jobs.Block(bytearray(b"\1" * (2 << 20)))
    body, off = stored(peer, functools.partial(first_byte, data))
    peer.send(wire.frame(wire.BIND, item(b"\2" + body), chunk=2, func=1))
    assert peer.answers(peer.chunk([0], bound=2), 1) == ok([1])
    peer.arena.write(off, [bytes(1 << 20)])
    assert peer.answers(peer.chunk([0], bound=2), 1) == ok([1])


def first_byte(block, i):
    return block.data[i]


def test_numpy(forked):
    np = pytest.importorskip("numpy")
    peer = forked
    peer.bind(jobs.total)
    a = np.ones((600, 700))
    body, _ = stored(peer, a)
    assert peer.answers(peer.chunk([body, np.arange(5)]), 2) == ok([420000.0, 10.0])
    peer.bind(jobs.same, id=2)
    ((_, b),) = peer.answers(peer.chunk([body], bound=2), 1)
    b += a
    assert b.sum() == 840000


def test_nothing_is_kept_alive(peer):
    peer.bind(jobs.make)
    assert [s for s, _ in peer.answers(peer.chunk(range(300)), 300)] == [0] * 300
    peer.bind(jobs.same, id=2)
    peer.answers(peer.chunk([jobs.Counted() for _ in range(300)], bound=2), 300)
    peer.call(jobs.same, jobs.Counted())
    assert peer.call(jobs.alive) == (0, 0)


def test_finished_results_come_while_a_task_runs(peer):
    peer.bind(jobs.first_fast)
    chunk = peer.chunk([0, 0, 30])
    start = time.monotonic()
    assert peer.answers(chunk, 2) == ok([0, 0])
    assert time.monotonic() - start < 5


def test_results_before_a_long_list_of_tiny_tasks_ends(peer):
    peer.bind(jobs.first_fast)
    chunk = peer.chunk([0] * 500 + [30])
    assert peer.answers(chunk, 500) == ok([0] * 500)
    assert peer.words[0] == chunk


def test_killed_worker_leaves_what_it_finished(start):
    for _ in range(5):
        peer = start()
        peer.ready()
        peer.function()
        peer.bind(jobs.die_at)
        chunk = peer.chunk([0, 1, 2, 3, 4, 5, 6, 7, 8])
        assert peer.bury() == -signal.SIGKILL
        assert peer.rest() == ok(range(7))
        assert peer.words[0] == chunk


def test_killed_at_any_moment(start):
    rng = random.Random(5)
    for _ in range(6):
        peer = start()
        peer.ready()
        peer.function()
        peer.bind(abs)
        os.set_blocking(peer.task, False)
        try:
            for _ in range(30):
                peer.send(peer.frame([encoded(-i) for i in range(200)]))
        except BlockingIOError:
            pass  # the worker waits for somebody to read its results
        time.sleep(rng.random() * 0.01)
        peer.kill()
        assert peer.bury() == -signal.SIGKILL
        seen: dict[int, list] = {}
        while peer.buf:
            head, body = peer.next()
            assert head["type"] == wire.RESULTS
            got = seen.setdefault(head["chunk"], [])
            assert head["first"] == len(got)
            got += peer.results(head, body)
        assert list(seen) == list(range(1, len(seen) + 1))
        assert all(got == ok(range(len(got))) for got in seen.values())
        assert all(len(got) == 200 for chunk, got in seen.items() if chunk < len(seen))


def test_exits_of_tasks(start):
    for func, arg, status, says in [
        (jobs.exit_with, 3, 3, ""),
        (jobs.exit_with, None, 0, ""),
        (jobs.shout, 0, 5, "half a line"),
        (jobs.interrupt, 0, (1, -2), "KeyboardInterrupt"),
    ]:
        peer = start()
        peer.ready()
        peer.function()
        peer.bind(func)
        chunk = peer.chunk([arg, arg])
        got = peer.bury()
        assert got == status or got in (status if isinstance(status, tuple) else ())
        assert peer.rest() == []
        assert peer.words[0] == chunk
        assert says in peer.says()


def test_exit_while_loading(start):
    peer = start()
    peer.ready()
    peer.function()
    peer.bind(jobs.same)
    peer.chunk([1, jobs.Exits(), 3])
    assert peer.bury() == 3
    assert peer.rest() == ok([1])


@pytest.mark.parametrize(
    "bad",
    [
        wire.frame(wire.INIT),
        wire.frame(99),
        wire.frame(wire.CHUNK, b"short", count=1, chunk=1, func=1),
        wire.frame(wire.CHUNK, bytes(16), count=1, chunk=1, func=1),
        wire.frame(wire.CHUNK, bytes(16), count=1, chunk=1, func=5),
        wire.frame(wire.CHUNK, struct.pack("<qQ", 0, 77) + item(b"\0N."), count=1, chunk=1, func=1),
        wire.frame(wire.CHUNK, bytes(16) + struct.pack("<Q", 100) + b"N.", count=1, chunk=1, func=1),
        wire.frame(wire.CHUNK, bytes(16) + struct.pack("<Q", 2 | 1 << 56) + b"N.", count=1, chunk=1, func=1),
        wire.frame(wire.BIND, b"", chunk=1, func=1),
        wire.frame(wire.BIND, item(b""), chunk=1, func=1),
        wire.frame(wire.BIND, item(b"\x09\0N."), chunk=1, func=1),
        wire.frame(wire.BIND, item(b"\x01\0N."), chunk=1, func=4),
    ],
)
def test_bad_frames(peer, bad):
    peer.send(bad)
    assert peer.wait() == 70
    assert "brine: worker: " in peer.says() and "Traceback" not in peer.says()


def test_bad_first_frame(start):
    peer = start(init=False)
    peer.send(wire.frame(wire.QUIT))
    assert peer.wait() == 70
    peer = start(init=False)
    peer.send(wire.frame(wire.INIT, b"abc"))
    assert peer.wait() == 70


def test_bad_control_frames(start):
    for bad in (wire.frame(wire.CHUNK), wire.frame(wire.CANCEL, b"x")):
        peer = start()
        peer.ready()
        peer.control.sendall(bad)
        assert peer.wait() == 70


def test_recall(peer):
    peer.bind(jobs.nap)
    running = peer.chunk([0.3, 0.0])
    second, third = peer.chunk([0]), peer.chunk([1])
    while peer.words[0] != running:
        time.sleep(0.001)
    for chunk in (running, second, third + 1, third + 1):
        peer.tell(wire.RECALL, chunk)
    returned = [peer.next()[0] for _ in range(2)]
    assert [(h["type"], h["chunk"]) for h in returned] == [(wire.RETURNED, second), (wire.RETURNED, third + 1)]
    assert peer.answers(running, 2) == ok([0.3, 0.0])
    assert peer.answers(third, 1) == ok([1])
    peer.chunk([0])
    last = peer.chunk([0])
    assert peer.answers(last, 1) == ok([0])
    peer.tell(wire.RECALL, last)
    assert peer.quit() == 0 and peer.frames == []


def test_cancel(peer):
    peer.bind(jobs.nap)
    chunk = peer.chunk([0.3] + [0] * 200)
    waiting = peer.chunk([0])
    while peer.words[0] != chunk:
        time.sleep(0.001)
    peer.tell(wire.CANCEL, chunk)
    peer.tell(wire.CANCEL, waiting)
    found = peer.answers(chunk, 201)
    assert found[0] == (0, 0.3) and found[1:] == [(7, None)] * 200
    assert [(h["type"], h["chunk"]) for h, _ in peer.frames] == [(wire.RETURNED, waiting)]
    assert peer.call(abs, -1) == (0, 1)


def test_cancel_while_tiny_tasks_run(peer):
    peer.bind(abs)
    for _ in range(20):
        first, second = peer.frame([encoded(i) for i in range(2000)]), peer.frame([encoded(1)])
        chunk = peer.chunk_id - 1
        peer.send(first, second)
        peer.tell(wire.CANCEL, chunk)
        peer.tell(wire.RECALL, chunk + 1)
        found = {chunk: [], chunk + 1: []}
        whole = {chunk: 2000, chunk + 1: 1}
        while any(v is not None and len(v) < whole[c] for c, v in found.items()):
            head, body = peer.next()
            if head["type"] == wire.RETURNED:
                assert found[head["chunk"]] == []
                found[head["chunk"]] = None
            else:
                assert head["first"] == len(found[head["chunk"]])
                found[head["chunk"]] += peer.results(head, body)
        if found[chunk]:
            done = [v for s, v in found[chunk] if s == 0]
            assert found[chunk] == ok(range(len(done))) + [(7, None)] * (2000 - len(done))
        assert found[chunk + 1] in (None, ok([1]))
    assert peer.call(abs, -1) == (0, 1)


def test_shared_data_is_taken_and_forgotten(peer):
    fd = os.memfd_create("shared")
    for i in range(1, 4):
        socket.send_fds(peer.control, [wire.frame(wire.SHARE, struct.pack("<Q", 4096), chunk=i)], [fd])
        peer.tell(wire.FORGET, i)
    os.close(fd)
    assert peer.call(abs, -1) == (0, 1)
    assert peer.quit() == 0


MS = 1_000_000


def test_time_limits(peer):
    peer.bind(jobs.nap)
    chunk = peer.chunk([0, 0.3, 0, 0.3, 0], timeout=100 * MS)
    found = peer.answers(chunk, 5)
    assert found == [(0, 0), (6, None), (0, 0), (6, None), (0, 0)]
    assert [(h["type"], h["chunk"], h["first"]) for h, _ in peer.frames] == [(20, chunk, 1), (20, chunk, 3)]
    for _, stacks in peer.frames:
        assert "in nap" in stacks.decode().split("\n\n")[0]
    peer.frames.clear()
    peer.bind(jobs.fail, id=2)
    chunk = peer.chunk([1], bound=2, timeout=100 * MS)
    assert peer.answers(chunk, 1)[0][0] == 1
    peer.chunk([single(jobs.nap, (0.2,))], bound=0, timeout=20 * MS)
    assert peer.answers(peer.chunk_id, 1) == [(6, None)]
    assert len(peer.frames) == 1
    assert peer.answers(peer.chunk([0] * 500, timeout=1000 * MS), 500) == ok([0] * 500)
    assert len(peer.frames) == 1
    assert peer.quit() == 0
    assert peer.words[1] == 0


def test_stuck_in_a_loop_and_in_the_journal(peer):
    peer.bind(jobs.spin)
    before = time.monotonic_ns()
    chunk = peer.chunk([0], timeout=50 * MS)
    head, stacks = peer.next()
    assert (head["type"], head["chunk"], head["first"]) == (20, chunk, 0)
    assert b"in spin" in stacks
    assert before < peer.words[1] < time.monotonic_ns() and peer.words[0] == chunk
    peer.kill(signal.SIGQUIT)
    assert "in spin" in peer.report("in spin")


def test_last_words(peer):
    peer.bind(jobs.segfault)
    peer.chunk([0])
    assert peer.bury() == -signal.SIGSEGV
    assert "in segfault" in peer.report("in segfault")


def gone(pid):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("func", [jobs.spin, jobs.nap, None])
def test_death_with_the_engine(peer, func):
    status, child = peer.call(jobs.child, "")
    if func is not None:
        peer.bind(func)
        peer.chunk([100])
        time.sleep(0.05)
    peer.control.close()
    assert peer.wait() == -signal.SIGKILL
    assert gone(child)


def test_children_of_tasks(peer):
    assert peer.call(jobs.descriptors, range(3, 9)) == (0, "[]")
    assert peer.call(jobs.come_back, 0) == (0, True)
    assert peer.call(jobs.nested, 2) == (0, [2, 1])
    peer.bind(jobs.come_back)
    assert peer.answers(peer.chunk(range(5)), 5) == ok([True] * 5)


def test_memory_cap(start):
    peer = start(cap=1 << 30)
    assert peer.ready()[0] == 0
    assert peer.call(jobs.limit, 0) == (0, 1 << 30)
    status, (kind, *_) = peer.call(bytearray, 2 << 30)
    assert (status, kind) == (1, "MemoryError")


def test_frames_larger_than_the_buffer(peer):
    data = os.urandom(3 << 20)
    assert peer.call(len, data) == (0, 3 << 20)
    peer.bind(len)
    assert peer.answers(peer.chunk([data[: 300_000 + i] for i in range(20)]), 20) == ok(
        [300_000 + i for i in range(20)]
    )
    assert peer.call(len, b"") == (0, 0)


def test_frames_in_pieces(peer):
    peer.bind(abs)
    data = peer.frame([encoded(-1)] * 3) + peer.frame([encoded(-2)])
    for b in data:
        peer.send(bytes([b]))
    assert peer.answers(1, 3) == ok([1] * 3)
    assert peer.answers(2, 1) == ok([2])


def test_account(peer):
    peer.bind(jobs.nap)
    chunk = peer.chunk([0.05])
    peer.answers(chunk, 1)
    run, decode, encode, bound = peer.spent
    assert 50 * MS <= run < 5000 * MS and bound > 0
    total = 0
    peer.bind(abs, id=2)
    start = time.monotonic_ns()
    chunk = peer.chunk(range(3000), bound=2)
    found = 0
    while found < 3000:
        head, body = peer.next()
        found += len(peer.results(head, body))
        total += sum(peer.spent)
    assert 0 < total <= time.monotonic_ns() - start


def test_by_hand():
    done = subprocess.run(
        [sys.executable, "-m", "brine._worker"], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True
    )
    assert done.returncode == 1 and "pool's worker" in done.stderr


def test_concrete_errors_are_plain_pickles(peer):
    peer.chunk([single(jobs.fail, (1,))], bound=0)
    head, body = peer.next()
    word, off = wire.take_u64(body, 32)
    _, _, concrete = wire.decode_error(body[off : off + (word & wire.LENGTH_MASK)])
    assert isinstance(pickle.loads(concrete), tuple)
