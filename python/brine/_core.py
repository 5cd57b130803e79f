"""A pool without its face: its workers, what is under way, and what the engine says of it.

The engine's connection holds a core for as long as the pool is open, the user holds a Pool, and the Pool holds the core: so
a Pool that nobody uses any more can be collected, and ends its core. The core knows frames, processes and threads; it doesn't
know how calls become tasks.
"""

from __future__ import annotations

import collections
import os
import queue
import signal
import struct
import sys
import threading
from multiprocessing import util
from typing import Any, Callable, Optional

from . import _descriptors as descriptors
from . import _entry as entry
from . import _failure as failures
from . import _memory as memory
from . import _process as process
from . import _send as send
from . import _wire as wire
from ._account import Account, bill
from ._engine import Engine
from ._lane import Lane
from ._report import is_wanted, keep_for_the_end
from .errors import EngineError, PoolClosedError

RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"  # as in multiprocessing.pool

_HELD_BACK = 64  # submissions that wait for each other while the workers have enough to do
_ENOUGH = 16  # tasks for each worker that are enough to do
_MOST_TASKS = 1 << 16  # in the engine, beyond which submissions wait

_OPEN = struct.Struct("<IIqqqI")
_SUBMIT = struct.Struct("<qIIqI")


class Options:
    """What all workers of a pool have in common."""

    def __init__(
        self,
        processes: int,
        max_tasks: int,
        max_memory: int,
        initializer: Any,
        initargs: tuple[Any, ...],
        expect_initret: bool,
    ) -> None:
        self.processes = processes
        self.max_tasks = max_tasks
        self.max_memory = max_memory
        self.initializer = initializer
        self.initargs = initargs
        self.expect_initret = expect_initret


class Core:
    """The state of one pool."""

    def __init__(self, ctx: Any, options: Options, make_process: Callable[..., Any]) -> None:
        self.engine = Engine.get()
        self.ctx = ctx
        self.options = options
        self.state = RUN
        self.account = Account()
        self.number = next(self.engine.pool_numbers)
        self.workers: dict[int, process.Worker] = {}
        self.unanswered = 0  # tasks in the engine
        self.closed = threading.Event()
        self.lane = Lane(self)
        self._make_process = make_process
        self._changed = threading.Condition()
        self._asked: collections.deque[tuple[int, list[int]]] = collections.deque()
        self._opened: Optional[failures.Failure] = None
        self._opening = True
        self._start_error: Optional[BaseException] = None
        self._feeds: set[Any] = set()
        self._waiting = 0  # feeds that wait for room
        self._callbacks: Optional[queue.SimpleQueue[Any]] = None
        self._callback_thread: Optional[threading.Thread] = None
        self._bill: Optional[bytes] = None  # the engine's account, as JSON
        self._hungry = 4 * options.processes

    # Opening.

    def open(self, name: str) -> None:
        """Start the workers, in this thread, and wait until all are ready."""
        if self.ctx.get_start_method() == "fork":
            from . import _worker  # noqa: F401  (so that not each worker has to)
        self._config, self._handed = process.configuration(self.ctx, self.options, self.account)
        self.engine.pools[self.number] = self
        head = _OPEN.pack(self.options.processes, self.options.max_tasks, self.options.max_memory, 0, 0, _depth())
        arena = memory.arena()
        payload = head + wire.text(name) + self._config.body
        frame = wire.frame(wire.CLIENT_OPEN, payload, flags=int(arena is not None), epoch=self.number)
        stderr = _stderr()
        try:
            self.engine.send_descriptors(frame, [stderr] if arena is None else [stderr, arena.fd])
        finally:
            os.close(stderr)
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._asked or self._opened is not None)
                    asked = self._asked.popleft() if self._asked else None
                    if asked is None:
                        self._opening = False
                        break
                self._start(*asked)
        except BaseException:
            with self._changed:
                self._opening = False
                rest = list(self._asked)
                self._asked.clear()
            for number, fds in rest:
                self._refuse(number, fds, "the pool was given up")
            self.kill(PoolClosedError("brine: the pool could not be opened"))
            raise
        opened = self._opened
        if opened is not None and opened.cause != failures.NONE:
            self.state = TERMINATE
            self._over()
            raise self._not_opened(name, opened)

    def _not_opened(self, name: str, opened: failures.Failure) -> BaseException:
        if self.engine.dead is not None:
            return self._gone()
        if self._start_error is not None:
            return self._start_error
        what = send.name_of(self.options.initializer) if self.options.initializer else name
        exc = failures.exception(what, opened, self.engine.workers, 0.0)
        return exc.__cause__ if isinstance(exc, failures.LoadFailure) and exc.__cause__ else exc

    def _start_asked(self, number: int, fds: list[int]) -> None:
        """The engine asks for a worker. Called by its reader, which must not wait for a start."""
        with self._changed:
            if self._opening:
                self._asked.append((number, fds))
                self._changed.notify_all()
                return
        threading.Thread(target=self._start, args=(number, fds), name="brine-starter", daemon=True).start()

    def _start(self, number: int, fds: list[int]) -> None:
        worker = process.Worker(number, fds)
        self.engine.workers[number] = self.workers[number] = worker
        try:
            arena = memory.arena()
            target = self._make_process(
                self.ctx,
                target=entry.run,
                args=(
                    worker.inherited(arena.fd if arena is not None else -1),
                    self._handed,
                    self.options.expect_initret,
                    _depth() + 1,
                ),
            )
            target.name = target.name.replace("Process", "PoolWorker")
            target.daemon = True
            worker.start(target)
        except BaseException as err:
            self._start_error = err
            self.workers.pop(number, None)
            worker.end("", "", "it could not be started")
            self._started(number, 0, f"{type(err).__name__}: {err}")
        else:
            self._started(number, worker.pid)

    def _refuse(self, number: int, fds: list[int], why: str) -> None:
        descriptors.close(*fds)
        self._started(number, 0, why)

    def _started(self, number: int, pid: int, why: str = "") -> None:
        payload = struct.pack("<I", pid) + (b"" if pid else wire.text(why))
        self.engine.send(wire.frame(wire.CLIENT_STARTED, payload, func=number))

    # What the engine says. All of this is called by its reader.

    def _told(self, kind: int, number: int, payload: Any) -> None:
        if kind == wire.ENGINE_ENDED:
            _, at = wire.take_u32(payload, 0)
            reason, at = wire.take_text(payload, at)
            report, at = wire.take_text(payload, at)
            stderr, at = wire.take_text(payload, at)
            worker = self.workers.pop(number, None)
            if worker is not None:
                worker.end(report, stderr, reason)
                self.lane.ended(worker)
                self.engine.remember(number)
        elif kind == wire.ENGINE_OPENED:
            cause = payload[0] if len(payload) else failures.REFUSED
            opened = failures.Failure(cause, 0, b"", "", ())
            if cause != failures.NONE:
                opened = failures.Failure.parse(payload)
            with self._changed:
                self._opened = opened
                self._changed.notify_all()
        elif kind == wire.ENGINE_CLOSED:
            self._over()
        elif kind == wire.ENGINE_LEASED:
            self.lane.leased(self.workers.get(number), payload)
        elif kind == wire.ENGINE_REVOKE:
            self.lane.revoke()
        elif kind == wire.ENGINE_STATISTICS:
            with self._changed:
                self._bill = bytes(payload)
                self._changed.notify_all()

    def answered(self, count: int) -> None:
        """Count tasks that have been answered, and see to it that the workers don't run out of others."""
        self.unanswered -= count
        if self._feeds and self.unanswered < self._hungry:
            for feed in tuple(self._feeds):
                feed.flush()
        if self._waiting and self.has_room():
            with self._changed:
                self._changed.notify_all()

    def _over(self) -> None:
        """The pool has no workers any more."""
        self.engine.pools.pop(self.number, None)
        place, self._config.place = self._config.place, None
        self.free(place)
        self.lane.lost()
        keep_for_the_end(self.account, self._bill)
        self.closed.set()
        with self._changed:
            self._changed.notify_all()
        self._abandon(PoolClosedError("brine: the pool was closed before the task had ended"))

    def _engine_lost(self) -> None:
        for worker in list(self.workers.values()):
            if worker.pid:
                try:
                    os.kill(worker.pid, signal.SIGKILL)
                except OSError:
                    pass
            worker.end("", "", "the engine has ended")
        self.workers.clear()
        self.state = TERMINATE
        with self._changed:
            self._opened = failures.Failure(failures.REFUSED, 0, b"", "", ())
        self._abandon(self._gone())
        self._over()

    def _gone(self) -> BaseException:
        """Return an exception of its own for each who is told that nothing more comes of the pool."""
        if self.engine.dead is not None:
            return EngineError(str(self.engine.dead))
        return PoolClosedError("brine: the pool was terminated before the task had ended")

    def _abandon(self, exc: BaseException) -> None:
        jobs = self.engine.jobs
        for number, job in list(jobs.items()):
            if job._core is self and jobs.pop(number, None) is not None:
                job._abandon(exc)

    # Submitting.

    def check(self) -> None:
        """Raise ValueError, as multiprocessing's pool does, if the pool takes no calls."""
        if self.engine.dead is not None:
            raise self._gone()
        if self.state != RUN:
            raise ValueError("Pool not running")

    def submit(
        self,
        job: Any,
        bound: bytes,
        bodies: list[bytes],
        nanoseconds: int,
        *,
        retries: int = 0,
        more: bool = False,
        number: Optional[int] = None,
    ) -> None:
        """Submit the first tasks of a job."""
        count = len(bodies)
        payload = b"".join(
            (
                wire.text(job._label),
                _SUBMIT.pack(int(job._timeout * 1e9), retries, 0, nanoseconds, len(bound)),
                bound,
                struct.pack(f"<{count}I", *map(len, bodies)),
                *bodies,
            )
        )
        frame = wire.frame(
            wire.CLIENT_SUBMIT,
            payload,
            count=count,
            flags=wire.MORE if more else 0,
            epoch=self.number,
            chunk=job._number if number is None else number,
        )
        self.unanswered += count
        if self.unanswered > _ENOUGH * self.options.processes and count == 1 and not more:
            self.engine.hold(frame, _HELD_BACK)
        else:
            self.engine.send(frame)
        if self.closed.is_set() or self.engine.dead is not None:
            # Whoever ended the pool may not have seen the job; then nobody else will tell it.
            self._abandon(self._gone())

    def extend(self, job: Any, bodies: list[bytes], nanoseconds: int, more: bool) -> None:
        """Submit the next tasks of a job."""
        count = len(bodies)
        payload = b"".join((struct.pack(f"<q{count}I", nanoseconds, *map(len, bodies)), *bodies))
        self.unanswered += count
        self.engine.send(
            wire.frame(
                wire.CLIENT_EXTEND,
                payload,
                count=count,
                flags=wire.MORE if more else 0,
                epoch=self.number,
                chunk=job._number,
            )
        )

    def send_by_value(self, job: Any, index: int) -> bool:
        """Send a task again, with its function by value, because its worker doesn't know the function's name.

        Returns:
            False if that can't be done.
        """
        body = job._kept.pop(index, None)
        if body is None or job._function is None:
            return False
        if job._again is None:
            try:
                job._again = send.by_value(job._function)
            except Exception as err:
                util.get_logger().info("brine: %s can't be sent by value: %s", job._name, err)
                job._function = None
                return False
            job._function_place = job._again.place
        number = next(self.engine.job_numbers)
        job._numbers += (number,)
        self.engine.jobs[number] = Again(job, index)
        self.submit(job, bytes([job._mode]) + job._again.body, [body], 0, number=number)
        return True

    def cancel(self, job: Any) -> None:
        """Cancel what has been submitted of a job, and have the rest not be submitted."""
        job._cancelled = True
        for number in (job._number, *job._numbers):
            self.engine.send(wire.frame(wire.CLIENT_CANCEL, epoch=self.number, chunk=number))

    def free(self, place: Optional[int]) -> None:
        """Give a place in the client's arena back."""
        if place is not None:
            arena = memory.arena()
            if arena is not None:
                arena.free(place)

    # Feeds: calls whose arguments are still being pulled from an iterable.

    def has_room(self) -> bool:
        """Return whether more tasks may be given to the engine."""
        arena = memory.arena()
        return self.unanswered < _MOST_TASKS and (arena is None or arena.in_use < arena.size // 2)

    def is_hungry(self) -> bool:
        """Return whether the workers could soon run out of tasks."""
        return self.unanswered < self._hungry

    def wait_for_room(self, stop: Callable[[], bool]) -> None:
        """Wait until there is room, or stop returns true."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self.has_room() or stop() or self.state == TERMINATE)
            finally:
                self._waiting -= 1

    def feed_begins(self, feed: Any) -> None:
        """Take note that a call has arguments to come."""
        with self._changed:
            self._feeds = self._feeds | {feed}

    def feed_ends(self, feed: Any) -> None:
        """Take note that it has no more."""
        with self._changed:
            self._feeds = self._feeds - {feed}
            last = not self._feeds and self.state == CLOSE
        if last:
            self._send_close()

    # Callbacks.

    def call_back(self, result: Any, callback: Callable[[Any], Any], success: bool, value: Any) -> None:
        """Have a callback called, in the pool's own thread for that, and then the result published."""
        with self._changed:
            if self._callbacks is None:
                self._callbacks = queue.SimpleQueue()
                self._callback_thread = threading.Thread(
                    target=_call_back, args=(self._callbacks,), name="brine-callbacks", daemon=True
                )
                self._callback_thread.start()
        self._callbacks.put((result, callback, success, value))

    def end_callbacks(self) -> None:
        """Wait until all callbacks have been called."""
        with self._changed:
            thread, self._callback_thread = self._callback_thread, None
            calls, self._callbacks = self._callbacks, None
        if thread is not None and calls is not None:
            calls.put(None)
            if threading.current_thread() is not thread:
                thread.join()

    # The end.

    def close(self) -> None:
        """Take no more calls. The workers end when all has been done."""
        with self._changed:
            if self.state != RUN:
                return
            self.state = CLOSE
            for feed in self._feeds:
                feed.stop()
            ready = not self._feeds
        if ready:
            self._send_close()

    def _send_close(self) -> None:
        self.lane.give_back()
        self.engine.send(wire.frame(wire.CLIENT_CLOSE, flags=int(is_wanted()), epoch=self.number))

    def kill(self, exc: BaseException) -> None:
        """End the workers now. What has not ended fails with exc."""
        with self._changed:
            over = self.state == TERMINATE or self.closed.is_set()
            self.state = TERMINATE
            self._changed.notify_all()
        if over or self.engine.dead is not None:
            return
        for feed in self._feeds:
            feed.stop()
        self.lane.give_back()  # with its account
        self.lane.lost()
        self.engine.send(wire.frame(wire.CLIENT_KILL, flags=int(is_wanted()), epoch=self.number))
        self._abandon(exc)

    def wait(self) -> None:
        """Wait until the workers have ended."""
        if not self.engine.is_reader():
            self.closed.wait()

    # The account.

    def bill(self) -> dict[str, Any]:
        """Return the account of the pool."""
        self.lane.give_back()
        with self._changed:
            open_ = not self.closed.is_set()
            if open_:
                self._bill = None
        if open_:
            self.engine.send(wire.frame(wire.CLIENT_STATS, epoch=self.number))
            with self._changed:
                self._changed.wait_for(lambda: self._bill is not None or self.closed.is_set())
        return bill(self.account, self._bill)


class Again:
    """A task that was sent a second time: its result is a result of the job that it belongs to."""

    def __init__(self, job: Any, index: int) -> None:
        self._job, self._index = job, index
        self._core = job._core

    def _results(self, first: int, count: int, worker: int, view: Any) -> None:
        self._job._results(self._index, count, worker, view)

    def _failed(self, first: int, failure: Any) -> None:
        self._job._failed(self._index, failure)

    def _abandon(self, exc: BaseException) -> None:
        pass  # the job is told itself


def _call_back(calls: queue.SimpleQueue[Any]) -> None:
    while True:
        item = calls.get()
        if item is None:
            return
        result, callback, success, value = item
        try:
            callback(value)
        except Exception as err:  # then that is what became of the call
            success, value = False, err
        result._publish(success, value)
        del item, result, callback, value


def _stderr() -> int:
    """Return a descriptor for what workers write to their standard error, for the caller to close."""
    try:
        return os.dup(2)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _depth() -> int:
    return getattr(sys.modules.get("brine._worker"), "depth", 0)
