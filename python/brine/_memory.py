"""The client's arena: where arguments lie that are too large for a socket, so that workers read them without a copy in between.

There is one for each process, for all of its pools: memory that was used before costs a third of new memory.
"""

from __future__ import annotations

import fcntl
import os
import threading
from typing import Optional

from . import _descriptors as descriptors
from ._arena import Arena

_SEAL_SHRINK_AND_GROW = 0x0002 | 0x0004
_ADD_SEALS = 1033
_SHARE = 4  # the arena may hold this fraction of the machine's memory; pages are found as they are needed
_SMALLEST = 64 << 20

_arena: Optional[Arena] = None
_making = threading.Lock()


def arena(size: Optional[int] = None) -> Optional[Arena]:
    """Return this process's arena, made of size bytes if there is none; None where the system has no such memory."""
    global _arena
    if _arena is not None or not hasattr(os, "memfd_create"):
        return _arena
    with _making:
        if _arena is None:
            if size is None:
                size = max(_SMALLEST, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _SHARE)
            with descriptors.lock:
                fd = os.memfd_create("brine", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
                descriptors.own([fd])
            os.ftruncate(fd, size)
            # A reader must not be ended by SIGBUS because somebody made the memory smaller.
            fcntl.fcntl(fd, _ADD_SEALS, _SEAL_SHRINK_AND_GROW)
            _arena = Arena(fd, 0, size, locked=True)
    return _arena


def _forget() -> None:
    """A forked child writes none of its parent's memory."""
    global _arena, _making
    _arena, _making = None, threading.Lock()


descriptors.after_fork(_forget)
