"""Where what is pickled comes from: the places in the program of tasks and messages, and the processes.

It is told to the collector, or kept in this process until something is pickled.
"""

from __future__ import annotations

import _thread
from collections import deque
from types import FunctionType
from weakref import ref

import _brine_wire
from _brine_where import site
from _brine_wire import BYE, EXITED, NAME, POOL, READY, SIGNALLED, STARTED, is_ours, let_go, now

TYPE_CHECKING = False  # typing would be most of the start-up
if TYPE_CHECKING:
    from typing import Any, Callable

wire = _brine_wire.wire

EXECUTORS = "concurrent.futures.process"

jobs: dict[int, ref[Any]] = {}  # a pool's results, by job. No WeakValueDictionary: it would run code when one is gone,
# in which a KeyboardInterrupt of the program's would be lost.
most_jobs = [1000]  # until those that are over are forgotten
items: dict[int, str] = {}  # places of what was submitted to executors, by the address of its keywords
feeding: dict[int, str] = {}  # places of what is next in a queue's feeder thread, by thread
makers: dict[int, str] = {}  # places where pools were made, by the address of their list of workers


def safely(tell: Callable[..., None], *args: Any) -> None:
    """Call what tells the collector something. If that fails, tracing ends, and not the program.

    But what a handler of signals raises meanwhile is the program's, and goes on as it would without us.
    """
    if wire.over:
        return
    try:
        tell(*args)
    except Exception as e:
        args = ()
        let_go(e)
        if not is_ours(e):
            raise
        wire.stop(e)
    except BaseException as e:
        args = ()
        let_go(e)
        raise


def is_worker(target: Any) -> bool:
    """Whether what a process is to do is to be a worker of a pool or an executor."""
    return type(target) is FunctionType and target.__module__ in ("multiprocessing.pool", EXECUTORS)


def in_process(module: Any) -> None:
    """Has each process say who it is, and when its end begins."""
    original = module.BaseProcess._bootstrap

    def _bootstrap(self: Any, *args: Any, **more: Any) -> Any:
        safely(tell_process, self)
        try:
            return original(self, *args, **more)
        finally:
            safely(wire.send, BYE)

    module.BaseProcess._bootstrap = _bootstrap


def tell_process(process: Any) -> None:
    """Tell what this process is called and does, and have it tell when a worker has initialised itself."""
    target = getattr(process, "_target", None)
    worker = 0
    if is_worker(target) and process._args:
        worker = 1
        queue = process._args[0]
        if hasattr(queue, "get"):
            queue.get = first_get(queue, queue.get)
    wire.send(NAME, kind=worker, job=getattr(process, "_parent_pid", 0) or 0, strings=(str(process._name),))


def first_get(queue: Any, original: Any) -> Any:
    """Return a queue's get, which says when it is called first: then the worker is ready."""
    said: list[bool] = []

    def get(*args: Any, **more: Any) -> Any:
        if not said:
            said.append(True)
            queue.__dict__.pop("get", None)
            safely(wire.send, READY)
        return original(*args, **more)

    return get


def in_popen_fork(module: Any) -> None:
    """Tells when a process is started, and how it ended."""
    popen = module.Popen
    init = popen.__init__
    signal = popen._send_signal

    def __init__(self: Any, process: Any) -> None:
        begin = now()
        init(self, process)
        safely(tell_started, self, process, begin)

    def _send_signal(self: Any, number: int) -> None:
        if self.returncode is None:
            safely(wire.send, SIGNALLED, b"", 0, 0, 0, int(number), self.pid)
        signal(self, number)

    popen.__init__ = __init__
    popen._send_signal = _send_signal
    listen_to_poll(popen)


def tell_started(popen: Any, process: Any, begin: int) -> None:
    """Tell of a process that was started, and when that began."""
    worker = is_worker(getattr(process, "_target", None))
    wire.send(STARTED, kind=int(worker), job=popen.pid, begin=begin, time=now() - begin, strings=(str(process._name),))


def in_popen_forkserver(module: Any) -> None:
    """Tells how a process ended that the fork server started."""
    listen_to_poll(module.Popen)


def listen_to_poll(popen: Any) -> None:
    """Tells the exit status of a process once it is known."""
    original = popen.poll

    def poll(self: Any, *args: Any, **more: Any) -> Any:
        before = self.returncode
        status = original(self, *args, **more)
        if before is None and status is not None:
            safely(wire.send, EXITED, b"", 0, 0, 0, int(status), self.pid)
        return status

    popen.poll = poll


# Where tasks and messages come from.


def in_pool(module: Any) -> None:
    """Notes where each job was submitted, and where pools are made."""
    for result in (module.ApplyResult, module.IMapIterator):
        note_place(result)
    init = module.Pool.__init__
    threads = module.ThreadPool

    def __init__(self: Any, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        if not isinstance(self, threads):
            safely(tell_pool, self, site())

    __init__.__doc__ = init.__doc__
    __init__.__wrapped__ = init  # type: ignore[attr-defined]  # for those who ask for its signature
    module.Pool.__init__ = __init__


def note_place(result: Any) -> None:
    """Has each result of a pool know where it was asked for."""
    init = result.__init__

    def __init__(self: Any, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        if not wire.over:
            self._brine_place = site()
            jobs[self._job] = ref(self)
            if len(jobs) > most_jobs[0]:
                for job in [job for job, known in list(jobs.items()) if known() is None]:
                    jobs.pop(job, None)
                most_jobs[0] = 2 * len(jobs) + 1000

    result.__init__ = __init__


def tell_pool(pool: Any, place: str) -> None:
    """Tell of a pool and how many workers it keeps."""
    if len(makers) > 1000:
        makers.clear()
    makers[id(pool._pool)] = place
    wire.send(POOL, job=pool._processes)


def in_executors(module: Any) -> None:
    """Notes where each call was submitted, and where executors are made."""
    init_item = module._WorkItem.__init__
    init = module.ProcessPoolExecutor.__init__

    def item__init__(self: Any, future: Any, fn: Any, args: Any, kwargs: Any, *more: Any) -> None:
        init_item(self, future, fn, args, kwargs, *more)
        if not wire.over:
            if len(items) > 100_000:
                items.clear()
            items[id(kwargs)] = site()

    def __init__(self: Any, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        safely(tell_executor, self)

    __init__.__doc__ = init.__doc__
    __init__.__wrapped__ = init  # type: ignore[attr-defined]
    module._WorkItem.__init__ = item__init__
    module.ProcessPoolExecutor.__init__ = __init__


def tell_executor(executor: Any) -> None:
    """Tell of an executor and how many workers it keeps at most."""
    wire.send(POOL, job=executor._max_workers)


class Buffer(deque):  # type: ignore[type-arg]
    """What waits for a queue's feeder thread, with the places where it was put."""

    def __init__(self) -> None:
        super().__init__()
        self.places: deque[str] = deque()

    def append(self, obj: Any) -> None:
        self.places.append("" if wire.over else site())  # first, as the feeder takes it after the object
        super().append(obj)

    def popleft(self) -> Any:
        obj = super().popleft()
        feeding[_thread.get_ident()] = self.places.popleft()
        return obj

    def clear(self) -> None:
        super().clear()
        self.places.clear()


def in_queues(module: Any) -> None:
    """Notes where something is put into a queue, which is pickled later, in another thread."""
    reset = module.Queue._reset

    def _reset(self: Any, *args: Any, **more: Any) -> None:
        reset(self, *args, **more)
        self._buffer = Buffer()

    module.Queue._reset = _reset
