"""The lane: an idle worker that is lent to the client, for calls that wait for their answer.

The caller writes his call into the worker's pipe and reads the answer from it: two hand-overs between processes, where the way
through the engine takes four and two more between threads. The lane knows one worker's pipes; the engine watches the worker
meanwhile, and asks for it back when it has other work for it.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
from _thread import allocate_lock
from typing import Any

from . import _failure as failures
from . import _payload as payload
from . import _wire as wire

_CALL = struct.Struct(
    "<IIBBHIQIIqQQ"
)  # the header of a chunk frame, its time limit and bound arguments, the item's word
_ANSWER = struct.Struct("<IIBBHIQIIqqqqQ")  # the header of a results frame, the account, the item's word
_BEHIND_CALL = 16 + 8
_READ = 1 << 16
_CALLS = 0xFFFFFFFF  # the number that stands for all functions here: calls carry theirs with them
_PATIENCE = 64  # calls after which a worker is asked for again, when there was none


class Lost(Exception):
    """The worker has ended, or can't be used any more: the call may have been begun."""


class NotBegun(Lost):
    """The worker had ended before the call."""


class Lane:
    """The lane of one pool. Its methods may be called from any thread."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._busy = allocate_lock()  # held by whoever uses the worker, and while there is none
        self._busy.acquire()
        self._asking = threading.Lock()
        self._answer = threading.Event()
        self._skip = 0
        self._worker: Any = None
        self._revoked = False
        self._over = False
        self._next = 0
        self._received = 0
        self._tasks = self._failed = 0
        self._spent = [0, 0, 0, 0]
        self._calls: dict[str, list[int]] = {}  # of a function: count, bytes, largest, nanoseconds, bytes of results
        self._sent = self._got = 0  # bytes of arguments and of results, in this lease
        self._size = 0  # bytes of the last result

    def take(self) -> bool:
        """Return whether the caller may use the lane now. If so, leave must follow."""
        if self._busy.acquire(False):
            return True
        if self._worker is not None or self._over:
            return False
        if self._skip:
            self._skip -= 1
            return False
        return self._ask()

    def _ask(self) -> bool:
        """Ask the engine for a worker."""
        if not self._asking.acquire(False):
            return False
        try:
            if self._worker is not None or self._over:
                return False
            self._answer.clear()
            if self._over:
                return False
            self._core.engine.send(wire.frame(wire.CLIENT_LEASE, epoch=self._core.number))
            self._answer.wait()
            if self._worker is None:
                self._skip = _PATIENCE
                return False
            return True
        finally:
            self._asking.release()

    def leased(self, worker: Any, view: Any) -> None:
        """The engine's answer, from its reader: a worker, or None."""
        if worker is not None and not self._over:
            self._next, self._received = struct.unpack_from("<QQ", view)
            self._tasks = self._failed = 0
            self._spent = [0, 0, 0, 0]
            self._sent = self._got = 0
            self._revoked = False
            self._worker = worker
            worker.hold()
        self._answer.set()

    def call(self, body: bytes) -> tuple[bool, Any]:
        """Have the worker run a call, and return what came of it: True and the value, or False and the exception.

        Raises:
            Lost: the worker has ended.
        """
        worker, number = self._worker, self._next
        self._next = number + 1
        length = len(body)
        frame = _CALL.pack(_BEHIND_CALL + length, 1, wire.CHUNK, 0, 0, 0, number, 0, _CALLS, 0, 0, length)
        try:
            os.write(worker.task, frame + body)
        except OSError:
            raise NotBegun from None
        try:
            data = os.read(worker.result, _READ)
            size = _ANSWER.size
            while len(data) < size or len(data) < 32 + int.from_bytes(data[:4], "little"):
                more = os.read(worker.result, max(_READ, 32 + int.from_bytes(data[:4], "little") - len(data)))
                if not more:
                    raise Lost
                data += more
        except OSError:
            raise Lost from None
        length, count, kind, _, _, _, chunk, first, _, run, decode, encode, bound, word = _ANSWER.unpack_from(data)
        if kind != wire.RESULTS or chunk != number or count != 1 or first or len(data) != 32 + length:
            raise Lost
        self._received += len(data)
        self._tasks += 1
        spent = self._spent
        spent[0] += run
        spent[1] += decode
        spent[2] += encode
        spent[3] += bound
        self._size = size_got = word & wire.LENGTH_MASK
        self._got += size_got
        if word < wire.IN_ARENA:
            if data[size]:
                return True, payload.load(memoryview(data)[size : size + word])
            return True, pickle.loads(memoryview(data)[size + 1 : size + word])
        if word < 2 * wire.IN_ARENA:
            offset, slot, lease = wire.PLACE.unpack_from(data, size)
            return True, worker.load(offset, word - wire.IN_ARENA, slot, lease)
        self._failed += 1
        length = word & wire.LENGTH_MASK
        return False, failures.remote_exception(memoryview(data)[size : size + length])

    def count(self, call: Any) -> None:
        """Put a call that was answered on the lane's account, which goes to the pool's when the worker is given back."""
        function = call.function
        line = self._calls.get(function.name)
        if line is None:
            line = self._calls[function.name] = [0, 0, 0, 0, 0]
        line[0] += 1
        line[1] += call.size
        if call.size > line[2]:
            line[2] = call.size
        line[3] += call.nanoseconds
        line[4] += self._size
        self._sent += call.size
        if not function.named:
            self._core.account.dumped(function.name, "function", 1, function.size, function.size, 0)

    def leave(self) -> None:
        """End the use of the lane."""
        if self._revoked:
            self._give_back(False)
            return
        self._busy.release()
        if self._revoked and self._busy.acquire(False):
            self._give_back(False)

    def broken(self) -> Any:
        """End the use of a lane whose worker has ended, or must. Return the worker."""
        worker = self._worker
        self._give_back(True)
        return worker

    def ended(self, worker: Any) -> None:
        """The worker has ended. Called by the engine's reader; if it is in use, its user finds out."""
        if worker is self._worker and self._busy.acquire(False):
            self._give_back(True)

    def revoke(self) -> None:
        """The engine wants the worker back. Called by its reader."""
        self._revoked = True
        if self._busy.acquire(False):
            self._give_back(False)

    def give_back(self) -> None:
        """Give the worker back if nobody uses it, and when he has done if somebody does."""
        if self._worker is not None:
            self.revoke()

    def lost(self) -> None:
        """The pool is over: there is nothing to be had any more."""
        self._over = True
        self._answer.set()

    def _give_back(self, broken: bool) -> None:
        """Hand the worker to the engine. The caller holds _busy, which stays held until there is another one."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        calls, self._calls = self._calls, {}
        for name, (count, size, largest, nanoseconds, got) in calls.items():
            self._core.account.dumped(name, "argument", count, size, largest, nanoseconds)
            self._core.account.loaded(name, count, got, got // count, 0)
        only = next(iter(calls)) if len(calls) == 1 else ""
        head = struct.pack("<QQII", self._next, self._received, self._tasks, self._failed) + wire.text(only)
        account = head + struct.pack("<QQqqqqB", self._sent, self._got, *self._spent, broken)
        worker.unhold()
        self._core.engine.send(wire.frame(wire.CLIENT_UNLEASE, account, epoch=self._core.number, func=worker.number))
