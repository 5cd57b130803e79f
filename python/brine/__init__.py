"""Brine: `multiprocessing.Pool` done again, with an engine in Go.

    from brine import Pool

in place of ``from multiprocessing import Pool``, and nothing else changes: what does not change is pickled once, a worker's death
is its task's error, and ``pool.report()`` says what was sent.
"""

from __future__ import annotations

from multiprocessing.pool import ThreadPool

from ._failure import RemoteError
from ._report import report_at_exit as _report_at_exit  # noqa: F401  (for what `brine run` puts before a program)
from .errors import (
    CancelledError,
    CrashError,
    EngineError,
    PoolClosedError,
    SendError,
    SizeWarning,
    TaskTimeoutError,
    TimeoutError,
)
from .pool import Pool
from .results import AsyncResult, IMapIterator, IMapUnorderedIterator, MapResult

__version__ = "0.4.0"

size_warning = 100 << 20
"""What takes more bytes than this, pickled, is sent with a SizeWarning; None for never."""

__all__ = [
    "AsyncResult",
    "CancelledError",
    "CrashError",
    "EngineError",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "Pool",
    "PoolClosedError",
    "RemoteError",
    "SendError",
    "SizeWarning",
    "TaskTimeoutError",
    "ThreadPool",
    "TimeoutError",
    "size_warning",
]
