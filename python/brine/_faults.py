"""What became of a task that raised: an encoded error, with the exception itself where it can be sent.

This module knows exceptions, tracebacks and pickles. It doesn't know frames.
"""

from __future__ import annotations

import os
import pickle
from types import TracebackType
from typing import Any, Optional

from . import _wire as wire
from ._pickle import dumps

_HERE = os.path.dirname(os.path.abspath(__file__))


def encode(exc: BaseException, doing: str = "", type: Optional[str] = None) -> bytes:
    """Return the encoded error of an exception. doing says what failed, if it was not the function.

    The exception loses its traceback, so that nothing the task used stays alive with it.
    """
    trace = text(exc)
    message = wire.describe(exc)
    if doing:
        trace = f"brine: {doing} failed in the worker:\n{trace}"
        message = f"{doing}: {message}"
    return wire.encode_error(exc, type, message, concrete(exc, trace))


def text(exc: BaseException) -> str:
    """Return the formatted traceback of an exception, without our own frames, and take the traceback from it."""
    import traceback

    tb: Optional[TracebackType] = exc.__traceback__
    while tb is not None and os.path.dirname(tb.tb_frame.f_code.co_filename) == _HERE:
        tb = tb.tb_next
    try:
        # One that was raised in C has no frame but ours.
        return "".join(traceback.format_exception(exc.__class__, exc, tb or exc.__traceback__))
    except Exception as e:
        return f"{wire.type_name(exc.__class__)}: its traceback can't be formatted: {wire.describe(e)}\n"
    finally:
        strip(exc)


def strip(exc: Optional[BaseException]) -> None:
    """Take the tracebacks from an exception and from those that led to it."""
    seen = set()
    waiting = [exc]
    while waiting:
        e = waiting.pop()
        if e is None or id(e) in seen:
            continue
        seen.add(id(e))
        try:
            e.__traceback__ = None
        except Exception:
            pass
        waiting += (e.__cause__, e.__context__)


def concrete(exc: BaseException, trace: str) -> bytes:
    """Return the pickle of (exc, trace), or of (None, trace) if the exception can't be sent."""
    pair = sendable((exc, trace), exc.__class__)
    return pair if pair is not None else dumps((None, trace))


def sendable(value: Any, cls: type) -> Optional[bytes]:
    """Return the pickle of something with an exception of class cls, or None if the exception can't be sent.

    Exceptions of a program's own may be pickled well and fail to be loaded, when their arguments are not what their
    class wants. So it is tried.
    """
    try:
        data = dumps(value)
        if cls.__module__ != "builtins":
            pickle.loads(data)
    except Exception:
        return None
    return data


def unsendable_result(exc: BaseException, value: object) -> BaseException:
    """Return what the standard library's pool raises in place of a result that can't be pickled."""
    from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]

    strip(exc)
    try:
        return MaybeEncodingError(exc, value)
    except Exception:
        return MaybeEncodingError(Exception(wire.describe(exc)), wire.type_name(value.__class__))
