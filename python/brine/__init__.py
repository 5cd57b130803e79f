"""Brine: `multiprocessing.Pool` done again, with an engine in Go.

    from brine import Pool

in place of ``from multiprocessing import Pool``, and nothing else changes: what does not change is pickled once, a worker's death
is its task's error, and ``pool.report()`` says what was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.pool import ThreadPool

    from ._explain import Explanation, explain
    from ._failure import RemoteError
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
    "Explanation",
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
    "explain",
    "size_warning",
]

_ERRORS = "brine.errors"
_HOMES = {
    "AsyncResult": "brine.results",
    "CancelledError": _ERRORS,
    "CrashError": _ERRORS,
    "EngineError": _ERRORS,
    "Explanation": "brine._explain",
    "IMapIterator": "brine.results",
    "IMapUnorderedIterator": "brine.results",
    "MapResult": "brine.results",
    "Pool": "brine.pool",
    "PoolClosedError": _ERRORS,
    "RemoteError": "brine._failure",
    "SendError": _ERRORS,
    "SizeWarning": _ERRORS,
    "TaskTimeoutError": _ERRORS,
    "ThreadPool": "multiprocessing.pool",
    "TimeoutError": _ERRORS,
    "explain": "brine._explain",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: workers, which import this package too, don't need the client's half of it."""
    import importlib

    if name == "_report_at_exit":
        return importlib.import_module("brine._report").report_at_exit
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
