"""Frames and encoded errors: the bytes of docs/PROTOCOL.md that the client and the workers share.

This module knows where a field lies in a header or a payload. It doesn't know descriptors, nor what a payload is
for. Whatever is read here came from another process: every length is checked, and what is wrong raises ProtocolError.
"""

from __future__ import annotations

import struct
from typing import Optional, Union

Bytes = Union[bytes, bytearray, memoryview]

VERSION = 2
"""Version of the worker protocol."""
CLIENT_VERSION = 2
"""Version of the client protocol."""

HEADER = struct.Struct("<IIBBHIQII")
"""length, count, type, flags, 0, epoch (client protocol: pool), chunk (job), first, function (worker)."""
HEADER_SIZE = HEADER.size
MAX_PAYLOAD = 2**32 - 65
"""The most bytes that a frame carries behind its header."""

# From pool to worker, on the task pipe.
INIT = 1
FUNC = 2
BIND = 3
CHUNK = 4
QUIT = 5
FREE = 6
# From pool to worker, on the control socket.
CANCEL = 9
RECALL = 10
SHARE = 11
FORGET = 12
# From worker to pool.
HELLO = 17
READY = 18
RESULTS = 19
STUCK = 20
BYE = 21
RETURNED = 22
# From client to engine.
CLIENT_HELLO = 33
CLIENT_OPEN = 34
CLIENT_STARTED = 35
CLIENT_SUBMIT = 36
CLIENT_EXTEND = 37
CLIENT_CANCEL = 38
CLIENT_CLOSE = 39
CLIENT_KILL = 40
CLIENT_LEASE = 41
CLIENT_UNLEASE = 42
CLIENT_STATS = 43
# From engine to client.
ENGINE_HELLO = 65
ENGINE_START = 66
ENGINE_OPENED = 67
ENGINE_RESULTS = 68
ENGINE_FAILED = 69
ENGINE_ENDED = 70
ENGINE_CLOSED = 71
ENGINE_LEASED = 72
ENGINE_REVOKE = 73
ENGINE_STATISTICS = 74
ENGINE_ERROR = 75

MORE = 1
"""Flag of submit and extend: more tasks of the job will follow."""

# Statuses of an item.
OK = 0
TASK_ERROR = 1
PANICKED = 2
EXITED = 3
BAD_ARGUMENT = 4
BAD_RESULT = 5
EXPIRED = 6
CANCELLED = 7

STATUS_SHIFT = 56
IN_ARENA = 1 << 55
"""The bit of an item's word that says that the body is in the sender's arena."""
LENGTH_MASK = IN_ARENA - 1

FUNCTION_NOT_LOADED = "brine.FunctionNotLoaded"
"""The type of an encoded error which says that the worker could not load the function, so that the task was not begun."""

# Modes of bound arguments.
MODE_CALL = 1
MODE_ITEM = 2
MODE_STAR = 3
MODE_LIST = 4
MODE_STAR_LIST = 5
MODE_OUTCOMES = 6

WORD = struct.Struct("<Q")
PLACE = struct.Struct("<QII")
"""Behind the word of an item in the arena: offset, slot, lease."""

_U32 = struct.Struct("<I")
_NONE = 0xFFFFFFFF


class ProtocolError(Exception):
    """Bytes of another process that break a rule of docs/PROTOCOL.md."""


def frame(
    type: int,
    payload: Bytes = b"",
    count: int = 0,
    flags: int = 0,
    epoch: int = 0,
    chunk: int = 0,
    first: int = 0,
    func: int = 0,
) -> bytes:
    """Return a whole frame. Raise ProtocolError if the payload is more than one can carry."""
    n = len(payload)
    if n > MAX_PAYLOAD:
        raise ProtocolError(f"a frame can't carry {n} bytes")
    return HEADER.pack(n, count, type, flags, 0, epoch, chunk, first, func) + payload


def text(value: Union[str, Bytes]) -> bytes:
    """Return a ``str`` field: the length and the UTF-8 of a text, or bytes as they are.

    What has no UTF-8, such as a lone surrogate, is written as a backslash escape.
    """
    raw = value.encode("utf-8", "backslashreplace") if isinstance(value, str) else bytes(value)
    return _U32.pack(len(raw)) + raw


def take(view: Bytes, off: int, n: int) -> tuple[Bytes, int]:
    """Return n bytes of view at off and the offset behind them."""
    end = off + n
    if n < 0 or off < 0 or end > len(view):
        raise ProtocolError(f"{n} bytes at {off} of {len(view)}")
    return view[off:end], end


def take_u32(view: Bytes, off: int) -> tuple[int, int]:
    """Return the u32 at off and the offset behind it."""
    if off < 0 or off + 4 > len(view):
        raise ProtocolError(f"a number at {off} of {len(view)} bytes")
    return _U32.unpack_from(view, off)[0], off + 4


def take_u64(view: Bytes, off: int) -> tuple[int, int]:
    """Return the u64 at off and the offset behind it."""
    if off < 0 or off + 8 > len(view):
        raise ProtocolError(f"a number at {off} of {len(view)} bytes")
    return WORD.unpack_from(view, off)[0], off + 8


def take_bytes(view: Bytes, off: int) -> tuple[bytes, int]:
    """Return the bytes of the ``str`` field at off, copied, and the offset behind it."""
    n, off = take_u32(view, off)
    raw, off = take(view, off, n)
    return bytes(raw), off


def take_text(view: Bytes, off: int) -> tuple[str, int]:
    """Return the ``str`` field at off and the offset behind it. What is no UTF-8 becomes U+FFFD."""
    raw, off = take_bytes(view, off)
    return raw.decode("utf-8", "replace"), off


def type_name(cls: type) -> str:
    """Return a class's qualified name, as tracebacks write it."""
    module = getattr(cls, "__module__", None)
    name = getattr(cls, "__qualname__", None) or cls.__name__
    return name if module in (None, "builtins") else f"{module}.{name}"


def encode_error(
    exc: Optional[BaseException],
    type: Optional[str] = None,
    message: Optional[str] = None,
    concrete: Optional[bytes] = None,
) -> bytes:
    """Return an encoded error: type and message, those of exc where they are None, and the pickle of the concrete one."""
    if type is None:
        type = type_name(exc.__class__) if exc is not None else ""
    if message is None:
        message = describe(exc) if exc is not None else ""
    tail = _U32.pack(_NONE) if concrete is None else _U32.pack(len(concrete)) + concrete
    return text(type) + text(message) + _U32.pack(0) + tail


def describe(value: object) -> str:
    """Return str(value), of values too whose ``__str__`` raises."""
    try:
        return str(value)
    except Exception as e:
        return f"<{type_name(value.__class__)}, whose text raises {type_name(e.__class__)}>"


def decode_error(view: Bytes) -> tuple[str, str, Optional[bytes]]:
    """Return type, message and concrete error of an encoded error."""
    kind, off = take_text(view, 0)
    message, off = take_text(view, off)
    sentinels, off = take_u32(view, off)
    for _ in range(sentinels):
        _, off = take_bytes(view, off)
    n, off = take_u32(view, off)
    if n == _NONE:
        return kind, message, None
    concrete, off = take(view, off, n)
    return kind, message, bytes(concrete)
