"""What a call that doesn't wait returns: results that are there later.

A result is also the client's side of its job: the engine's reader hands it what has arrived, and it keeps account of what
the job still holds. It doesn't know how arguments were encoded, nor who runs them.
"""

from __future__ import annotations

import collections
import multiprocessing.pool
import pickle
import struct
import threading
import time
from _thread import allocate_lock
from typing import Any, Optional

from . import _payload as payload
from . import _wire as wire
from ._failure import LoadFailure, RemoteError, caused, exception, remote_exception

_PLAIN = wire.IN_ARENA - 1  # the word of an item that is a value, and not in the arena, is at most this
_loads = pickle.loads


class Job(multiprocessing.pool.ApplyResult):
    """What was submitted to the engine, and has not all been answered."""

    def __init__(self, core: Any, name: str) -> None:
        self._core = core
        self._name = name
        self._label = name  # under which the engine estimates how long a task takes
        self._timeout = 0.0
        self._number = next(core.engine.job_numbers)
        self._numbers: tuple[int, ...] = ()  # of jobs that the engine was given in this one's place
        self._places: dict[int, int] = {}  # of arguments in the client's arena, by task
        self._kept: dict[int, bytes] = {}  # arguments of tasks that may have to be sent again, by task
        self._function: Any = None  # whose name was sent
        self._again: Any = None  # the function by value
        self._mode = 0
        self._cancelled = False
        self._function_place: Optional[int] = None
        self._pool: Any = None

    # What the engine's reader calls.

    def _results(self, first: int, count: int, worker: int, view: Any) -> None:
        began = time.perf_counter_ns()
        words = struct.unpack_from(f"<{count}Q", view)
        at = 8 * count
        values: list[Any] = []
        errors: dict[int, BaseException] = {}
        largest = elsewhere = 0  # bytes of the largest result, and of those in the arena
        for word in words:
            if word <= _PLAIN:
                end = at + word
                try:
                    if view[at]:
                        values.append(payload.load(view[at:end], -1, 0))
                    else:
                        values.append(_loads(view[at + 1 : end]))
                except Exception as err:
                    errors[len(values)] = err
                    values.append(None)
                at = end
                continue
            length = word & (wire.IN_ARENA - 1)
            largest = max(largest, length)
            try:
                if word & wire.IN_ARENA:
                    offset, slot, lease = wire.PLACE.unpack_from(view, at)
                    at += 16
                    elsewhere += length - 16
                    who = self._core.engine.workers.get(worker)
                    if word >> 56:
                        raise wire.ProtocolError("an error lies in an arena")
                    if who is None:
                        raise wire.ProtocolError("a result lies in the arena of a worker that isn't known")
                    values.append(who.load(offset, length, slot, lease))
                else:
                    body = view[at : at + length]
                    at += length
                    errors[len(values)] = remote_exception(body)
                    values.append(None)
            except Exception as err:
                errors[len(values)] = err
                values.append(None)
        if at > len(view):
            raise wire.ProtocolError("results are shorter than they say")
        core = self._core
        core.answered(count)
        core.account.loaded(
            self._name, count - len(errors), at - 8 * count + elsewhere, largest, time.perf_counter_ns() - began
        )
        self._settle(first, values, errors)

    def _settle(self, first: int, values: list[Any], errors: dict[int, BaseException]) -> None:
        """Take results, but for those of tasks that are sent again because their worker didn't know the function."""
        for i in [i for i, err in errors.items() if isinstance(err, LoadFailure)]:
            if self._core.send_by_value(self, first + i):
                for lo, hi in ((0, i), (i + 1, len(values))):
                    part = {k - lo: err for k, err in errors.items() if lo <= k < hi}
                    self._settle(first + lo, values[lo:hi], part)
                return
            errors[i] = errors[i].__cause__ or errors[i]
        if not values:
            return
        if self._places:
            for i in range(first, first + len(values)):
                self._core.free(self._places.pop(i, None))
        self._take(first, values, errors)

    def _failed(self, first: int, failure: Any) -> None:
        self._core.answered(1)
        self._core.free(self._places.pop(first, None))
        self._take(first, [None], {0: exception(self._name, failure, self._core.engine.workers, self._timeout)})

    def _abandon(self, exc: BaseException) -> None:
        """The pool or the engine is gone: what isn't answered fails."""
        self._release()

    def _take(self, first: int, values: list[Any], errors: dict[int, BaseException]) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        """Give back what the job held in the arena."""
        core = self._core
        while self._places:
            core.free(self._places.popitem()[1])
        place, self._function_place = self._function_place, None
        core.free(place)
        self._kept.clear()
        self._function = None

    def _finish(self) -> None:
        """All tasks have been answered."""
        jobs = self._core.engine.jobs
        jobs.pop(self._number, None)
        for number in self._numbers:
            jobs.pop(number, None)
        self._release()

    def cancel(self) -> bool:
        """Cancel what has not ended: tasks that wait are dropped, those that run are ended with their worker.

        Returns:
            False if the result was there already. Else the result will be a CancelledError, unless the last task
            ends first.
        """
        if self.ready():
            return False
        self._core.cancel(self)
        return True


class AsyncResult(Job):
    """The result of ``apply_async``, as ``multiprocessing.pool.AsyncResult``, with ``cancel``."""

    def __init__(self, core: Any, name: str, callback: Any = None, error_callback: Any = None) -> None:
        super().__init__(core, name)
        self._callback = callback
        self._error_callback = error_callback
        self._bar: Any = None  # of a single call
        self._done = False
        self._success = False
        self._value: Any = None
        self._latch = allocate_lock()
        self._latch.acquire()

    def ready(self) -> bool:
        """Return whether the call has ended."""
        return self._done

    def successful(self) -> bool:
        """Return whether the call ended without an exception; ValueError if it hasn't ended."""
        if not self._done:
            raise ValueError(f"{self!r} not ready")
        return self._success

    def wait(self, timeout: Optional[float] = None) -> None:
        """Wait until the result is there, or for timeout seconds."""
        if self._done:
            return
        if self._latch.acquire(True, -1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX))):
            self._latch.release()  # for whoever waits too

    def get(self, timeout: Optional[float] = None) -> Any:
        """Return the result, or raise the exception of the call; ``multiprocessing.TimeoutError`` after timeout seconds."""
        self.wait(timeout)
        if not self._done:
            raise multiprocessing.TimeoutError
        if self._success:
            return self._value
        raise self._value

    def _take(self, first: int, values: list[Any], errors: dict[int, BaseException]) -> None:
        self._finish()
        if errors:
            self._conclude(False, errors[0])
        else:
            self._conclude(True, values[0])

    def _abandon(self, exc: BaseException) -> None:
        super()._abandon(exc)
        self._conclude(False, exc)

    def _conclude(self, success: bool, value: Any) -> None:
        """Set the result, after its callback has run."""
        if self._bar is not None:
            self._bar.add(1)
            self._bar.close()
        callback = self._callback if success else self._error_callback
        self._callback = self._error_callback = None
        if callback is None:
            self._publish(success, value)
        else:
            self._core.call_back(self, callback, success, value)

    def _publish(self, success: bool, value: Any) -> None:
        if self._done:
            return
        self._success, self._value = success, value
        self._done = True
        self._pool = None
        self._latch.release()


class MapResult(AsyncResult):
    """The result of ``map_async`` and ``starmap_async``."""

    def __init__(self, core: Any, name: str, length: int, unit: int, callback: Any, error_callback: Any) -> None:
        super().__init__(core, name, callback, error_callback)
        self._values: list[Any] = [None] * length
        self._unit = unit  # elements in a task
        self._left = -(-length // unit) if length else 0  # tasks that are not answered
        self._error: Optional[BaseException] = None
        self._guard = threading.Lock()
        self._progress: Any = None

    def _take(self, first: int, values: list[Any], errors: dict[int, BaseException]) -> None:
        unit = self._unit
        if errors and self._error is None:
            self._error = errors[min(errors)]
        if unit == 1:
            self._values[first : first + len(values)] = values
        else:
            for i, part in enumerate(values, first):
                if part is not None:
                    self._values[i * unit : i * unit + len(part)] = part
        if self._progress is not None:
            self._progress.add(min(len(values) * unit, len(self._values) - first * unit))
        self._count(len(values))

    def _count(self, tasks: int) -> None:
        with self._guard:
            self._left -= tasks
            ended = self._left == 0
        if ended:
            self._end()

    def _end(self) -> None:
        self._finish()
        values, self._values = self._values, []
        if self._progress is not None:
            self._progress.close()
        if self._error is not None:
            self._conclude(False, self._error)
        else:
            self._conclude(True, values)

    def _cut(self, exc: BaseException, missing: int) -> None:
        """So many tasks will never be submitted, because of an exception of the iterable or of encoding."""
        if self._error is None:
            self._error = exc
        self._count(missing)

    def _abandon(self, exc: BaseException) -> None:
        with self._guard:
            if self._left == 0:
                return
            self._left = 0
        if self._progress is not None:
            self._progress.close()
        super()._abandon(exc)


class IMapIterator(Job):
    """The iterator that ``imap`` returns, as ``multiprocessing.pool.IMapIterator``, with ``cancel``."""

    _ordered = True

    def __init__(self, core: Any, name: str, unit: int, window: Optional[threading.Semaphore]) -> None:
        super().__init__(core, name)
        self._unit = unit
        self._window = window  # counts tasks that may still be pulled from the iterable
        self._yielded = 0
        self._arrived = threading.Condition(threading.Lock())
        self._items: collections.deque[tuple[bool, Any]] = collections.deque()
        self._early: dict[int, list[tuple[bool, Any]]] = {}
        self._next_task = 0
        self._answered = 0
        self._length: Optional[int] = None  # tasks in all, once that is known
        self._last: Optional[BaseException] = None  # of the iterable, behind all results
        self._over = False
        self._progress: Any = None

    def __iter__(self) -> IMapIterator:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Any:
        """Return the next result; ``multiprocessing.TimeoutError`` if it isn't there after timeout seconds."""
        items = self._items
        with self._arrived:
            if not items and not self._over:
                self._arrived.wait_for(lambda: items or self._over, timeout)
            if not items:
                if self._over:
                    self._pool = None
                    raise StopIteration
                raise multiprocessing.TimeoutError
            ok, value = items.popleft()
        if self._window is not None:
            self._yielded += 1
            if self._yielded % self._unit == 0:
                self._window.release()
        if ok:
            return value
        raise value

    def ready(self) -> bool:
        """Return whether all results are there."""
        return self._over

    def _take(self, first: int, values: list[Any], errors: dict[int, BaseException]) -> None:
        lots: list[list[tuple[bool, Any]]] = []
        for i, value in enumerate(values):
            if i in errors:
                lots.append([(False, errors[i])])
            elif self._unit == 1:
                lots.append([(True, value)])
            else:
                lots.append([_outcome(ok, v) for ok, v in value])
        if self._progress is not None:
            self._progress.add(sum(map(len, lots)))
        with self._arrived:
            self._answered += len(values)
            if not self._ordered:
                for lot in lots:
                    self._items.extend(lot)
            elif first == self._next_task and not self._early:
                for lot in lots:
                    self._items.extend(lot)
                self._next_task += len(lots)
            else:
                for i, lot in enumerate(lots, first):
                    self._early[i] = lot
                while self._next_task in self._early:
                    self._items.extend(self._early.pop(self._next_task))
                    self._next_task += 1
            self._end_if_over()
            self._arrived.notify_all()

    def _set_length(self, tasks: int, exc: Optional[BaseException] = None) -> None:
        """Say how many tasks were submitted, and what ended the iterable before its end."""
        with self._arrived:
            self._length, self._last = tasks, exc
            self._end_if_over()
            self._arrived.notify_all()

    def _end_if_over(self) -> None:
        if self._over or self._length is None or self._answered < self._length:
            return
        if self._last is not None:
            self._items.append((False, self._last))
            self._last = None
        self._over = True
        self._finish()
        if self._progress is not None:
            self._progress.close()

    def _abandon(self, exc: BaseException) -> None:
        super()._abandon(exc)
        with self._arrived:
            if not self._over:
                self._items.append((False, exc))
                self._over = True
            self._arrived.notify_all()
        if self._window is not None:
            self._window.release()
        if self._progress is not None:
            self._progress.close()


class IMapUnorderedIterator(IMapIterator):
    """The iterator that ``imap_unordered`` returns: results come as they are ready."""

    _ordered = False


def _outcome(ok: bool, value: Any) -> tuple[bool, Any]:
    """Return an element of a task that kept its elements apart."""
    if ok:
        return ok, value
    exc, trace = value
    if isinstance(exc, BaseException):
        return ok, caused(exc, trace)
    return ok, RemoteError(str(exc), "", "it can't be pickled")
