"""A pool of one worker, as far as bytes go: what the tests of workers talk to workers with."""

from __future__ import annotations

import fcntl
import mmap
import multiprocessing
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys

from brine import _payload as payload
from brine import _wire as wire
from brine import _worker
from brine._arena import Arena

JOURNAL = 512 << 10
LEASES = 16 << 10
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WAIT = 20.0  # seconds, for what takes none


class Descriptors:
    """The worker's descriptors, which survive being pickled for a process that is being spawned."""

    def __init__(self, fds):
        self.fds = fds

    def __getstate__(self):
        from multiprocessing.reduction import DupFd

        return {name: DupFd(fd) for name, fd in self.fds.items() if fd >= 0}

    def __setstate__(self, state):
        self.fds = {name: fd.detach() for name, fd in state.items()}


ours: list[int] = []  # what a child that is forked now must not have


def target(descriptors, inherited, expect):
    for fd in ours:
        os.close(fd)
    _worker.main(descriptors, inherited, expect)


class Peer:
    """A worker, seen from the engine.

    method is None for a process of its own that gets its descriptors as 3 to 8, or a start method of multiprocessing.
    """

    def __init__(self, method=None, arena=64 << 20, inherited=None, expect=False, config=b"", init=True, cap=0):
        self.task_r, self.task = os.pipe()
        self.result, result_w = os.pipe()
        self.control, control = socket.socketpair()
        self.crash, crash_w = os.pipe()
        self.stderr, stderr_w = os.pipe()
        self.journal = os.memfd_create("journal")
        os.ftruncate(self.journal, JOURNAL + arena)
        self.leases = os.memfd_create("leases")
        os.ftruncate(self.leases, LEASES + arena)
        self.client = os.memfd_create("client")
        os.ftruncate(self.client, 256 << 20)
        self.arena = Arena(self.client, 0, 256 << 20)
        self.arguments = Arena(self.leases, LEASES, LEASES + arena)
        read_only = os.open(f"/proc/self/fd/{self.leases}", os.O_RDONLY)
        fds = {
            "task": self.task_r,
            "result": result_w,
            "control": control.fileno(),
            "crash": crash_w,
            "journal": self.journal,
            "leases": read_only,
            "stderr": stderr_w,
            "arena": self.client,
        }
        self.process = self.popen = None
        if method is None:
            self._popen(fds)
        else:
            process = multiprocessing.get_context(method).Process(
                target=target, args=(Descriptors(fds), inherited, expect), daemon=True
            )
            if method == "fork":
                ours.extend((self.task, self.result, self.crash, self.stderr, self.control.fileno()))
            process.start()
            ours.clear()
            self.process = process
            self.pid = process.pid
        for fd in (self.task_r, result_w, crash_w, read_only, stderr_w):
            os.close(fd)
        control.close()
        self.words = memoryview(mmap.mmap(self.journal, JOURNAL, prot=mmap.PROT_READ)).cast("Q")
        self.lease_words = memoryview(mmap.mmap(self.leases, LEASES)).cast("I")
        self.buf = bytearray()
        self.received = 0
        self.chunk_id = 0
        self.frames = []
        self.stderr_text = b""
        if init:
            self.init(config, cap)

    def _popen(self, fds):
        names = ("task", "result", "control", "crash", "journal", "leases")

        def place():
            high = [fcntl.fcntl(fds[name], fcntl.F_DUPFD, 100) for name in names]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)

        env = {**os.environ, "BRINE_WORKER": "1", "PYTHONPATH": ROOT + os.pathsep + os.path.join(ROOT, "tests")}
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "brine._worker"],
            preexec_fn=place,
            close_fds=True,
            pass_fds=range(3, 9),
            env=env,
            stdin=subprocess.DEVNULL,
            stderr=fds["stderr"],
        )
        self.pid = self.popen.pid

    # What the engine sends.

    def send(self, *frames):
        data = memoryview(b"".join(frames))
        while data:
            data = data[os.write(self.task, data) :]

    def init(self, config=b"", cap=0, version=wire.VERSION):
        head = struct.pack("<I", version) + wire.text("the build") + struct.pack("<q", cap) + wire.text("") * 2
        self.send(wire.frame(wire.INIT, head + item(config)))

    def ready(self):
        """Return status and body of the ready frame."""
        head, body = self.next()
        assert head["type"] == wire.HELLO, head
        assert body == struct.pack("<II", wire.VERSION, self.pid) + wire.text("the build")
        head, body = self.next()
        assert head["type"] == wire.READY, head
        return body[0], body[9:]

    def function(self, number=1):
        self.send(wire.frame(wire.FUNC, b"name", func=number))

    def bind(self, func, mode=wire.MODE_ITEM, number=1, id=1):
        self.send(wire.frame(wire.BIND, item(bytes([mode]) + encoded(func)), chunk=id, func=number))

    def frame(self, bodies, bound=1, timeout=0, number=1):
        self.chunk_id += 1
        data = struct.pack("<qQ", timeout, bound) + b"".join(map(item, bodies))
        return wire.frame(wire.CHUNK, data, count=len(bodies), chunk=self.chunk_id, func=number)

    def chunk(self, args, bound=1, timeout=0):
        """Send a chunk of tasks with these arguments and return its id."""
        self.send(self.frame([a if isinstance(a, Body) else encoded(a) for a in args], bound, timeout))
        return self.chunk_id

    def call(self, func, *args, **kwds):
        """Run one task without bound arguments and return its (status, value)."""
        named = kwds.pop("named", 0)
        self.function()
        self.chunk([single(func, args, kwds, named)], bound=0)
        (answer,) = self.answers(self.chunk_id, 1)
        return answer

    def tell(self, type, chunk):
        self.control.sendall(wire.frame(type, chunk=chunk))

    # What the worker sends.

    def next(self, wait=WAIT):
        """Return the next frame as (header, payload); (None, b"") at the end."""
        while True:
            if len(self.buf) >= 32:
                n, count, type, flags, _, epoch, chunk, first, func = wire.HEADER.unpack_from(self.buf)
                if len(self.buf) >= 32 + n:
                    body = bytes(self.buf[32 : 32 + n])
                    del self.buf[: 32 + n]
                    return dict(type=type, count=count, chunk=chunk, first=first), body
            if not select.select([self.result], [], [], wait)[0]:
                raise AssertionError(f"no frame; the worker says {self.says()}")
            data = os.read(self.result, 1 << 20)
            if not data:
                assert not self.buf
                return None, b""
            self.received += len(data)
            self.buf += data

    def answers(self, chunk, n, first=0):
        """Return n results of a chunk as (status, value), in order. Other frames are put into self.frames."""
        found = []
        while len(found) < n:
            head, body = self.next()
            assert head is not None, self.says()
            if head["type"] != wire.RESULTS:
                self.frames.append((head, body))
                continue
            assert head["chunk"] == chunk and head["first"] == first + len(found), head
            found += self.results(head, body)
        return found

    def results(self, head, body):
        off = 32
        spent = struct.unpack_from("<4q", body)
        assert all(s >= 0 for s in spent)
        self.spent = spent
        found = []
        for _ in range(head["count"]):
            word, off = wire.take_u64(body, off)
            status, n = word >> 56, word & wire.LENGTH_MASK
            if word & wire.IN_ARENA:
                at, slot, lease = wire.PLACE.unpack_from(body, off)
                off += 16
                limit = os.fstat(self.journal).st_size
                value = payload.load_stored(self.journal, at, n, limit, lambda s=slot, v=lease: self.release(s, v))
                self.placed = (at, n, slot, lease)
            else:
                raw, off = wire.take(body, off, n)
                if status in (wire.TASK_ERROR, wire.EXPIRED) and raw:
                    value = error(raw)
                else:
                    value = payload.load(raw) if raw else None
            found.append((status, value))
        assert len(body) - off < 8
        return found

    def release(self, slot, lease):
        self.lease_words[slot] = lease

    def tail(self):
        """Return what a dead worker had finished and not written, as link.Journal does."""
        last = self.words[3] - 8
        if last < 0:
            return b""
        area = bytes(self.words.cast("B")[4096:])
        (word,) = struct.unpack_from("<Q", area, last)
        end = last
        if word >> 32:
            end += 32 + (word & 0xFFFFFFFF)
        base = self.words[2]
        if not base <= self.received < base + end:
            return b""
        return area[self.received - base : end]

    def bury(self):
        """Wait for the worker's end, and take what its pipe and its journal still hold into the buffer."""
        status = self.wait()
        while True:
            data = os.read(self.result, 1 << 20)
            if not data:
                break
            self.received += len(data)
            self.buf += data
        self.buf += self.tail()
        return status

    def rest(self):
        """Return all results in the buffer."""
        found = []
        while self.buf:
            head, body = self.next()
            if head["type"] == wire.RESULTS:
                assert head["first"] == len(found)
                found += self.results(head, body)
        return found

    def quit(self):
        """End the worker in order, and return its exit status."""
        self.send(wire.frame(wire.QUIT))
        while True:
            head, body = self.next()
            if head["type"] == wire.BYE:
                assert body[0] == 0
                break
        assert self.next()[0] is None
        return self.wait()

    def wait(self):
        """Wait for the worker's end. Return its exit status, or the signal as a negative number."""
        if self.popen is not None:
            return self.popen.wait(WAIT)
        self.process.join(WAIT)
        assert self.process.exitcode is not None, "the worker hangs"
        return self.process.exitcode

    def kill(self, sig=signal.SIGKILL):
        os.kill(self.pid, sig)

    def says(self):
        """Return what came on standard error."""
        os.set_blocking(self.stderr, False)
        try:
            while True:
                data = os.read(self.stderr, 1 << 16)
                if not data:
                    break
                self.stderr_text += data
        except BlockingIOError:
            pass
        return self.stderr_text.decode()

    def report(self, until):
        """Return what came on the crash pipe up to a text, or all if that doesn't come."""
        found = b""
        while until.encode() not in found and select.select([self.crash], [], [], WAIT)[0]:
            data = os.read(self.crash, 1 << 16)
            if not data:
                break
            found += data
        return found.decode()

    def close(self):
        try:
            if self.popen is not None and self.popen.poll() is None:
                self.kill()
            if self.process is not None and self.process.is_alive():
                self.kill()
            self.wait()
            if self.process is not None:
                self.process.close()
        finally:
            self.control.close()
            self.words = self.lease_words = None  # the mappings have descriptors of their own
            for fd in (self.task, self.result, self.crash, self.stderr, self.journal, self.leases, self.client):
                os.close(fd)


class Body(bytes):
    """A body that is encoded already."""


def item(body):
    return struct.pack("<Q", len(body)) + body


def encoded(obj):
    return Body(payload.inline(payload.dump(obj)))


def single(func, args=(), kwds=None, named=0):
    f = encoded(func)
    return Body(struct.pack("<BI", named, len(f)) + f + encoded((args, kwds or {})))


def error(raw):
    """Return (type, message, exception, traceback) of an encoded error."""
    kind, message, concrete = wire.decode_error(raw)
    exc, trace = pickle.loads(concrete)
    return kind, message, exc, trace
