"""The connection to the engine, a child process that schedules, watches and accounts for all pools of this process.

It knows frames and who waits for them; it doesn't know what a task is, nor how workers are started. docs/PROTOCOL.md, "The
client protocol", says what goes over the socket. One thread reads it, and hands everything to the pool or the job
that it is for; whoever has something to say writes it himself.
"""

from __future__ import annotations

import _thread
import array
import atexit
import collections
import itertools
import os
import select
import shutil
import signal
import socket
import struct
import threading
from multiprocessing import util
from typing import Any, Optional

from . import _descriptors as descriptors
from . import _wire as wire
from ._failure import Failure
from .errors import EngineError

_BUFFER = 1 << 20
_MAX_DESCRIPTORS = 16
_REMEMBERED = 256
_MAIN = threading.main_thread().ident
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_STOP_PRIORITY = 5  # after the pools, which end at 15 as the standard library's do


def find() -> str:
    """Return the path of the engine's program."""
    named = os.environ.get("BRINE_ENGINE")
    if named:
        if not os.access(named, os.X_OK):
            raise EngineError(f"brine: BRINE_ENGINE names {named!r}, which can't be run")
        return named
    bundled = os.path.join(os.path.dirname(__file__), "_bin", "brine")
    if os.access(bundled, os.X_OK):
        return bundled
    found = shutil.which("brine")
    if found is None:
        raise EngineError(
            "brine: the engine was not found: install the package with pip, which builds it, or put the program brine "
            "on PATH, or name it by BRINE_ENGINE"
        )
    return found


class Engine:
    """The engine of this process."""

    _current: Optional[Engine] = None
    _starting = threading.Lock()

    @classmethod
    def get(cls) -> Engine:
        """Return this process's engine, started if there is none."""
        with cls._starting:
            if cls._current is None or cls._current.dead is not None:
                cls._current = cls()
            return cls._current

    def __init__(self) -> None:
        self.dead: Optional[EngineError] = None
        self.jobs: dict[int, Any] = {}  # what was submitted and has not ended, by number
        self.pools: dict[int, Any] = {}  # cores of pools, by number
        self.workers: dict[int, Any] = {}  # and the last of those that have ended
        self._past: collections.deque[int] = collections.deque()
        self.job_numbers = itertools.count(1)
        self.pool_numbers = itertools.count(1)
        self._sending = threading.Lock()
        self._out: list[bytes] = []
        self._start(find())
        # It is there as long as the process, and is not to be counted among the threads that a program has to end.
        self._reader = 0
        self._ended = threading.Event()
        _thread.start_new_thread(self._read, ())
        self._finalizer = util.Finalize(None, self._stop, exitpriority=_STOP_PRIORITY)
        atexit.register(self._stop)  # for programs that leave without multiprocessing's own handler

    def _start(self, path: str) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "BRINE_WORKER"}
        with descriptors.lock:
            ours, theirs = socket.socketpair()
            descriptors.own([ours.fileno()])
        with theirs:
            for end in (ours, theirs):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    end.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            # A descriptor that is 3 already would keep its close-on-exec flag in some C libraries.
            spare = os.dup(theirs.fileno()) if theirs.fileno() == 3 else -1
            try:
                self.pid = os.posix_spawn(
                    path,
                    ["brine", "engine"],
                    environment,
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                        (os.POSIX_SPAWN_DUP2, spare if spare >= 0 else theirs.fileno(), 3),
                    ],
                    setpgroup=0,  # Ctrl-C is for the program, which then decides
                    setsigmask=[],
                    setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
                )
            except OSError as err:
                descriptors.close(ours.detach())
                raise EngineError(f"brine: the engine {path!r} could not be started: {err}") from err
            finally:
                if spare >= 0:
                    os.close(spare)
        self._socket = ours
        self._owner = os.getpid()
        self.send(wire.frame(wire.CLIENT_HELLO, struct.pack("<II", wire.CLIENT_VERSION, os.getpid())))

    def remember(self, number: int) -> None:
        """Take note that a worker has ended. It is still known for a while: what it left may come after its end."""
        self._past.append(number)
        if len(self._past) > _REMEMBERED:
            self.workers.pop(self._past.popleft(), None)

    # Writing.

    def send(self, *frames: bytes) -> None:
        """Write frames, after those that were held back."""
        with self._sending:
            self._out.extend(frames)
            self._write()

    def send_descriptors(self, frame: bytes, fds: list[int]) -> None:
        """Write a frame with descriptors."""
        with self._sending:
            self._write()
            try:
                sent = self._socket.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
                if sent < len(frame):
                    self._socket.sendall(frame[sent:])
            except OSError:
                pass

    def hold(self, frame: bytes, limit: int) -> None:
        """Write a frame soon: with the next that is sent, when the next answer comes, or when limit of them wait.

        Only for a pool that has tasks enough in the engine, so that an answer will come before its workers run out.
        """
        with self._sending:
            self._out.append(frame)
            if len(self._out) >= limit:
                self._write()

    def _write(self) -> None:
        if not self._out:
            return
        if _thread.get_ident() != _MAIN:
            self._write_all()
            return
        # A handler that raises, as Ctrl-C's does, must not do so when a part of a frame is written.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
        try:
            self._write_all()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _write_all(self) -> None:
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        try:
            self._socket.sendall(data)
        except OSError:
            pass  # the reader meets the end of the socket, and tells everybody

    # Reading.

    def is_reader(self) -> bool:
        """Return whether this thread is the one that reads, which must not wait for what the engine says."""
        return _thread.get_ident() == self._reader

    def _read(self) -> None:
        self._reader = _thread.get_ident()
        why: Optional[BaseException] = None
        try:
            self._read_frames()
        except wire.ProtocolError as err:
            why = err
        except BaseException as err:  # whatever it is, nobody may wait for ever
            why = err
            if not isinstance(err, OSError):
                util.get_logger().error("brine: reading from the engine", exc_info=True)
        self._lose(why)

    def _read_frames(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        buffer = bytearray(_BUFFER)
        begin = end = 0  # of what was received and not taken
        space = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)
        fds: list[int] = []
        unpack, size = wire.HEADER.unpack_from, wire.HEADER.size
        while True:
            view = memoryview(buffer)
            while end - begin >= size:
                length, count, kind, _, _, pool, job, first, worker = unpack(buffer, begin)
                if end - begin - size < length:
                    break
                payload = view[begin + size : begin + size + length]
                begin += size + length
                if kind == wire.ENGINE_RESULTS:
                    target = self.jobs.get(job)
                    if target is not None:
                        target._results(first, count, worker, payload)
                        target = None  # or it would live until the next frame
                else:
                    self._dispatch(kind, count, pool, job, first, worker, payload, fds)
                del payload
            if self._out:
                with self._sending:
                    self._write()
            if begin == end:
                begin = end = 0
            needed = size if end - begin < size else size + unpack(buffer, begin)[0]
            if begin + needed > len(buffer) or (begin > 0 and len(buffer) - end < size):
                view.release()
                rest = buffer[begin:end]
                if needed > len(buffer) or len(buffer) > _BUFFER >= needed:
                    buffer = bytearray(max(_BUFFER, needed))
                buffer[: len(rest)] = rest
                begin, end = 0, len(rest)
                view = memoryview(buffer)
            poll.poll()
            # Whatever descriptors come must be in the table before anything forks.
            with descriptors.lock:
                got, ancillary, _, _ = self._socket.recvmsg_into([view[end:]], space, socket.MSG_CMSG_CLOEXEC)
                for level, kind, data in ancillary:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        received = array.array("i")
                        received.frombytes(data[: len(data) - len(data) % received.itemsize])
                        fds.extend(received)
                        descriptors.own(received)
            view.release()
            if got == 0:
                return
            end += got

    def _dispatch(
        self, kind: int, count: int, pool: int, job: int, first: int, worker: int, payload: Any, fds: list[int]
    ) -> None:
        if kind == wire.ENGINE_FAILED:
            target = self.jobs.get(job)
            if target is not None:
                target._failed(first, Failure.parse(payload))
        elif kind == wire.ENGINE_HELLO:
            version = struct.unpack_from("<I", payload)[0]
            if version != wire.CLIENT_VERSION:
                raise wire.ProtocolError(
                    f"the engine speaks version {version} of the client protocol, this package {wire.CLIENT_VERSION}"
                )
        elif kind == wire.ENGINE_ERROR:
            raise wire.ProtocolError("the engine says: " + wire.take_text(payload, 0)[0])
        else:
            core = self.pools.get(pool)
            if kind == wire.ENGINE_START:
                mine = [fds.pop(0) for _ in range(9)]
                if core is None:
                    descriptors.close(*mine)
                    self.send(wire.frame(wire.CLIENT_STARTED, struct.pack("<I", 0) + wire.text("no pool"), func=worker))
                else:
                    core._start_asked(worker, mine)
            elif core is not None:
                core._told(kind, worker, payload)

    # The end.

    def _lose(self, why: Optional[BaseException]) -> None:
        """The engine is gone: whatever is open fails."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        status = self._reap()
        text = f"brine: the engine (process {self.pid}) {status}, with all that was being done; make a new pool"
        if why is not None:
            text += f" ({why})"
        self.dead = EngineError(text)
        if Engine._current is self:
            Engine._current = None
        for core in list(self.pools.values()):
            core._engine_lost()
        for job in list(self.jobs.values()):
            job._abandon(EngineError(text))
        self.jobs.clear()
        self.pools.clear()
        descriptors.close(self._socket.detach())
        self._ended.set()

    def _reap(self) -> str:
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return "has ended"
        if os.WIFSIGNALED(status):
            return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
        return f"exited with status {os.WEXITSTATUS(status)}"

    def _stop(self) -> None:
        """End the engine, and wait for its end."""
        if self._owner != os.getpid() or self.dead is not None:
            return
        with self._sending:
            self._write()
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return
        if not self.is_reader():
            self._ended.wait()


def _forget() -> None:
    """A forked child has no engine, until it makes a pool of its own."""
    engine, Engine._current = Engine._current, None
    Engine._starting = threading.Lock()
    if engine is not None:
        engine.dead = EngineError("brine: this pool belongs to the parent process; make one here")
        engine._socket.detach()
        engine.jobs, engine.pools, engine.workers = {}, {}, {}


descriptors.after_fork(_forget)
