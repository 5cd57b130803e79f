"""Arguments on their way from an iterable to the engine: pulled, pickled and sent in batches, as far as there is room.

A feed runs in the caller's thread as long as it need not wait, then in one of its own. It knows the job that it is for and
when the workers are hungry; it doesn't know functions, nor what becomes of the results.
"""

from __future__ import annotations

import itertools
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Optional

from . import _memory as memory
from . import _payload as payload
from . import _send as send
from ._core import TERMINATE
from .errors import CancelledError, PoolClosedError, SendError

_BATCH = 512  # tasks that are sent together at most
_BATCH_BYTES = 1 << 18
_FIRST = 16  # tasks in the first batch, the next has twice as many
_SNACK = 16  # that are worth a frame when the workers will soon run out
_LATEST = 1_000_000  # nanoseconds after which a slow iterable's elements are sent one by one
_KEPT = 1024  # tasks of a job whose arguments are kept, in case that no worker knows the function's name


class _Raised:
    """An argument that can't be sent: loading it raises what was wrong, in its task's place."""

    def __init__(self, exc: BaseException) -> None:
        self.exc = exc

    def __reduce__(self) -> Any:
        return _raise, (self.exc,)


def _raise(exc: BaseException) -> None:
    raise exc


class Feed:
    """The tasks of one job."""

    def __init__(
        self,
        core: Any,
        job: Any,
        bound: bytes,
        units: Iterator[Any],
        *,
        retries: int,
        window: Optional[threading.Semaphore] = None,
        whole: bool,
        ready: bool = False,
        ended: Callable[[int, Optional[BaseException]], None],
    ) -> None:
        """units gives the argument of each task; window is acquired for each first.

        With ready, the arguments are there and needn't be waited for. With whole, the first that can't be sent ends the
        feed, else it becomes its task's error. ended is called once, with the number of tasks and what ended the feed
        before its time.
        """
        self._core = core
        self._job = job
        self._bound = bound
        self._units = units
        self._retries = retries
        self._window = window
        self._whole = whole
        self._ready = ready and window is None
        self._ended = ended
        self._lock = threading.Lock()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._nanoseconds = 0
        self._flushed = 0
        self._largest = 0
        self._tasks = 0  # encoded
        self._submitted = False
        self._stopped = False

    def start(self, wait: bool) -> None:
        """Begin to send. With wait, only what needs no waiting is pulled in this thread, else nothing is."""
        self._core.feed_begins(self)
        if wait or not self._run(False):
            threading.Thread(target=self._run, args=(True,), name="brine-feed", daemon=True).start()

    def flush(self) -> None:
        """Send what is pending, without waiting for a batch to be full."""
        if self._pending:
            with self._lock:
                self._flush(True)

    def _run(self, may_wait: bool) -> bool:
        """Send until the end. Return False if there is more, but only with waiting."""
        why: Optional[BaseException] = None
        try:
            if not (self._pull_batches if self._ready else self._pull)(may_wait):
                return False
        except Exception as err:
            why = err
        except BaseException:
            # Ctrl-C, say, in the caller's thread: it is his, and what was not sent never will be.
            self._finish(CancelledError(f"brine: {self._job._name} was interrupted before all was sent"))
            raise
        self._finish(why)
        return True

    def _finish(self, why: Optional[BaseException]) -> None:
        with self._lock:
            # The engine must know the number of tasks before the job can be over here.
            if self._submitted or self._pending:
                self._flush(False)
        self._units = iter(())
        self._ended(self._tasks, why)
        self._core.feed_ends(self)

    def stop(self) -> None:
        """Pull no more, if the feed is one that waits for its reader; for there may be none any more."""
        if self._window is not None:
            self._stopped = True
            self._window.release()

    def _pull_batches(self, may_wait: bool) -> bool:
        """As _pull, for elements that are there already: many at once, each its own pickle."""
        core, job, dumps = self._core, self._job, pickle.dumps
        clock = time.perf_counter_ns
        size = _FIRST
        while True:
            if not core.has_room():
                if not may_wait:
                    return False
                core.wait_for_room(lambda: job._cancelled)
            if job._cancelled or core.state == TERMINATE:
                return self._pull(may_wait)
            part = list(itertools.islice(self._units, size))
            if not part:
                return True
            began = clock()
            size = min(2 * size, _BATCH)
            if not send.NUMBERS.issuperset(map(type, part)):
                self._units = itertools.chain(part, self._units)
                return self._pull(may_wait)
            bodies = [b"\0" + dumps(x, 5) for x in part]
            with self._lock:
                if self._tasks < _KEPT and job._function is not None:
                    job._kept.update(enumerate(bodies, self._tasks))
                self._tasks += len(bodies)
                self._nanoseconds += clock() - began
                self._pending += bodies
                self._pending_bytes += sum(map(len, bodies))
                self._flush(True)

    def _pull(self, may_wait: bool) -> bool:
        core, job, window = self._core, self._job, self._window
        clock = time.perf_counter_ns
        while True:
            if job._cancelled:
                raise CancelledError(f"brine: {job._name} was cancelled")
            if core.state == TERMINATE:
                raise PoolClosedError("brine: the pool was terminated before the task was begun")
            if not core.has_room():
                if not may_wait:
                    return False
                with self._lock:
                    self._flush(True)
                core.wait_for_room(lambda: job._cancelled)
                continue
            if window is not None and not window.acquire(False):
                if not may_wait:
                    return False
                with self._lock:
                    self._flush(True)
                window.acquire()
                if job._cancelled or core.state == TERMINATE:
                    continue
            if self._stopped:
                return True
            try:
                unit = next(self._units)
            except StopIteration:
                if window is not None:
                    window.release()
                return True
            began = clock()
            body, place = self._encode(unit)
            unit = None
            with self._lock:
                index = self._tasks
                self._tasks += 1
                self._nanoseconds += clock() - began
                if place is not None:
                    job._places[index] = place
                if index < _KEPT and job._function is not None:
                    job._kept[index] = body
                self._pending.append(body)
                size = len(body)
                self._pending_bytes += size
                if size > self._largest:
                    self._largest = size
                pending = len(self._pending)
                # While there are answers to come, the reader flushes when they do; without any, nobody would.
                if (
                    pending >= _BATCH
                    or core.unanswered < core.options.processes
                    or (pending >= _SNACK and core.is_hungry())
                    or self._pending_bytes >= _BATCH_BYTES
                    or began - self._flushed > _LATEST
                ):
                    self._flushed = began
                    self._flush(True)

    def _encode(self, unit: Any) -> tuple[bytes, Optional[int]]:
        if type(unit) in send.NUMBERS:
            return b"\0" + pickle.dumps(unit, 5), None
        try:
            data = send.dump(unit, lambda: f"argument {self._tasks} of {self._job._name}")
            body, place = payload.body(data, memory.arena())
            if place is not None:  # what is in the frame is counted with the batch
                self._core.account.dumped(self._job._name, "argument", 0, data.size - len(body), data.size, 0)
            return body, place
        except Exception as err:
            if self._whole:
                raise
            try:
                return payload.body(payload.dump(_Raised(err)), None)
            except Exception:
                text = f"brine: an argument of {self._job._name} can't be sent: {type(err).__name__}: {err}"
                return payload.body(payload.dump(_Raised(SendError(text))), None)

    def _flush(self, more: bool) -> None:
        """Send what is pending. The caller holds the lock."""
        bodies = self._pending
        if not bodies and more:
            return
        spent = self._nanoseconds
        self._core.account.dumped(self._job._name, "argument", len(bodies), self._pending_bytes, self._largest, spent)
        self._pending, self._pending_bytes, self._nanoseconds = [], 0, 0
        if self._submitted:
            self._core.extend(self._job, bodies, spent, more)
        else:
            self._submitted = True
            self._core.submit(self._job, self._bound, bodies, spent, retries=self._retries, more=more)


def slices(iterable: Any, unit: int) -> Iterator[Any]:
    """Return the tasks of so many elements each that an iterable makes."""
    if type(iterable) in (list, tuple, range):
        return (iterable[i : i + unit] for i in range(0, len(iterable), unit))
    return _tuples(iter(iterable), unit)


def _tuples(elements: Iterator[Any], unit: int) -> Iterator[Any]:
    while True:
        part = tuple(itertools.islice(elements, unit))
        if not part:
            return
        yield part
