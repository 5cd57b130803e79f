"""The pool: `multiprocessing.pool.Pool` with another engine.

Everything here is how calls become jobs of tasks. What the standard library's documentation says of its Pool holds for this
one; docs/RATIONALE.md says where more does, and why.
"""

from __future__ import annotations

import multiprocessing.pool
import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Iterable
from multiprocessing import get_context, util
from typing import Any, Callable, Optional, TextIO

from . import _failure as failures
from . import _memory as memory
from . import _payload as payload
from . import _send as send
from . import _wire as wire
from ._core import CLOSE, RUN, TERMINATE, Core, Options
from ._feed import Feed, slices
from ._lane import Lost, NotBegun
from ._progress import Progress
from ._report import render
from .errors import PoolClosedError
from .results import AsyncResult, IMapIterator, IMapUnorderedIterator, MapResult

__all__ = ["Pool"]

_PARTS = 32  # tasks for each worker that a map without a chunksize is cut into
_MOST_ELEMENTS = 8192  # in one of them: more gain nothing, and fewer let sending, running and receiving overlap
_READY = frozenset((list, tuple, range, str, bytes, dict, set, frozenset))  # iterables that keep nobody waiting
_LANE_ARGUMENTS = 1 << 14  # bytes that go by the lane at most; what is in the arena counts with its place
_STRINGS = frozenset((str, bytes))  # types for which plain pickle is all there is, while they are short
_SHORT = 1024
_clock = time.perf_counter_ns
_dumps = pickle.dumps

Callback = Optional[Callable[[Any], object]]


class _Call:
    """One call on its way: a function and its arguments, pickled once whichever way they take."""

    __slots__ = ("args", "arguments", "callable", "error", "function", "kwds", "nanoseconds", "place", "size")

    def __init__(self, func: Any, args: Any, kwds: Any) -> None:
        self.callable, self.args, self.kwds = func, args, kwds
        self.function: Any = None
        self.place: Optional[int] = None
        self.error: Any = None

    @property
    def name(self) -> str:
        """What the function is called."""
        return send.name_of(self.callable) if self.function is None else self.function.name

    def encode(self) -> bool:
        """Pickle what is not pickled yet. Return False, with the error, if it can't be sent."""
        if self.function is not None or self.error is not None:
            return self.error is None
        began = _clock()
        args, kwds = self.args, self.kwds
        try:
            function = send.function(self.callable)
            if not kwds and type(args) is tuple and _are_small(args):
                data = _dumps((args, kwds), 5)
                self.size = len(data)
                if self.size < payload.INLINE:
                    self.arguments = b"\0" + data
                    self.function = function
                    self.nanoseconds = _clock() - began
                    return True
            dumped = send.dump((args, kwds), lambda: f"a call of {self.name}", ("args", "kwds"))
            self.arguments, self.place = payload.body(dumped, memory.arena())
        except Exception as err:
            self.error = err
            return False
        self.function, self.size = function, dumped.size
        self.nanoseconds = _clock() - began
        return True

    def count(self, account: Any) -> None:
        """Put the call on the account."""
        name = self.function.name
        account.dumped(name, "argument", 1, self.size, self.size, self.nanoseconds)
        if not self.function.named:
            account.dumped(name, "function", 1, self.function.size, self.function.size, 0)

    def drop(self, core: Any) -> None:
        """Give back what the call holds in the arena."""
        core.free(self.place)
        core.free(self.function.place)


class Pool(multiprocessing.pool.Pool):
    """A pool of worker processes, as `multiprocessing.pool.Pool`.

    All of its methods may be called from any thread.

    Args:
        processes: number of workers; as many as this process may use CPUs if it is None.
        initializer: called in each worker when it starts, as ``initializer(*initargs)``. If it raises, so does the constructor.
        initargs: its arguments. They are pickled once, or not at all where workers are forked.
        maxtasksperchild: tasks after which a worker is replaced; a task is a chunk, as with multiprocessing.
        context: the start method, as ``multiprocessing.get_context()`` returns it.
        expect_initret: whether each call gets what the initializer returned, as its keyword argument ``initret``.
        timeout: seconds after which a task is ended, with its worker, and fails with `brine.TaskTimeoutError`.
        retries: how often a task is tried again that its worker died with, or that was over its time.
        max_memory: bytes of data that a worker may have; more raises MemoryError in it (RLIMIT_DATA).
        progress: whether maps show a progress bar on standard error.
        arena_memory: bytes of shared memory for large arguments, of this process; the first pool decides.

    Raises:
        ValueError, TypeError: an argument can't be.
        EngineError: the engine can't be found or started.
        Exception: what the initializer raised.
    """

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., Any]] = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: Optional[int] = None,
        context: Any = None,
        *,
        expect_initret: bool = False,
        timeout: Optional[float] = None,
        retries: int = 0,
        max_memory: Optional[int] = None,
        progress: bool = False,
        arena_memory: Optional[int] = None,
    ) -> None:
        self._state = TERMINATE  # until it is open, for __del__
        if processes is None:
            processes = getattr(os, "process_cpu_count", os.cpu_count)() or 1
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if expect_initret and initializer is None:
            raise ValueError("initializer can't be None if expect_initret is True")
        self._timeout = _checked_timeout(timeout)
        self._retries = _checked_count("retries", retries)
        if max_memory is not None:
            _checked_count("max_memory", max_memory)
        if arena_memory is not None:
            _checked_count("arena_memory", arena_memory)
        self._progress = progress
        self._processes = processes
        self._maxtasksperchild = maxtasksperchild
        self._ctx = context or get_context()
        # The engine counts tasks, ends those that are over their time, and tries again; not so in a lane.
        self._in_lanes = maxtasksperchild is None and not self._timeout and not self._retries
        memory.arena(arena_memory)
        options = Options(
            processes, maxtasksperchild or 0, max_memory or 0, initializer, tuple(initargs), bool(expect_initret)
        )
        self._core = Core(self._ctx, options, self.Process)
        self._core.open("Pool")
        self._state = RUN
        self._terminate = util.Finalize(self, _end, args=(self._core,), exitpriority=15)

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
        """Make the process of a worker; to be overridden by those who want another."""
        return ctx.Process(*args, **kwds)

    def __del__(self, _warn: Any = warnings.warn, RUN: str = RUN) -> None:
        if self.__dict__.get("_state") == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        cls = self.__class__
        return f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={self._processes}>"

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.terminate()

    @property
    def _pool(self) -> list[Any]:
        """The processes of the workers."""
        return [w.process for w in list(self._core.workers.values()) if w.process is not None]

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")
        self._core.check()

    # One call.

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Any = {},  # noqa: B006  (the standard library's, and never changed)
        *,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        progress: Optional[bool] = None,
    ) -> Any:
        """Call ``func(*args, **kwds)`` in a worker and return what it returns."""
        call = _Call(func, args, kwds)
        core = self._core
        if core.state != RUN or core.engine.dead is not None:
            core.check()
        if self._in_lanes and timeout is None and retries is None and not progress and call.encode():
            small = call.place is None and len(call.arguments) <= _LANE_ARGUMENTS
            if small and call.function.head and core.lane.take():
                return self._apply_in_lane(core.lane, call)
        limit, tries = self._limit_of(timeout), self._retries_of(retries)
        return self._apply(call, None, None, limit, tries, progress).get()

    def _apply_in_lane(self, lane: Any, call: _Call) -> Any:
        core = self._core
        try:
            ok, value = lane.call(call.function.head + call.arguments)
        except NotBegun:
            lane.broken()
            return self._apply(call, None, None, 0.0, 0).get()
        except Lost:
            worker = lane.broken()
            worker.ended.wait()
            call.drop(core)
            if core.state == TERMINATE:
                raise PoolClosedError("brine: the pool was terminated before the call had ended") from None
            raise failures.crash(call.name, worker) from None
        except BaseException:
            # The answer is still to come, to nobody: the worker is ended, and replaced.
            lane.broken()
            call.drop(core)
            raise
        lane.count(call)
        lane.leave()
        if not ok and isinstance(value, failures.LoadFailure):
            return self._apply(call, None, None, 0.0, 0).get()
        if call.place is not None:
            call.drop(core)
        if ok:
            return value
        raise value

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Any = {},  # noqa: B006
        callback: Callback = None,
        error_callback: Callback = None,
        *,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        progress: Optional[bool] = None,
    ) -> AsyncResult:
        """Have ``func(*args, **kwds)`` called in a worker. What can't be sent is the result's error at once."""
        self._check_running()
        limit, tries = self._limit_of(timeout), self._retries_of(retries)
        return self._apply(_Call(func, args, kwds), callback, error_callback, limit, tries, progress)

    def _apply(
        self,
        call: _Call,
        callback: Callback,
        error_callback: Callback,
        limit: float,
        tries: int,
        progress: Optional[bool] = None,
    ) -> AsyncResult:
        core = self._core
        result = AsyncResult(core, call.name, callback, error_callback)
        if progress:
            result._bar = Progress(call.name, 1)
        if not call.encode():
            result._conclude(False, call.error)
            return result
        call.count(core.account)
        fn = call.function
        result._mode = wire.MODE_CALL
        if fn.named:
            result._function = call.callable
            result._kept[0] = call.arguments
        if call.place is not None:
            result._places[0] = call.place
        result._function_place = fn.place
        self._enter(result, limit)
        if fn.head:
            core.submit(result, b"", [fn.head + call.arguments], call.nanoseconds, retries=tries)
        else:
            core.submit(result, bytes([wire.MODE_CALL]) + fn.body, [call.arguments], call.nanoseconds, retries=tries)
        return result

    def _enter(self, job: Any, limit: float) -> None:
        """Make a job known to the engine's reader, before it is submitted."""
        job._timeout = limit
        job._pool = self  # a pool is not collected while somebody waits for a result of it
        self._core.engine.jobs[job._number] = job

    def _limit_of(self, timeout: Optional[float]) -> float:
        return self._timeout if timeout is None else _checked_timeout(timeout)

    def _retries_of(self, retries: Optional[int]) -> int:
        return self._retries if retries is None else _checked_count("retries", retries)

    # Many calls.

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        *,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        progress: Optional[bool] = None,
    ) -> list[Any]:
        """Return ``[func(x) for x in iterable]``, called in the workers. The first error is raised when all have ended."""
        return self.map_async(func, iterable, chunksize, timeout=timeout, retries=retries, progress=progress).get()

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        callback: Callback = None,
        error_callback: Callback = None,
        *,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        progress: Optional[bool] = None,
    ) -> MapResult:
        """Begin what map does, and return the result that will be there."""
        modes = wire.MODE_ITEM, wire.MODE_LIST
        return self._map(func, iterable, modes, chunksize, callback, error_callback, timeout, retries, progress)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        progress: Optional[bool] = None,
    ) -> list[Any]:
        """Return ``[func(*args) for args in iterable]``, called in the workers."""
        return self.starmap_async(func, iterable, chunksize, timeout=timeout, retries=retries, progress=progress).get()

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        callback: Callback = None,
        error_callback: Callback = None,
        *,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        progress: Optional[bool] = None,
    ) -> MapResult:
        """Begin what starmap does, and return the result that will be there."""
        modes = wire.MODE_STAR, wire.MODE_STAR_LIST
        return self._map(func, iterable, modes, chunksize, callback, error_callback, timeout, retries, progress)

    def _map(
        self,
        func: Any,
        iterable: Any,
        modes: tuple[int, int],
        chunksize: Optional[int],
        callback: Callback,
        error_callback: Callback,
        timeout: Optional[float],
        retries: Optional[int],
        progress: Optional[bool],
    ) -> MapResult:
        self._check_running()
        if not hasattr(iterable, "__len__"):
            iterable = list(iterable)
        length = len(iterable)
        limit = self._limit_of(timeout)
        tries = self._retries_of(retries)
        unit = self._unit(length, chunksize, apart=bool(limit or tries))
        name = send.name_of(func)
        job = MapResult(self._core, name, length, unit, callback, error_callback)
        if progress if progress is not None else self._progress:
            job._progress = Progress(name, length)
        if length == 0:
            job._publish(True, [])  # without a callback, as in the standard library
            return job
        mode = modes[0] if unit == 1 else modes[1]
        units = iter(iterable) if unit == 1 else slices(iterable, unit)
        bound = self._bind(job, func, mode)
        if bound is None:
            return job
        total = job._left

        def ended(tasks: int, why: Optional[BaseException]) -> None:
            if why is not None or tasks < total:
                job._cut(why or ValueError("the iterable has fewer elements than its length"), total - tasks)

        self._enter(job, limit)
        ready = unit == 1 and type(iterable) in _READY
        Feed(self._core, job, bound, units, retries=tries, whole=True, ready=ready, ended=ended).start(False)
        return job

    def _bind(self, job: Any, func: Any, mode: int) -> Optional[bytes]:
        """Return the bound arguments of a job that calls func, None if it can't be sent."""
        began = time.perf_counter_ns()
        try:
            fn = send.function(func)
        except Exception as err:
            job._abandon(err)
            return None
        self._core.account.dumped(job._name, "function", 1, fn.size, fn.size, time.perf_counter_ns() - began)
        job._mode = mode
        job._function_place = fn.place
        if fn.named:
            job._function = func
        if mode >= wire.MODE_LIST:
            job._label = job._name + "[]"
        return bytes([mode]) + fn.body

    def _repopulate_pool(self) -> None:
        """Do nothing: the engine keeps as many workers as there are to be."""

    def _unit(self, length: int, chunksize: Optional[int], apart: bool) -> int:
        """Return how many elements make a task."""
        if chunksize is not None and chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize!r}")
        if apart:
            return 1  # each has its own time and its own tries
        if self._maxtasksperchild is not None:
            # A worker is replaced after so many of what multiprocessing calls a chunk.
            return chunksize or max(1, -(-length // (4 * self._processes)))
        if chunksize is None:
            chunksize = -(-length // (_PARTS * self._processes))
        return max(1, min(chunksize, _MOST_ELEMENTS))

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        buffersize: Optional[int] = None,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        progress: Optional[bool] = None,
    ) -> IMapIterator:
        """Return an iterator over ``map(func, iterable)``, called in the workers, in order.

        With buffersize, at most the number of processes and so many elements are taken from the iterable before their
        results have been taken from the iterator.
        """
        return self._imap(IMapIterator, func, iterable, chunksize, buffersize, timeout, retries, progress)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        buffersize: Optional[int] = None,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        progress: Optional[bool] = None,
    ) -> IMapUnorderedIterator:
        """Return an iterator as imap does, with the results in the order in which they come."""
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize, buffersize, timeout, retries, progress)

    def _imap(
        self,
        kind: Any,
        func: Any,
        iterable: Any,
        chunksize: int,
        buffersize: Optional[int],
        timeout: Optional[float],
        retries: Optional[int],
        progress: Optional[bool],
    ) -> Any:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        limit = self._limit_of(timeout)
        tries = self._retries_of(retries)
        unit = 1 if limit or tries else chunksize
        window = None
        if buffersize is not None:
            window = threading.Semaphore(-(-(self._processes + buffersize) // unit))  # of tasks
        name = send.name_of(func)
        job = kind(self._core, name, unit, window)
        if progress if progress is not None else self._progress:
            total = len(iterable) if hasattr(iterable, "__len__") else None
            job._progress = Progress(name, total)
        try:
            elements = iter(iterable)
        except Exception as err:
            job._set_length(0, err)
            return job
        mode = wire.MODE_ITEM if unit == 1 else wire.MODE_OUTCOMES
        bound = self._bind(job, func, mode)
        if bound is None:
            return job
        self._enter(job, limit)
        known = type(iterable) in _READY
        units = elements if unit == 1 else slices(iterable if known else elements, unit)
        Feed(
            self._core,
            job,
            bound,
            units,
            retries=tries,
            window=window,
            whole=False,
            ready=known and unit == 1,
            ended=job._set_length,
        ).start(not known)
        return job

    # The end.

    def close(self) -> None:
        """Take no more calls. The workers end when all calls have."""
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            self._core.close()

    def terminate(self) -> None:
        """End the workers now. Calls that have not ended fail with PoolClosedError."""
        util.debug("terminating pool")
        self._state = TERMINATE
        self._terminate()

    def join(self) -> None:
        """Wait for the workers' end, after close or terminate."""
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._core.wait()
        self._core.end_callbacks()

    # The account.

    def stats(self) -> dict[str, Any]:
        """Return the account of what crossed and what was done. It may be called at any time, also after the end.

        Returns:
            What `report` writes as JSON, but for the advice, as a dictionary: ``counts`` of tasks and workers;
            ``processes``, this one first, each with ``pid``, ``encode`` and ``decode`` (how many pickles were made and
            loaded, their bytes, nanoseconds, the largest), and of workers how their time went and how much memory they
            needed; ``lines``, the same by function and class; ``repeats``; ``parts``, what the largest values are made
            of; ``chunks`` and ``events``, what happened when. Times are nanoseconds, sizes bytes.
        """
        return self._core.bill()

    def report(
        self,
        file: Optional[TextIO] = None,
        *,
        json: Optional[str] = None,
        html: Optional[str] = None,
        timeline: Optional[str] = None,
    ) -> None:
        """Write the account: who pickled and loaded what, how often and how long, and what to do about it.

        Args:
            file: where it goes as text; standard output if it is None, and nothing else is asked for.
            json: path of a file that it is written to as JSON, for other programs and `brine bill`.
            html: path of a file for a page with pictures, which needs nothing but a browser.
            timeline: path of a file for what happened when, in the format of chrome://tracing and ui.perfetto.dev.

        Raises:
            EngineError: a file could not be written, or the engine's program not be run.
        """
        files = {"json": json, "html": html, "timeline": timeline}
        flags = [f"--{name}={os.fspath(path)}" for name, path in files.items() if path]
        if file is not None:
            flags.append("--text")
        (file if file is not None else sys.stdout).write(render([self._core.bill()], *flags))


def _are_small(args: tuple[Any, ...]) -> bool:
    """Return whether plain pickle is all that the arguments need."""
    for arg in args:
        kind = type(arg)
        if kind not in send.NUMBERS and not (kind in _STRINGS and len(arg) < _SHORT):
            return False
    return True


def _end(core: Core) -> None:
    """What terminate does, also for a pool that nobody uses any more and at the end of the program."""
    core.kill(PoolClosedError("brine: the pool was terminated before the task had ended"))
    core.wait()
    core.end_callbacks()


def _checked_timeout(timeout: Optional[float]) -> float:
    if timeout is None:
        return 0.0
    if not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
    return float(timeout)


def _checked_count(what: str, value: int) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{what} must be a whole number and not negative, not {value!r}")
    return value
