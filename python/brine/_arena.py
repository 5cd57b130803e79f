"""An arena: shared memory in which one process puts payloads that are too large for a pipe, and others read them.

The owner alone writes it and keeps the book of what is free, in memory of its own. This module knows extents and
pages; it doesn't know what lies in them, nor who tells the owner that a place is free again.
"""

from __future__ import annotations

import errno
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Any, Optional

STEP = 1 << 20
"""How many bytes get their pages at once, at least."""
BUDGET = 64 << 20
"""How many bytes beyond those in use keep their pages."""
PATIENCE = 1.0
"""For how many seconds pages beyond the budget must have been of no use before they are given back."""
_IOV_MAX = 1024
_FULL = (errno.ENOSPC, errno.ENOMEM)
_PUNCH_HOLE = 1 | 2  # FALLOC_FL_KEEP_SIZE, without which there is no FALLOC_FL_PUNCH_HOLE


class Arena:
    """The owner's side of an arena in the bytes from base to size of the shared memory fd.

    Places are multiples of granule bytes, and begin at multiples of it. They are given out from the lowest on, so that
    the same memory, which is warm, is used again and again. With locked, any thread may call any method.
    """

    def __init__(self, fd: int, base: int, size: int, granule: int = 4096, *, locked: bool = False) -> None:
        base = -(-base // granule) * granule
        size = max(size // granule * granule, base)
        self.fd = fd
        self.base = base
        self.size = size
        self.granule = granule
        self.in_use = 0
        """Bytes that are given out."""
        self._top = base  # up to here there are pages
        self._step = STEP
        self._offs = [base] if size > base else []  # of free extents, ascending and never adjacent
        self._ends = [size] if size > base else []
        self._taken: dict[int, int] = {}  # length by offset
        self._peak = base  # the end of the highest place since the last look
        self._looked = 0.0
        self._lock: AbstractContextManager[Any] = threading.Lock() if locked else nullcontext()

    def alloc(self, n: int) -> Optional[int]:
        """Return the offset of n bytes, or None if the arena, or the system, has no room for them."""
        n = max(-(-n // self.granule), 1) * self.granule
        with self._lock:
            offs, ends = self._offs, self._ends
            for i, off in enumerate(offs):
                end = off + n
                if end > ends[i]:
                    continue
                if end > self._top and not self._reserve(end):
                    return None
                if end == ends[i]:
                    del offs[i], ends[i]
                else:
                    offs[i] = end
                self._taken[off] = n
                self.in_use += n
                if end > self._peak:
                    self._peak = end
                return off
            return None

    def free(self, off: int) -> None:
        """Give the place at off back. Raise ValueError if there is none."""
        with self._lock:
            n = self._taken.pop(off, 0)
            if not n:
                raise ValueError(f"no place begins at {off}")
            self.in_use -= n
            offs, ends = self._offs, self._ends
            end = off + n
            i = bisect_left(offs, off)
            if i < len(offs) and offs[i] == end:
                offs[i] = off
                if i and ends[i - 1] == off:
                    ends[i - 1] = ends[i]
                    del offs[i], ends[i]
            elif i and ends[i - 1] == off:
                ends[i - 1] = end
            else:
                offs.insert(i, off)
                ends.insert(i, end)
            if self._top - self.base - self.in_use > BUDGET:
                self._trim()

    def write(self, off: int, parts: Sequence[Any]) -> None:
        """Write the parts, bytes-like objects, one after the other to the memory at off."""
        write_at(self.fd, off, parts)

    def _reserve(self, end: int) -> bool:
        """Find pages up to end, and some more so that this is not needed for every place."""
        to = min(max(end, self._top + self._step), self.size)
        for want in (to, end):
            try:
                os.posix_fallocate(self.fd, self._top, want - self._top)
            except OSError as e:
                if e.errno not in _FULL:
                    raise
                self._step = STEP
                continue
            self._top = want
            self._step = min(2 * self._step, BUDGET)
            return True
        return False

    def _trim(self) -> None:
        """Give pages back which are far above what was in use since the last look, if that was a while ago."""
        now = monotonic()
        if now - self._looked < PATIENCE:
            return
        self._looked = now
        peak, self._peak = self._peak, self.base
        if self._ends and self._ends[-1] == self.size:
            self._peak = self._offs[-1]
        else:
            self._peak = self.size
        keep = max(peak, self._peak, self.base + self.in_use + BUDGET)
        if self._top - keep < STEP:
            return
        punch = _fallocate()
        if punch is not None and punch(self.fd, _PUNCH_HOLE, keep, self._top - keep) == 0:
            self._top = keep
            self._step = STEP


def write_at(fd: int, off: int, parts: Sequence[Any]) -> None:
    """Write all the parts to fd at off, whatever their number and size."""
    rest = [p for p in parts if len(p)]
    while rest:
        batch = rest[:_IOV_MAX]
        n = os.pwritev(fd, batch, off)
        if n == 0:
            raise OSError(errno.ENOSPC, "shared memory takes no more bytes")
        off += n
        done = 0
        for part in batch:
            if n < len(part):
                break
            n -= len(part)
            done += 1
        del rest[:done]
        if n:
            rest[0] = memoryview(rest[0])[n:]


_found: list[Optional[Callable[[int, int, int, int], int]]] = []


def _fallocate() -> Optional[Callable[[int, int, int, int], int]]:
    """Return libc's fallocate, which the os module doesn't have, or None where it can't be reached."""
    if not _found:
        try:
            import ctypes

            f = ctypes.CDLL(None, use_errno=True).fallocate64
            f.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
            f.restype = ctypes.c_int
            _found.append(f)
        except Exception:
            _found.append(None)
    return _found[0]
