"""The worker's end of the control socket: what the pool wants while a task is running.

A thread reads it always, for its end is the engine's. This module knows which chunks have begun and which were taken back.
"""

from __future__ import annotations

import _thread
import os
import signal
import socket
import time

from . import _wire as wire
from ._outbox import Outbox
from ._tasks import Tasks
from ._wire import HEADER, HEADER_SIZE, ProtocolError

_SHARE_SIZE = 8
_PAUSE = 0.0002


class Control:
    """What comes over the control socket at fd."""

    def __init__(self, fd: int, out: Outbox, tasks: Tasks) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._out = out
        self._tasks = tasks
        self._lock = _thread.allocate_lock()
        self._begun = 0  # id of the last chunk that was
        self._recalled: dict[int, bool] = {}  # chunks that will not be run, and whether the pool knows
        self._shared = 0  # descriptors that have come and not been spoken of
        self._pid = os.getpid()

    def start(self) -> None:
        """Begin to listen."""
        _thread.start_new_thread(self._listen, ())

    def begin(self, chunk: int) -> bool:
        """Say that a chunk has come. Return whether it is to be run; if not, the pool knows. It is for the outbox's owner."""
        with self._lock:
            if chunk <= self._begun:
                raise ProtocolError(f"chunk {chunk} comes after chunk {self._begun}")
            self._begun = chunk
            known = self._recalled.pop(chunk, None)
            if known is False:
                self._out.write(wire.frame(wire.RETURNED, chunk=chunk))
        return known is None

    def _listen(self) -> None:
        try:
            buf = b""
            while True:
                try:
                    data, fds, flags, _ = socket.recv_fds(self._socket, 4096, 16)
                except ConnectionResetError:
                    data, fds, flags = b"", [], 0
                for fd in fds:
                    os.close(fd)  # shared data, which nothing in this language refers to yet
                self._shared += len(fds) or bool(flags & socket.MSG_CTRUNC)  # there was no room for one
                if not data:
                    self._end()
                buf = self._take(buf + data)
        except BaseException as e:
            if os.getpid() == self._pid:
                try:
                    os.write(2, f"brine: worker: {e.__class__.__name__}: {e}\n".encode("utf-8", "replace"))
                except OSError:
                    pass
                os._exit(70)

    def _end(self) -> None:
        """The engine is gone: so is this process, and all that it has started."""
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(70)

    def _take(self, buf: bytes) -> bytes:
        while len(buf) >= HEADER_SIZE:
            n, _, kind, _, _, _, chunk, _, _ = HEADER.unpack_from(buf)
            if kind not in (wire.CANCEL, wire.RECALL, wire.SHARE, wire.FORGET):
                raise ProtocolError(f"a frame of type {kind} on the control socket")
            if n != (_SHARE_SIZE if kind == wire.SHARE else 0):
                raise ProtocolError(f"a control frame of type {kind} with {n} bytes")
            if len(buf) < HEADER_SIZE + n:
                break
            buf = buf[HEADER_SIZE + n :]
            if kind == wire.SHARE:
                if not self._shared:
                    raise ProtocolError("a share frame without a descriptor")
                self._shared -= 1
            if kind == wire.CANCEL:
                self._cancel(chunk, True)
            elif kind == wire.RECALL:
                self._cancel(chunk, False)
        return buf

    def _cancel(self, chunk: int, stop: bool) -> None:
        """Take a chunk back that has not begun. One that has is told to begin no other task, or left alone."""
        with self._lock:
            if chunk <= self._begun:
                if stop and chunk == self._begun:
                    self._tasks.cancelled = chunk
                    self._tasks.attention.append(True)
                return
            if chunk in self._recalled:
                return
            self._recalled[chunk] = False
        while not self._out.claim():
            self._tasks.attention.append(True)
            time.sleep(_PAUSE)
        try:
            with self._lock:
                if self._recalled.get(chunk) is False:
                    self._recalled[chunk] = True
                    self._out.write(wire.frame(wire.RETURNED, chunk=chunk))
        finally:
            self._out.release()
