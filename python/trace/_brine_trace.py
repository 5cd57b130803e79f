"""What `brine trace` adds to multiprocessing: each dumps and each loads is told to the collector after it was done.

The original code does all the work, and does it once. Modules are changed when the program imports them.
"""

from __future__ import annotations

import _thread
import binascii
import sys
from functools import partial
from types import FunctionType

import _brine_wire
from _brine_origin import (
    EXECUTORS,
    feeding,
    in_executors,
    in_pool,
    in_popen_fork,
    in_popen_forkserver,
    in_process,
    in_queues,
    is_worker,
    items,
    jobs,
    makers,
    safely,
)
from _brine_where import name_of, objects_of, where
from _brine_wire import DUMPS, LARGEST, LOADS, now

TYPE_CHECKING = False  # typing would be most of the start-up
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Optional

wire = _brine_wire.wire

# What is pickled. The collector knows these numbers: internal/trace/frame.go.
MESSAGE, TASK, RESULT, PROCESS, PREPARATION, ANSWER, SIGNAL = range(7)
# How a task is laid out. BARE: function and arguments are the task's own; CHUNK: in the arguments of a helper function.
PLAIN, BARE, CHUNK, ITEM, ITEM_CHUNK, WORKER = range(6)
# Flags: the result is an exception; the worker is an executor's.
FAILED, OF_EXECUTOR = 1, 2

# Functions of multiprocessing in which pickling has no place in the user's program.
POOL_TASK, POOL_RESULT, FEEDER, ITEM_RESULT, SERVER, WORKERS, CALL, OWN = range(1, 9)
DUMPING = {
    "_handle_tasks": POOL_TASK,
    "worker": POOL_RESULT,
    "_feed": FEEDER,
    "_process_worker": ITEM_RESULT,
    "serve_client": SERVER,
    "handle_request": SERVER,
    "_handle_request": SERVER,
    "_repopulate_pool_static": WORKERS,
    "_callmethod": CALL,
    "dispatch": CALL,
    # A pool's own signals.
    "close": OWN,
    "terminate": OWN,
    "_terminate_pool": OWN,
    "_handle_workers": OWN,
    "__delitem__": OWN,
    "__del__": OWN,
}
LOADING = {
    "_handle_results": POOL_RESULT,
    "worker": POOL_TASK,
    "wait_result_broken_or_wakeup": ITEM_RESULT,
    "_process_worker": ITEM_RESULT,
    "serve_client": SERVER,
    "_help_stuff_finish": OWN,
}

_serving: dict[int, str] = {}  # what a manager's threads are to answer


def in_reduction(module: Any) -> None:
    """Listens at the pickler of connections, queues and pools, and at that of processes."""
    pickler: Any = module.ForkingPickler
    original_dumps = pickler.__dict__["dumps"].__func__
    original_loads = pickler.loads
    original_dump = module.dump

    def dumps(cls: Any, obj: Any, protocol: Optional[int] = None) -> Any:
        begin = now()
        stream = original_dumps(cls, obj, protocol)
        try:
            safely(tell_dumps, obj, stream, begin, now(), sys._getframe(1))
        except BaseException:
            del stream  # of which an exception must not keep hold: see let_go
            raise
        return stream

    def loads(data: Any, /, **more: Any) -> Any:
        begin = now()
        obj = original_loads(data, **more)
        safely(tell_loads, obj, data, begin, now(), sys._getframe(1))
        return obj

    def dump(obj: Any, file: Any, protocol: Optional[int] = None) -> None:
        try:
            start = file.tell()
        except (AttributeError, OSError):
            return original_dump(obj, file, protocol)
        begin = now()
        original_dump(obj, file, protocol)
        safely(tell_dump, obj, file, start, begin, now(), sys._getframe(1))
        return None

    pickler.dumps = classmethod(dumps)
    pickler.loads = staticmethod(loads)
    module.dump = dump


def tell_dumps(obj: Any, stream: Any, begin: int, end: int, frame: Optional[FrameType]) -> None:
    """Tell of what a pool, a queue or a connection pickled."""
    size = len(stream)
    place, role, at = where(frame, DUMPING)
    told: dict[str, Any] = {"begin": begin, "time": end - begin, "size": size}
    name = ""
    if role == POOL_TASK and type(obj) is tuple and len(obj) == 5:
        told.update(pool_task(obj))
        place, name = told.pop("place"), told.pop("name")
    elif role == POOL_RESULT and type(obj) is tuple and len(obj) == 3:
        failed = type(obj[2]) is tuple and not obj[2][0]
        told.update(kind=RESULT, job=obj[0], index=obj[1] or 0, shape=BARE, flags=FAILED if failed else 0)
    elif role == FEEDER:
        place = feeding.get(_thread.get_ident(), "")
        if is_a(obj, "_CallItem"):
            told.update(executor_task(obj))
            place, name = told.pop("place"), told.pop("name")
        elif obj is None and not place:  # an executor's, to its workers
            told["kind"] = SIGNAL
        else:
            name = "Queue.put"
    elif role == ITEM_RESULT and is_a(obj, "_ResultItem"):
        told.update(kind=RESULT, job=obj.work_id, shape=ITEM, flags=FAILED if obj.exception is not None else 0)
    elif role == SERVER:
        told["kind"] = ANSWER
        name = _serving.get(_thread.get_ident(), "manager")
    elif role == CALL and at is not None:
        place, _, _ = where(at, {})
        name = called(at)
    elif role:
        told["kind"] = SIGNAL
    else:
        name = sender(frame)
    if type(obj) in (type(None), int) and role in (POOL_TASK, POOL_RESULT, ITEM_RESULT):
        told["kind"] = SIGNAL
    wire.send(DUMPS, stream if size <= LARGEST else b"", strings=(name, place), **told)


def pool_task(obj: Any) -> dict[str, Any]:
    """Return what there is to say of a task of a pool."""
    job, index, func, args, _ = obj
    shape, tasks = BARE, 1
    if type(func) is FunctionType and func.__module__ == "multiprocessing.pool" and func.__name__ in MAPPING:
        shape = CHUNK
        func, args = args[0]
        tasks = len(args)
    result = jobs.get(job, nothing)()
    return {
        "kind": TASK,
        "shape": shape,
        "job": job,
        "index": index if index is not None else 0,
        "tasks": tasks,
        "objects": objects_of(func, args, shape == CHUNK),
        "name": name_of(func),
        "place": getattr(result, "_brine_place", ""),
    }


MAPPING = ("mapstar", "starmapstar")


def nothing() -> None:
    """Stand in for a reference to what is gone."""


def executor_task(obj: Any) -> dict[str, Any]:
    """Return what there is to say of a task of an executor."""
    func, args = obj.fn, obj.args
    shape, tasks = ITEM, 1
    if type(func) is partial and name_of(func.func) == "_process_chunk":
        shape = ITEM_CHUNK
        func, args = func.args[0], args[0]
        tasks = len(args)
    return {
        "kind": TASK,
        "shape": shape,
        "job": obj.work_id,
        "tasks": tasks,
        "objects": objects_of(func, args, shape == ITEM_CHUNK),
        "name": name_of(func),
        "place": items.pop(id(obj.kwargs), ""),
    }


def is_a(obj: Any, name: str) -> bool:
    """Whether an object is of a class of the executors' module."""
    return type(obj).__name__ == name and type(obj).__module__ == EXECUTORS


def sender(frame: Optional[FrameType]) -> str:
    """Return the name of the method that pickled for the user: Connection.send, SimpleQueue.put."""
    if frame is None:
        return ""
    owner = frame.f_locals.get("self")
    return f"{type(owner).__name__}.{frame.f_code.co_name}" if owner is not None else frame.f_code.co_name


def called(frame: FrameType) -> str:
    """Return the method that a manager is asked for: of an object, by its proxy, or of its own."""
    local = frame.f_locals
    owner = type(local["self"]).__name__ if "self" in local else "manager"
    return f"{owner}.{local.get('methodname', '')}"


def tell_loads(obj: Any, data: Any, begin: int, end: int, frame: Optional[FrameType]) -> None:
    """Tell of what was unpickled. The collector finds what it was by its size and its key."""
    place, role, _ = where(frame, LOADING)
    told: dict[str, Any] = {"kind": MESSAGE}
    if role in (POOL_TASK, POOL_RESULT) and type(obj) is tuple:
        told = {"kind": TASK if role == POOL_TASK else RESULT, "job": obj[0], "index": obj[1] or 0}
    elif role == ITEM_RESULT and is_a(obj, "_CallItem"):
        told = {"kind": TASK, "job": obj.work_id}
    elif role == ITEM_RESULT and is_a(obj, "_ResultItem"):
        told = {"kind": RESULT, "job": obj.work_id}
    elif role == SERVER and type(obj) is tuple and len(obj) > 1:
        _serving[_thread.get_ident()] = f"manager's answer to {obj[1]}"
    wire.send(LOADS, tasks=key_of(data), begin=begin, time=end - begin, size=len(data), strings=("", place), **told)


def key_of(data: Any) -> int:
    """Return by which, with its size, the collector knows a stream."""
    return binascii.crc32(data[-4096:], binascii.crc32(data[:4096]))


def tell_dump(obj: Any, file: Any, start: int, begin: int, end: int, frame: Optional[FrameType]) -> None:
    """Tell of a process object, or of what prepares a new process for one."""
    size = file.tell() - start
    place, role, at = where(frame, DUMPING)
    if role == WORKERS and at is not None:
        place = makers.get(id(at.f_locals.get("pool"))) or where(at.f_back, {})[0]
    stream = b""
    if size <= LARGEST:
        with file.getbuffer() as whole:
            stream = bytes(whole[start:])  # a copy, as the file is still written to
    kind, shape, flags = PREPARATION if type(obj) is dict else PROCESS, PLAIN, 0
    target = getattr(obj, "_target", None)
    if is_worker(target) and len(obj._args) > 3:
        shape, flags = WORKER, OF_EXECUTOR if target.__module__ == EXECUTORS else 0
        target = obj._args[2]  # the initializer
    wire.send(
        DUMPS,
        stream,
        kind=kind,
        shape=shape,
        flags=flags,
        begin=begin,
        time=end - begin,
        size=size,
        strings=(name_of(target) if target is not None else type(obj).__qualname__, place, process_name(obj)),
    )


def process_name(obj: Any) -> str:
    """Return the name of the process that a process object, or its preparation, is for."""
    return str(obj.get("name", "") if type(obj) is dict else getattr(obj, "_name", ""))


class Instead:
    """A module with something of it replaced, for one of those who use it."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self.__dict__.update(replaced)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def in_spawn(module: Any) -> None:
    """Listens where a process that was not forked gets what it is to do."""
    original = module.reduction.pickle.load

    def load(file: Any, **more: Any) -> Any:
        begin = now()
        obj = original(file, **more)
        safely(tell_load, obj, begin, now())
        return obj

    module.reduction = Instead(module.reduction, pickle=Instead(module.reduction.pickle, load=load))


def tell_load(obj: Any, begin: int, end: int) -> None:
    """Tell of a process object, or its preparation, that was unpickled."""
    kind = PREPARATION if type(obj) is dict else PROCESS
    wire.send(LOADS, kind=kind, begin=begin, time=end - begin, strings=("", "", process_name(obj)))


REPLACE: dict[str, Callable[[Any], None]] = {
    "multiprocessing.reduction": in_reduction,
    "multiprocessing.spawn": in_spawn,
    "multiprocessing.process": in_process,
    "multiprocessing.popen_fork": in_popen_fork,
    "multiprocessing.popen_forkserver": in_popen_forkserver,
    "multiprocessing.pool": in_pool,
    "multiprocessing.queues": in_queues,
    "concurrent.futures.process": in_executors,
}
