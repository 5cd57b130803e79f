"""One worker as the client sees it: a process of multiprocessing, and the descriptors that belong to it.

It knows how descriptors reach a process with each start method; it doesn't know what goes over them.
"""

from __future__ import annotations

import array
import mmap
import os
import pickle
import socket
import threading
import time
from multiprocessing import connection, heap
from typing import Any, Optional

from . import _descriptors as descriptors
from . import _entry as entry
from . import _memory as memory
from . import _payload as payload
from . import _send as send
from ._lent import LEASES_SIZE

# The order in which they come with a start frame: what the worker keeps, then what is for the client alone.
NAMES = ("task", "result", "control", "crash", "journal", "leases", "stderr")
_REAPING = 1000  # milliseconds that another thread may take to write an exit code down
_KEPT = ("journal", "leases", "arena")  # by the client too


class Worker:
    """A worker that the engine asked for."""

    def __init__(self, number: int, fds: list[int]) -> None:
        self.number = number
        self._given = dict(zip(NAMES, fds))
        self.journal = self._given["journal"]
        self.size = os.fstat(self.journal).st_size
        self._leases_fd = self._given["leases"]
        self.task, self.result = fds[len(NAMES) :]
        self.process: Any = None
        self.pid = 0
        self.report = ""
        self.stderr = ""
        self.reason = ""
        self.exitcode: Optional[int] = None
        self.ended = threading.Event()
        self._leases: Optional[memoryview] = None
        self._held = 0  # uses of its descriptors: results in its arena, a lease
        self._closing = False
        self._lock = threading.Lock()

    def inherited(self, arena: int) -> entry.Inherited:
        """Return the descriptors for the process, with that of the client's arena."""
        self._given["arena"] = arena
        return entry.Inherited(**self._given)

    def start(self, process: Any) -> None:
        """Start the process. Whether or not it starts, what the client doesn't need of its descriptors is closed."""
        descriptors.spare(self._given.values())
        try:
            process.start()
            self.process, self.pid = process, process.pid
        finally:
            descriptors.spare(())
            descriptors.close(*(fd for name, fd in self._given.items() if name not in _KEPT))

    def load(self, offset: int, length: int, slot: int, lease: int) -> Any:
        """Return a result that lies in the worker's arena, which is given back when nothing refers to it any more."""
        self.hold()
        return payload.load_stored(self.journal, offset, length, self.size, lambda: self.release(slot, lease))

    def hold(self) -> None:
        """Keep the worker's descriptors open beyond its end."""
        with self._lock:
            self._held += 1

    def unhold(self) -> None:
        """End what hold began."""
        with self._lock:
            self._held -= 1
            self._close_if_unused()

    def release(self, slot: int, lease: int) -> None:
        """Tell the worker that the place of a result is free, and forget it."""
        with self._lock:
            if self._leases is None:
                self._leases = memoryview(mmap.mmap(self._leases_fd, LEASES_SIZE)).cast("I")
            self._leases[slot] = lease
            self._held -= 1
            self._close_if_unused()

    def end(self, report: str, stderr: str, reason: str) -> None:
        """Take note of the process's end, and reap it. What lies in its arena stays as long as it is used."""
        self.report, self.stderr, self.reason = report, stderr, reason
        if self.process is not None:
            self.exitcode = _reap(self.process)
            self.process = None
        with self._lock:
            self._closing = True
            self._close_if_unused()
        self.ended.set()

    def _close_if_unused(self) -> None:
        if self._closing and self._held == 0:
            self._leases = None
            descriptors.close(self.task, self.result, self.journal, self._leases_fd)
            self._closing = False


def _reap(process: Any) -> Optional[int]:
    """Wait for a process that has ended, and return its exit code."""
    process.join()
    for _ in range(_REAPING):
        if process.exitcode is not None:
            break
        # Another thread, which starts a process, has just reaped this one, and not written it down yet.
        time.sleep(0.001)
    return process.exitcode


class Configuration:
    """What each worker is told when it starts: the body of the init frame, and its place in the arena."""

    def __init__(self, body: bytes, place: Optional[int]) -> None:
        self.body, self.place = body, place


def configuration(ctx: Any, options: Any, account: Any) -> tuple[Configuration, Any]:
    """Return what is pickled once for all workers, and what each one's process gets as an argument.

    Forked workers inherit everything. The others are sent what can be pickled in the configuration; locks, queues and
    whatever else multiprocessing only passes on while it starts a process go with the process, each for itself.
    """
    if options.initializer is None:
        return Configuration(b"", None), None
    if ctx.get_start_method() == "fork":
        return Configuration(b"", None), (options.initializer, options.initargs)
    began = time.perf_counter_ns()
    name = send.name_of(options.initializer)
    inherited: dict[int, Any] = {}
    try:
        data = _dump((options.initializer, options.initargs, options.expect_initret))
    except Exception:
        args = list(options.initargs)
        for i, arg in enumerate(options.initargs):
            try:
                _dump(arg)
            except Exception:
                inherited[i] = arg
                args[i] = None
        try:
            data = _dump((entry.initialize, (options.initializer, tuple(args)), options.expect_initret))
        except Exception:
            return Configuration(b"", None), (options.initializer, options.initargs)
    send.warn_if_large(
        (options.initializer, options.initargs),
        lambda: f"what the initializer {name} gets",
        data.size,
        "with the start method fork it would be inherited and not sent at all",
    )
    body, place = payload.body(data, memory.arena())
    account.dumped(name, "initializer", 1, data.size, data.size, time.perf_counter_ns() - began)
    return Configuration(body, place), inherited or None


def _dump(obj: Any) -> Any:
    return payload.dump(obj, make_pickler=_ConfigurationPickler)


class _ConfigurationPickler(pickle.Pickler):
    """Pickles what all workers can load, and refuses what only one could."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _ONCE):
            raise pickle.PicklingError(f"{type(obj).__name__} can only be inherited")
        if type(obj) is array.array and obj.typecode not in "uw":
            return entry.fill, (obj.typecode, pickle.PickleBuffer(obj))
        return NotImplemented


_ONCE = (connection.Connection, socket.socket, heap.Arena)
