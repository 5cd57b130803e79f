"""A worker: the process that runs the initializer and then tasks, as docs/PROTOCOL.md says.

``main`` is the whole life of one. This module knows frames and descriptors and how the process dies with its engine; it
doesn't know what tasks do, nor who started the process. ``python -m brine._worker`` is a worker of a pool of another
language.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from typing import Any, Optional

from . import _faults as faults
from . import _wire as wire
from ._control import Control
from ._lent import Lent
from ._outbox import Outbox
from ._tasks import Bound, Tasks
from ._wire import HEADER_SIZE, ProtocolError

FAULT = 70
"""Exit status of a worker that ends by its own or the protocol's fault, and not by a task's."""

NAMES = ("task", "result", "control", "crash", "journal", "leases", "stderr", "arena")
"""The descriptors of a worker. The last two are -1 if there are none."""

depth = 0
"""How many pools the tasks of this process are nested in."""

_BUFFER = 1 << 20
_CALLS = 0xFFFFFFFF  # the number of a function that needs no name: calls carry theirs with them
_chunk = struct.Struct("<qQ")
_own: list[int] = []  # descriptors that the children of tasks must not have
_out: list[Outbox] = []
_registered = False


class _Gone(Exception):
    """The engine is gone, which the control thread sees to."""


def main(
    descriptors: Any,
    inherited: Any = None,
    expect_initret: bool = False,
    *,
    initializer: Any = None,
    initargs: Any = (),
    depth: Optional[int] = None,
) -> None:
    """Serve a pool until it ends.

    descriptors has them as a sequence in the order of NAMES, as a mapping, or as attributes. The initializer comes with
    the first frame, or is given here; inherited, if it isn't None, has it and its arguments as attributes. depth is that
    of the pool.

    Raises:
        SystemExit: with status 1 if the initializer failed, which the engine was told; with status 70 if there was
            something wrong with the worker or with what it was sent.
        BaseException: what a task raised that is no Exception. The journal says that the task was running.
    """
    try:
        fds = _descriptors(descriptors)
        _settle(fds, depth)
        if inherited is not None:
            initializer, initargs = inherited.initializer, inherited.initargs
        _Worker(fds, initializer, initargs, expect_initret).serve()
    except (ProtocolError, struct.error, OSError) as e:
        _fault(e)


def _fault(e: BaseException) -> None:
    try:
        print(f"brine: worker: {e.__class__.__name__}: {e}", file=sys.stderr, flush=True)
    except Exception:
        pass  # there is nobody to tell
    raise SystemExit(FAULT) from None


def _descriptors(given: Any) -> dict[str, int]:
    given = getattr(given, "fds", given)
    if isinstance(given, dict):
        found = {name: given.get(name, -1) for name in NAMES}
    elif isinstance(given, (tuple, list)):
        found = dict(zip(NAMES, [*given, -1, -1]))
    else:
        found = {name: getattr(given, name, -1) for name in NAMES}
    for name, fd in found.items():
        if fd < 0 and name not in ("stderr", "arena"):
            raise ProtocolError(f"a worker without its descriptor {name}")
    return found


def _settle(fds: dict[str, int], nested: Optional[int]) -> None:
    """Make this process one that leads a group, dies with its engine, and keeps its descriptors to itself."""
    global depth, _registered
    try:
        os.setpgid(0, 0)
    except OSError:
        pass  # it leads a session
    if nested is not None:
        depth = nested
    for name, fd in fds.items():
        if fd >= 0 and name != "stderr":
            os.set_inheritable(fd, False)
    _own[:] = [fd for name, fd in fds.items() if fd >= 0 and name != "stderr"]
    if fds["stderr"] >= 0 and fds["stderr"] != 2:
        try:
            sys.stderr.flush()
        except (AttributeError, OSError, ValueError):
            pass
        os.dup2(fds["stderr"], 2)
        os.close(fds["stderr"])
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=_in_child)
    _speak_last(fds["crash"])
    try:
        # What to do about Ctrl-C is the client's to say. Not SIG_IGN, which programs that tasks start would inherit.
        signal.signal(signal.SIGINT, lambda number, frame: None)
    except ValueError:
        pass  # not in the main thread
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process()._config["daemon"] = False  # tasks may have children, and so pools
    import warnings

    # Our threads hold no locks that a child could miss.
    warnings.filterwarnings("ignore", r".*multi-threaded, use of fork\(\)", DeprecationWarning)


def _in_child() -> None:
    faulthandler = sys.modules.get("faulthandler")
    if _own and faulthandler is not None:
        faulthandler.disable()
        faulthandler.unregister(signal.SIGQUIT)
    for fd in _own:
        try:
            os.close(fd)
        except OSError:
            pass
    _own.clear()
    for out in _out:
        out.token.clear()  # should the child come back from the task, it finds out that it isn't the worker
    _out.clear()


def _speak_last(crash: int) -> None:
    """Have the stacks written to the crash pipe when the process dies of a fault, or is asked for them."""
    import faulthandler

    faulthandler.enable(crash, all_threads=True)
    faulthandler.register(signal.SIGQUIT, crash, all_threads=True)


def _room(n: int) -> mmap.mmap:
    """Return a buffer whose pages cost nothing until they are used."""
    return mmap.mmap(-1, n, mmap.MAP_PRIVATE)


class _Worker:
    """A worker that has its descriptors."""

    def __init__(self, fds: dict[str, int], initializer: Any, initargs: Any, expect: bool) -> None:
        self._fd = fds["task"]
        self._buf: Any = _room(_BUFFER)
        self._view = memoryview(self._buf)
        self._r = self._w = 0
        self._given = (initializer, initargs, expect)
        self.out = Outbox(fds["result"], fds["journal"])
        _out.append(self.out)
        self.tasks = Tasks(self.out, Lent(fds["journal"], fds["leases"]), fds["leases"], fds["arena"])
        self.control = Control(fds["control"], self.out, self.tasks)
        self._functions = {_CALLS}
        self._bound: dict[int, Bound] = {}

    def serve(self) -> None:
        """Greet, open the state, and run chunks until the pool ends."""
        self.control.start()
        try:
            self._open()
            self._loop()
        except (_Gone, BrokenPipeError):
            while True:
                time.sleep(60)  # the control thread ends the process
        self.out.write(wire.frame(wire.BYE, struct.pack("<Bq", wire.OK, 0)))

    def _open(self) -> None:
        kind, _, _, _, payload = self._next()
        if kind != wire.INIT:
            raise ProtocolError(f"the first frame is of type {kind}, not init")
        version, off = wire.take_u32(payload, 0)
        build, off = wire.take_bytes(payload, off)
        cap, off = wire.take_u64(payload, off)
        _, off = wire.take_bytes(payload, off)
        _, off = wire.take_bytes(payload, off)
        config, off = self.tasks.item(payload, off)
        if off != len(payload):
            raise ProtocolError(f"{len(payload) - off} bytes behind the configuration")
        config = bytes(config)
        hello = struct.pack("<II", wire.VERSION, os.getpid()) + wire.text(build)
        self.out.write(wire.frame(wire.HELLO, hello))
        start = time.monotonic_ns()
        decode = 0
        try:
            if version != wire.VERSION:
                raise ProtocolError(f"the engine speaks version {version} of the worker protocol, not {wire.VERSION}")
            if 0 < cap < 1 << 63:
                import resource

                resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
            initializer, initargs, expect = self._given
            if config:
                initializer, initargs, expect = self.tasks.load_kept(config)
            decode = time.monotonic_ns() - start
            if initializer is not None:
                initret = initializer(*initargs)
                if expect:
                    self.tasks.initret = {"initret": initret}
            self._given = (None, (), False)
        except Exception as e:
            body = faults.encode(e)
            self.out.write(wire.frame(wire.READY, struct.pack("<Bq", wire.TASK_ERROR, decode) + body))
            raise SystemExit(1) from None
        self.out.write(wire.frame(wire.READY, struct.pack("<Bq", wire.OK, decode)))

    def _loop(self) -> None:
        while True:
            kind, count, chunk, func, payload = self._next()
            if kind == wire.CHUNK:
                self._run(payload, chunk, count, func)
            elif kind == wire.FUNC:
                self._functions.add(func)
            elif kind == wire.BIND:
                if func not in self._functions:
                    raise ProtocolError(f"arguments are bound to function {func}, which has no name")
                body, end = self.tasks.item(payload, 0)
                if end != len(payload):
                    raise ProtocolError(f"{len(payload) - end} bytes behind bound arguments {chunk}")
                self._bound[chunk] = Bound(bytes(body))
            elif kind in (wire.FREE, wire.QUIT) and len(payload):
                raise ProtocolError(f"a frame of type {kind} with {len(payload)} bytes")
            elif kind == wire.FREE:
                self._bound.pop(chunk, None)
            elif kind == wire.QUIT:
                return
            else:
                raise ProtocolError(f"a frame of type {kind} on the task pipe")

    def _run(self, payload: memoryview, chunk: int, count: int, func: int) -> None:
        if len(payload) < _chunk.size:
            raise ProtocolError(f"a chunk of {len(payload)} bytes")
        if func not in self._functions:
            raise ProtocolError(f"chunk {chunk} is for function {func}, which has no name")
        timeout, bound = _chunk.unpack_from(payload)
        if bound and bound not in self._bound:
            raise ProtocolError(f"chunk {chunk} needs bound arguments {bound}, which never came")
        if self.control.begin(chunk):
            if count == 1 and not bound and not timeout and self.tasks.run_single(payload[_chunk.size :], chunk):
                return
            self.tasks.run(payload[_chunk.size :], chunk, count, timeout, self._bound[bound] if bound else None)

    def _next(self) -> tuple[int, int, int, int, memoryview]:
        """Return type, count, chunk, function and payload of the next frame, valid until the next call.

        Before this waits for one, everything that was published is written.
        """
        while True:
            r = self._r
            if self._w - r >= HEADER_SIZE:
                n, count, kind, _, _, _, chunk, _, func = wire.HEADER.unpack_from(self._buf, r)
                start = r + HEADER_SIZE
                end = start + n
                if end <= self._w:
                    self._r = end
                    return kind, count, chunk, func, self._view[start:end]
                if n > wire.MAX_PAYLOAD:
                    raise ProtocolError(f"a frame of {n} bytes")
                if end - r > len(self._buf):
                    self._grow(end - r)
            self._fill()

    def _grow(self, n: int) -> None:
        """Make room for a frame of n bytes: for what it claims up to a bound, and then by what has come."""
        size = min(n, max(64 << 20, 2 * len(self._buf)))
        rest = self._view[self._r : self._w]
        buf = _room(size)
        buf[: len(rest)] = rest
        self._r, self._w = 0, len(rest)
        self._buf, self._view = buf, memoryview(buf)

    def _fill(self) -> None:
        if self._r == self._w:
            self._r = self._w = 0
            if len(self._buf) > _BUFFER:
                self._buf = _room(_BUFFER)
                self._view = memoryview(self._buf)
        elif self._r > 0 and (self._w == len(self._buf) or self._r > len(self._buf) // 2):
            rest = bytes(self._view[self._r : self._w])
            self._buf[: len(rest)] = rest
            self._r, self._w = 0, len(rest)
        out = self.out
        if out.frame:
            out.flush()
        token = out.token
        token.append(False)
        n = os.readv(self._fd, [self._view[self._w :]])
        try:
            token.pop()
        except IndexError:
            out.rejoin()
        if n == 0:
            raise _Gone
        self._w += n


def run() -> None:
    """Be the worker of a pool that started this program with the descriptors of docs/PROTOCOL.md."""
    if os.environ.pop("BRINE_WORKER", None) != "1":
        sys.exit("brine: this program is a pool's worker, and not to be run by hand")
    try:
        nested = int(os.environ.get("BRINE_DEPTH", "0"))
    except ValueError:
        nested = 0
    main((3, 4, 5, 6, 7, 8), depth=nested)


if __name__ == "__main__":
    from brine._worker import run as _run  # so that there is one module of the name, which tasks may import

    _run()
