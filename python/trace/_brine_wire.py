"""The connection of a traced process to the collector, a process of `brine trace`.

Nothing here may end, delay or change the program: what fails is not tried again, and said once, on standard error. The
collector's side, with the layout of frames, is internal/trace/frame.go.
"""

from __future__ import annotations

import _socket  # not socket, for what that would import in every process
import _thread
import os
import sys
from struct import Struct
from time import monotonic_ns as now

TYPE_CHECKING = False  # typing would be most of the start-up
if TYPE_CHECKING:
    from typing import Optional, Union

    Body = Union[bytes, memoryview]

HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
VARIABLE = "BRINE_TRACE"  # process id of the program, and the collector's socket
HELLO, DUMPS, LOADS, NAME, BYE, STARTED, EXITED, SIGNALLED, POOL, READY, END = range(1, 12)

MODULES = (  # that are listened to
    "multiprocessing.reduction",
    "multiprocessing.spawn",
    "multiprocessing.process",
    "multiprocessing.popen_fork",
    "multiprocessing.popen_forkserver",
    "multiprocessing.pool",
    "multiprocessing.queues",
    "concurrent.futures.process",
)

LARGEST = 1 << 30  # bytes of a stream that is sent along; of larger ones the collector gets but the size
STALLED = 10  # seconds for which the collector may read nothing
NO_SIGNAL = getattr(_socket, "MSG_NOSIGNAL", 0)
MEMORY_EVERY = 100_000_000  # nanoseconds

_PREFIX = Struct("<IQ")  # of a frame: bytes of the header and of the body
_HEADER = Struct("<BBBBIqQQQQQ")  # op, kind, shape, flags, tasks, index, job, begin, time, size, memory
_OBJECT = Struct("<QBii")

try:
    from resource import RUSAGE_SELF, getrusage
except ImportError:  # not every build has it
    getrusage = None  # type: ignore[assignment]


class Wire:
    """What this process sends to the collector. A forked child begins anew."""

    def __init__(self, root: int, path: str) -> None:
        self.root, self.path = root, path
        self.over = False
        self.noted = False
        self.began = now()
        self._control: Optional[_socket.socket] = None
        self._control_inode = 0
        self._reset()

    def _reset(self) -> None:
        self.pid = os.getpid()
        self._socket: Optional[_socket.socket] = None
        self._inode = 0
        self._frames: list[list[Body]] = []
        self._lock = _thread.RLock()
        self._draining = False
        self._measured = 0

    def forked(self) -> None:
        """In a forked child: the parent's connections are not its own."""
        over = self.over
        self._close()
        self.over = over
        self.began = now()
        self._reset()

    def _drop(self, s: _socket.socket, inode: int) -> None:
        try:
            if os.fstat(s.fileno()).st_ino == inode:
                s.close()
                return
        except OSError:
            pass
        s.detach()  # the program has closed the descriptor, and it may be another file by now

    def send(
        self,
        op: int,
        body: Body = b"",
        kind: int = 0,
        shape: int = 0,
        tasks: int = 0,
        index: int = 0,
        job: int = 0,
        begin: int = 0,
        time: int = 0,
        size: int = 0,
        strings: tuple[str, ...] = (),
        objects: tuple[tuple[int, int, int, int], ...] = (),
        flags: int = 0,
    ) -> None:
        """Send one frame. It is on its way, or lost with the collector, when this returns."""
        if self.over:
            return
        if os.getpid() != self.pid:  # forked where Python didn't see it
            self.forked()
        try:
            header = [
                _HEADER.pack(
                    op, kind, shape, flags, tasks, index, job, begin or now(), time, size, self._memory(op, begin)
                )
            ]
            header.append(bytes((len(strings),)))
            for s in strings:
                text = s.encode("utf-8", "replace")[:4000]
                header += (len(text).to_bytes(2, "little"), text)
            header.append(len(objects).to_bytes(2, "little"))
            header += [_OBJECT.pack(*o) for o in objects]
            head = b"".join(header)
            self._frames.append([_PREFIX.pack(len(head), len(body)) + head, body])
            self._drain()
        except Exception as e:
            if not is_ours(e):
                raise
            self.stop(e)

    def _memory(self, op: int, moment: int) -> int:
        """The most memory that the process has had, in KiB as Linux has it, or 0 where that was said a moment ago."""
        if getrusage is None or (op != BYE and moment - self._measured < MEMORY_EVERY):
            return 0
        self._measured = moment
        most = getrusage(RUSAGE_SELF).ru_maxrss
        return most if sys.platform != "darwin" else most // 1024

    def _drain(self) -> None:
        with self._lock:  # which a handler of signals, or a finalizer, may take again within another frame's sending
            if self._draining:
                return  # that sending goes on
            try:
                self._draining = True
                while self._frames:
                    self._write(self._frames.pop(0))
            except BaseException:  # a signal's, in the middle of a frame: the connection can't be used any more
                if self._socket is not None:
                    self._drop(self._socket, self._inode)
                    self._socket = None
                raise
            finally:
                self._draining = False

    def _write(self, frame: list[Body]) -> None:
        s = self._socket
        if s is None:
            s = self._connect()
            self._write_all(s, self._hello(1))
        elif not self._is_ours(s):
            self._socket = None
            self._write(frame)
            return
        self._write_all(s, frame)

    def _is_ours(self, s: _socket.socket) -> bool:
        """Whether the program hasn't closed the descriptor, with all that it doesn't know."""
        try:
            if os.fstat(s.fileno()).st_ino == self._inode:
                return True
        except OSError:
            pass
        s.detach()
        return False

    def _connect(self) -> _socket.socket:
        s = self._open()
        self._inode = os.fstat(s.fileno()).st_ino
        self._socket = s
        return s

    def _open(self) -> _socket.socket:
        s = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        s.setblocking(True)  # whatever socket.setdefaulttimeout says
        wait = Struct("@ll").pack(STALLED, 0)
        s.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, wait)
        s.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, wait)
        s.connect(self.path)
        return s

    def _hello(self, role: int) -> list[Body]:
        head = _HEADER.pack(HELLO, role, 0, 0, 0, os.getppid(), self.pid, self.began, 0, 0, 0)
        directory = b""
        if self.pid == self.root:
            try:
                directory = os.fsencode(os.getcwd())[:4000]
            except OSError:
                pass
        head += b"\1" + len(directory).to_bytes(2, "little") + directory + b"\0\0"
        return [_PREFIX.pack(len(head), 0) + head]

    def _write_all(self, s: _socket.socket, parts: list[Body]) -> None:
        n = s.sendmsg(parts, (), NO_SIGNAL)
        if n == sum(map(len, parts)):
            return
        views = [memoryview(p) for p in parts]
        while True:
            while views and n >= len(views[0]):
                n -= len(views.pop(0))
            if not views:
                return
            views[0] = views[0][n:]
            n = s.sendmsg(views, (), NO_SIGNAL)

    def stop(self, e: Exception) -> None:
        """Trace no more."""
        self.over = True
        self._frames.clear()
        if isinstance(e, OSError) and not os.path.exists(self.path):
            return  # the bill is written, and who is still running then is not in it
        self.note(f"tracing of process {os.getpid()} ended: {type(e).__name__}: {e}")

    def note(self, text: str) -> None:
        """Say one thing to the user, once in a process."""
        if self.noted:
            return
        self.noted = True
        try:
            os.write(2, f"brine: {text}\n".encode())
        except OSError:
            pass

    def control(self) -> None:
        """Open the connection by which the collector knows that the program, the first process, is there."""
        try:
            s = self._open()
            self._write_all(s, self._hello(2))
            self._control, self._control_inode = s, os.fstat(s.fileno()).st_ino
        except OSError as e:
            self.over = True
            self.note(f"not traced: {e}")

    def end(self) -> None:
        """At the end of the process. The program waits there until the bill is written."""
        if self._socket is not None:
            self.send(BYE)
        self.over = True
        if self._socket is not None:
            self._drop(self._socket, self._inode)
            self._socket = None
        if os.getpid() == self.root and self._control is not None:
            self._await_bill(self._control)
        self._close()

    def _close(self) -> None:
        """Close the connections, so that Python has nothing to warn of."""
        self.over = True
        if self._socket is not None:
            self._drop(self._socket, self._inode)
        if self._control is not None:
            self._drop(self._control, self._control_inode)
        self._socket = self._control = None

    def _await_bill(self, control: _socket.socket) -> None:
        for stream in (sys.stdout, sys.stderr):  # so that the bill comes after what the program printed
            try:
                stream.flush()
            except Exception:
                pass
        try:
            self._write_all(control, [_PREFIX.pack(_HEADER.size + 3, 0), _HEADER.pack(END, *[0] * 10), b"\0\0\0"])
            limit = now() + 6 * STALLED * 1_000_000_000
            while now() < limit:
                said = control.recv(1)  # w: it is at work, d: done
                if said == b"d":
                    return
                if not said:
                    raise ConnectionError("the collector has ended before the program")
            raise TimeoutError("the collector takes too long")
        except OSError as e:
            self.note(f"no bill: {e}")
            self._clean()
        except BaseException:  # a signal: the program has ended, and who doesn't want to wait for the bill needn't
            pass

    def _clean(self) -> None:
        try:
            os.unlink(self.path)
            os.rmdir(os.path.dirname(self.path))
        except OSError:
            pass


def is_ours(e: Exception) -> bool:
    """Whether an error was made here. What a handler of signals has raised here is the program's."""
    trace = e.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or trace.tb_frame.f_code.co_filename.startswith(HERE)


def let_go(e: BaseException) -> None:
    """Have a passing exception's traceback not keep alive what was pickled: the program may keep the exception."""
    trace = e.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(HERE):
            try:
                trace.tb_frame.clear()
            except RuntimeError:  # it is still running
                pass
        trace = trace.tb_next


wire: Wire


def begin() -> bool:
    """Take up the connection that the environment names; tell whether there is one."""
    global wire
    if "wire" in globals():  # there are two of us on the path
        return False
    root, _, path = os.environ.get(VARIABLE, "").partition(":")
    if not root.isdigit() or not os.path.exists(path):  # else the program is long over
        return False
    wire = Wire(int(root), path)
    if os.getpid() == wire.root:
        wire.control()
    if wire.over:
        return False
    import atexit

    atexit.register(wire.end)  # before multiprocessing's own, and so it runs after them
    os.register_at_fork(after_in_child=wire.forked)
    return True
