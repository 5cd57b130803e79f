"""A hostile client: whatever comes over its socket ends that engine alone, with an error, and never hangs or breaks it."""

import array
import contextlib
import fcntl
import os
import random
import shutil
import socket
import struct
import tempfile
import threading

import pytest
import tasks
import watch

import brine

HEADER = struct.Struct("<IIBB2xIQII")  # length, count, type, flags, pool, job, first, worker: docs/PROTOCOL.md
VERSION = 2
HELLO, OPEN, STARTED, SUBMIT, EXTEND, CANCEL, CLOSE, KILL, LEASE, UNLEASE, STATS = range(33, 44)
ENGINE_HELLO, ERROR = 65, 75
RANDOM_CASES = int(os.environ.get("BRINE_FUZZ", "150"))


def frame(type, payload=b"", *, length=None, count=0, flags=0, pool=0, job=0, first=0, worker=0):
    size = len(payload) if length is None else length
    return HEADER.pack(size, count, type, flags, pool, job, first, worker) + payload


def text(s):
    return struct.pack("<I", len(s)) + s


HI = frame(HELLO, struct.pack("<II", VERSION, os.getpid()))


def open_(workers=1, *, pool=1, **more):
    return frame(OPEN, struct.pack("<IIqqqI", workers, 0, 0, 0, 0, 0) + text(b"fuzz"), pool=pool, **more)


def submit(lengths, bodies, *, name=b"f", bound=b"", timeout=0, **more):
    payload = text(name) + struct.pack("<qIIq", timeout, 0, 0, 0) + text(bound)
    return frame(
        SUBMIT, payload + struct.pack(f"<{len(lengths)}I", *lengths) + bodies, **{"count": len(lengths), **more}
    )


@contextlib.contextmanager
def engine():
    """An engine of our own: its process id, our end of its socket, and what it writes to its standard error."""
    path = (
        os.environ.get("BRINE_ENGINE")
        or shutil.which("brine")
        or os.path.join(os.path.dirname(brine.__file__), "_bin/brine")
    )
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as err, ours:
        # The number 3 may be taken by what must stay as it is in the child, so that is moved first.
        high = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 100)
        theirs.close()
        actions = [(os.POSIX_SPAWN_DUP2, err.fileno(), 2), (os.POSIX_SPAWN_DUP2, high, 3)]
        pid = os.posix_spawn(path, ["brine", "engine"], os.environ, file_actions=actions)
        os.close(high)
        try:
            yield pid, ours, err
        finally:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, 9)
                os.waitpid(pid, 0)


def answers(ours):
    """The frames that come until the engine closes its end, with their payloads."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := ours.recv(1 << 16):
            data += more
    found = []
    while len(data) >= HEADER.size:
        length, _, type, *_ = HEADER.unpack_from(data)
        found.append((type, data[HEADER.size : HEADER.size + length]))
        data = data[HEADER.size + length :]
    return found


def end_of(pid):
    """The exit status, waited for as long as is decent."""
    status = watch.wait_until(lambda: (got := os.waitpid(pid, os.WNOHANG)) != (0, 0) and got, 10)[1]
    return os.waitstatus_to_exitcode(status)


def send(data, *fds):
    """What an engine answers to these bytes, how it ended, and what it said."""
    with engine() as (pid, ours, err):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if fds:
                ours.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
            else:
                ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)
        found = answers(ours)
        status = end_of(pid)
        err.seek(0)
        said = err.read().decode(errors="replace")
    assert "panic" not in said and "goroutine" not in said and "fatal error" not in said, said
    return found, status, said


def refused(data, *fds):
    """The engine must say what was wrong, or end with a status that does."""
    found, status, _ = send(data, *fds)
    if found and found[-1][0] == ERROR:
        assert len(found[-1][1]) > 4  # there are words in it
        return
    assert status > 0, (found, status)


BAD = {
    "no hello": open_(),
    "another version": frame(HELLO, struct.pack("<II", 99, 1)),
    "hello cut short": frame(HELLO, b"\1\0"),
    "hello twice": HI + HI,
    "unknown type": HI + frame(200),
    "type of the engine's": HI + frame(ENGINE_HELLO, bytes(12)),
    "type 0": HI + frame(0),
    "open without a descriptor": HI + open_(),
    "open cut short": HI + frame(OPEN, b"\1\0\0\0", pool=1),
    "open with a name too long": HI + frame(OPEN, bytes(36) + struct.pack("<I", 1 << 31), pool=1),
    "submit to no pool": HI + submit([0], b"", pool=5, job=1),
    "submit cut short": HI + frame(SUBMIT, b"\xff\xff\xff\xff", pool=1, job=1, count=1),
    "submit with more tasks than bytes": HI + submit([], b"", pool=1, job=1, count=0xFFFFFFFF),
    "submit with a body too long": HI + submit([1 << 31], b"a", pool=1, job=1),
    "extend of no job": HI + frame(EXTEND, bytes(8), job=77),
    "started of no worker": HI + frame(STARTED, struct.pack("<I", 1), worker=9),
    "started of the init process": HI + frame(STARTED, struct.pack("<I", 1), worker=1),
    "close of no pool": HI + frame(CLOSE, pool=3),
    "kill of no pool": HI + frame(KILL, pool=3),
    "lease of no pool": HI + frame(LEASE, pool=3),
    "stats of no pool": HI + frame(STATS, pool=3),
    "unlease of no worker": HI + frame(UNLEASE, bytes(77), worker=3),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_rules_that_are_broken(data):
    refused(data)


CUT = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",  # it reads as a long frame
    "nothing": b"",
    "half a header": HI[:10],
    "header alone": HI[: HEADER.size],
    "hello and half a frame": HI + open_()[:20],
    "length without bytes": HI + frame(STATS, length=0xFFFFFF00, pool=1),
    "length over all bounds": HI + frame(STATS, length=0xFFFFFFFF, pool=1),
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
def test_what_is_cut_short(data):
    """The end of the socket is the end of the client: the engine goes, whatever it was waiting for."""
    send(data)


def test_a_good_client():
    """So that the others are refused for what they did."""
    with open(os.devnull) as f:
        found, status, said = send(HI + frame(CANCEL, job=5), f.fileno())
    assert found[0][0] == ENGINE_HELLO and struct.unpack_from("<I", found[0][1])[0] == VERSION, (found, said)


@pytest.mark.parametrize("workers", [0, 0xFFFFFFFF])
def test_odd_numbers_of_workers(workers):
    with open(os.devnull, "w") as f:
        refused(HI + open_(workers), f.fileno())


def test_worker_that_is_somebody_else():
    """A client that names a process which is no child of its own must not get it killed."""
    stranger = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    try:
        with open(os.devnull, "w") as f:
            send(HI + open_() + frame(STARTED, struct.pack("<I", stranger), worker=2**31), f.fileno())
        assert watch.alive(stranger)
    finally:
        os.kill(stranger, 9)
        os.waitpid(stranger, 0)


def mangled(dice):
    """Frames that begin well and end badly."""
    sane = [
        open_(),
        submit([1, 2], b"abc", pool=1, job=1),
        frame(EXTEND, bytes(8) + struct.pack("<I", 3) + b"abc", job=1, count=1),
        *(frame(type, bytes(dice.randrange(80)), pool=1, job=1, worker=1) for type in range(33, 44)),
    ]
    data = bytearray(b"".join(dice.choice(sane) for _ in range(dice.randrange(1, 6))))
    for _ in range(dice.randrange(4)):
        kind = dice.randrange(4)
        at = dice.randrange(len(data))
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at : at + 4] = struct.pack("<I", dice.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, dice.getrandbits(32)]))
        elif kind == 2:
            del data[at : at + dice.randrange(1, 40)]
            data = data or bytearray(b"\0")
        else:
            data[at:at] = dice.randbytes(dice.randrange(1, 40))
    return (HI if dice.random() < 0.9 else b"") + bytes(data)


@pytest.mark.limit(60)
def test_random_frames(pool):
    """Many hostile clients, some with descriptors; a good one beside them notices nothing."""
    dice = random.Random(11)
    stop, wrong = threading.Event(), []

    def work():
        while not stop.is_set():
            if pool.map(tasks.square, range(50)) != [i * i for i in range(50)]:
                wrong.append("results")

    neighbour = threading.Thread(target=work)
    neighbour.start()
    try:
        with open(os.devnull, "w") as f:
            for _ in range(RANDOM_CASES):
                send(mangled(dice), *([f.fileno()] * dice.choice([0, 1, 1, 3])))
    finally:
        stop.set()
        neighbour.join()
    assert not wrong
