"""The worker's side of the result pipe, and the journal that keeps what the worker has finished if it is killed.

docs/PROTOCOL.md says what lies where in the journal, and in which order it is stored. This module knows frames and
bytes; it doesn't know what a task is. The thread that runs tasks owns the outbox, except while it has put the token
down: then another thread may take the token, write, and put it back. A list of at most one element is the token, for
appending to it and popping from it are the cheapest things that only one thread at a time can do.
"""

from __future__ import annotations

import _thread
import mmap
import os
import struct
import time
from typing import Any

from ._wire import HEADER, HEADER_SIZE, RESULTS, WORD, ProtocolError

JOURNAL_SIZE = 512 << 10
AREA = 4096
STATS_SIZE = 32
CURRENT = 0
STARTED = 1
BASE = 2
LAST = 3

_ALONE = struct.Struct("<QHHIQII4qQB")  # a frame with one result: header, account, word and form

LATE = 1_000_000
"""For how many nanoseconds a result may wait for others."""
_TICK = LATE / 1e9
_IDLE_TICKS = 20

UNTOUCHED = False
WRITTEN = True


class Outbox:
    """Publishes results in the journal at fd journal, and writes them to the pipe at fd pipe.

    Attributes:
        memory: the journal.
        words: its words.
        pos: offset in the journal behind the last item.
        frame: offset of the frame that is being appended to, 0 for none.
        count: results in it.
        token: empty while the owner is at work; its value says whether somebody wrote meanwhile.
        attention: not empty when the owner should come back to its loop, soon.
        due: when, on the clock of time.monotonic_ns, the owner has to flush.
    """

    def __init__(self, pipe: int, journal: int) -> None:
        self.pipe = pipe
        self.memory = mmap.mmap(journal, JOURNAL_SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._view = memoryview(self.memory)
        self.words = self._view.cast("Q")
        self.stats = self._view.cast("q")
        self.pos = AREA
        self.frame = 0
        self.count = 0
        self.token: list[bool] = []
        self.attention: list[bool] = []
        self.due = 0
        self._chunk = 0
        self._first = 0
        self._base = 0
        self._lock = _thread.allocate_lock()  # held by who has taken the token in the owner's place
        self._pid = os.getpid()
        self._ticking = False
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._started = False

    # For the owner.

    def begin(self, chunk: int) -> None:
        """Note that the tasks of a chunk are running from now on."""
        self.words[CURRENT] = chunk
        if self.frame:
            self.arm()
        else:
            self.due = time.monotonic_ns() + LATE

    def end(self) -> None:
        """Note that no chunk is running."""
        self.words[CURRENT] = 0
        self.words[STARTED] = 0

    def open(self, chunk: int, index: int) -> None:
        """Begin a frame for results of a chunk from index on, unless the last frame can go on with it.

        The frame has room for a small result.
        """
        if self.frame:
            if self._chunk == chunk and self._first + self.count == index:
                return
            if self.pos > JOURNAL_SIZE - AREA:
                self.flush()
        frame = (self.pos + 7) & -8
        HEADER.pack_into(self.memory, frame, 0, 0, RESULTS, 0, 0, 0, chunk, index, 0)
        self.memory[frame + HEADER_SIZE : frame + HEADER_SIZE + STATS_SIZE] = bytes(STATS_SIZE)
        self.frame, self.count, self._chunk, self._first = frame, 0, chunk, index
        self.pos = frame + HEADER_SIZE + STATS_SIZE
        self.words[LAST] = frame - AREA + 8

    def publish(self, chunk: int, index: int, word: int, body: bytes) -> None:
        """Publish one result: the word of its item, and what is behind it.

        When this returns, the result is safe from the death of this process. It is written later; one that is larger
        than the journal has been.
        """
        n = len(body)
        if n + 8 + HEADER_SIZE + STATS_SIZE + 8 > JOURNAL_SIZE - AREA:
            self._publish_large(chunk, index, word, body)
            return
        self.open(chunk, index)
        if self.pos + 8 + n > JOURNAL_SIZE - 8:
            self.flush()
            self.open(chunk, index)
        pos = self.pos
        WORD.pack_into(self.memory, pos, word)
        self.memory[pos + 8 : pos + 8 + n] = body
        self.pos = pos = pos + 8 + n
        self.count += 1
        # The one store that makes it count: length and number of results together.
        self.words[self.frame >> 3] = self.count << 32 | (((pos + 7) & -8) - self.frame - HEADER_SIZE)

    def publish_alone(self, chunk: int, data: bytes, run: int, decode: int, encode: int) -> None:
        """Publish the only result of a chunk, a small pickle, and write it. There must be no open frame."""
        n = len(data)
        words = self.words
        end = (AREA + _ALONE.size + n + 7) & -8
        size = end - AREA
        _ALONE.pack_into(self.memory, AREA, 0, RESULTS, 0, 0, chunk, 0, 0, run, decode, encode, 0, n + 1, 0)
        words[LAST] = 8
        self.memory[AREA + _ALONE.size : AREA + _ALONE.size + n] = data
        words[AREA >> 3] = 1 << 32 | (size - HEADER_SIZE)
        words[CURRENT] = 0
        self._write(self._view[AREA:end])
        words[LAST] = 0
        self._base += size
        words[BASE] = self._base

    def account(self, run: int, decode: int, encode: int, bound: int) -> None:
        """Add nanoseconds to the account of the last frame; there must be one."""
        stats, at = self.stats, (self.frame + HEADER_SIZE) >> 3
        stats[at] += run
        stats[at + 1] += decode
        stats[at + 2] += encode
        if bound:
            stats[at + 3] += bound

    def arm(self) -> None:
        """Make sure that what is published is soon written, whatever the next task does."""
        if not self._ticking:
            self._ticking = True
            if self._started:
                self._wake.release()
            else:
                self._started = True
                _thread.start_new_thread(self._tick, ())

    def flush(self) -> None:
        """Write what is published to the pipe."""
        words = self.words
        last = words[LAST]
        if last:
            end = last - 8 + AREA
            word = words[end >> 3]
            if word >> 32:
                end += HEADER_SIZE + (word & 0xFFFFFFFF)
            if end > AREA:
                self._write(self._view[AREA:end])
            words[LAST] = 0  # before base: at every instant between, who looks for the rest of the stream finds none
            self._base += end - AREA
            words[BASE] = self._base
            self.frame, self.pos, self.count = 0, AREA, 0
        self.due = time.monotonic_ns() + LATE

    def write(self, frame: bytes) -> None:
        """Write a frame that isn't results, behind all that is published."""
        self.flush()
        self._write(frame)
        self._base += len(frame)
        self.words[BASE] = self._base

    def put_down(self) -> None:
        """Let others write until take_up."""
        self.token.append(UNTOUCHED)

    def take_up(self) -> bool:
        """End what put_down began. Return whether somebody wrote, so that frame, pos and count are new."""
        try:
            return self.token.pop()
        except IndexError:
            return self.rejoin()

    def rejoin(self) -> bool:
        """Wait for who has the token."""
        if os.getpid() != self._pid:
            os._exit(0)  # a child that a task has forked came back from the task; the task has its parent's result
        with self._lock:
            return self.token.pop()

    # For other threads.

    def claim(self) -> bool:
        """Take the token, if the owner has put it down; then release must be called."""
        self._lock.acquire()
        try:
            self.token.pop()
        except IndexError:
            self._lock.release()
            return False
        return True

    def release(self) -> None:
        """Give the token back."""
        self.token.append(WRITTEN)
        self._lock.release()

    def _tick(self) -> None:
        """Write what waits in the journal while a task runs."""
        try:
            while True:
                idle = 0
                while idle < _IDLE_TICKS:
                    time.sleep(_TICK)
                    if not self.words[LAST]:
                        idle += 1
                        continue
                    idle = 0
                    if self.claim():
                        try:
                            self.flush()
                        finally:
                            self.release()
                self._ticking = False
                self.attention.append(True)  # where many tasks run in a row, nobody would see that this is over
                if self.words[LAST]:
                    self._ticking = True  # the owner may have seen it before it was unset
                    continue
                self._wake.acquire()
        except OSError:
            pass  # the pipe is broken, as the owner will find

    def _publish_large(self, chunk: int, index: int, word: int, body: bytes) -> None:
        self.flush()
        n = STATS_SIZE + 8 + len(body)
        head = HEADER.pack(n, 1, RESULTS, 0, 0, 0, chunk, index, 0) + bytes(STATS_SIZE) + WORD.pack(word)
        self._write(head)
        self._write(body)
        self._base += HEADER_SIZE + n
        self.words[BASE] = self._base

    def _write(self, data: Any) -> None:
        n = os.write(self.pipe, data)
        while n < len(data):
            data = memoryview(data)[n:]
            n = os.write(self.pipe, data)


def size_of(fd: int, least: int) -> int:
    """Return the size of the shared memory fd, which must have at least so many bytes."""
    n = os.fstat(fd).st_size
    if n < least:
        raise ProtocolError(f"shared memory of {n} bytes is too small")
    return n
