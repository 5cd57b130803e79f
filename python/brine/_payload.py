"""Payloads: where a pickle and its buffers lie in a frame or in an arena, and how they become objects again.

docs/PROTOCOL.md, "Python's payloads", is the specification. This module knows arenas and descriptors of shared memory;
it doesn't know which side it is on, nor who says when a place is free.
"""

from __future__ import annotations

import os
import pickle
import struct
from typing import Any, Callable, Optional, Union

from . import _stored as stored
from ._arena import Arena
from ._pickle import Payload, dump
from ._stored import load_stored, privatize, stored_size
from ._wire import Bytes, ProtocolError

__all__ = [
    "Payload",
    "body",
    "dump",
    "encode",
    "inline",
    "load",
    "load_stored",
    "privatize",
    "store",
    "stored_size",
]

PLAIN = 0
STORED = 1
BUFFERS = 2

INLINE = 4096
"""Payloads of more bytes are stored in the arena, if it has room."""

_REFERENCE = struct.Struct("<BQQ")
_HEAD = struct.Struct("<BIQ")


def inline(payload: Payload) -> bytes:
    """Return the body of form 0 or 2."""
    buffers = payload.buffers
    if not buffers:
        return b"".join((b"\0", *payload.parts))
    head = _HEAD.pack(BUFFERS, len(buffers), payload.length)
    lengths = struct.pack(f"<{len(buffers)}Q", *map(len, buffers))
    return b"".join((head, lengths, *payload.parts, *buffers))


def store(payload: Payload, arena: Arena) -> Optional[tuple[int, int]]:
    """Write the payload into the arena. Return offset and length of the place, or None if there is no room."""
    parts, size = stored.lay_out(payload)
    off = arena.alloc(size)
    if off is None:
        return None
    try:
        arena.write(off, parts)
    except BaseException as e:
        arena.free(off)
        if isinstance(e, OSError):
            return None
        raise
    return off, size


def body(payload: Payload, arena: Optional[Arena]) -> tuple[bytes, Optional[int]]:
    """Return the body, and the offset of its place in the arena if it is there."""
    if payload.size > INLINE and arena is not None:
        place = store(payload, arena)
        if place is not None:
            return _REFERENCE.pack(STORED, *place), place[0]
    return inline(payload), None


def encode(obj: Any, arena: Optional[Arena] = None) -> tuple[bytes, Optional[int]]:
    """Return body(dump(obj), arena)."""
    return body(dump(obj), arena)


def load(
    view: Bytes,
    arena_fd: int = -1,
    limit: Optional[int] = None,
    release: Optional[Callable[[], object]] = None,
    mappings: Optional[list[Any]] = None,
    mapped: bool = True,
) -> Any:
    """Return the object of a body of any form.

    limit is the size of the arena at arena_fd, which is found out if it is None. For a stored payload, release, mappings
    and mapped are as in load_stored; otherwise release is called at once.
    """
    if not len(view):
        raise ProtocolError("an empty payload")
    form = view[0]
    if form == STORED:
        if len(view) < _REFERENCE.size:
            raise ProtocolError(f"a reference to a stored payload of {len(view)} bytes")
        if arena_fd < 0:
            raise ProtocolError("a stored payload, and no arena")
        _, off, length = _REFERENCE.unpack_from(view)
        if limit is None:
            limit = os.fstat(arena_fd).st_size
        return load_stored(arena_fd, off, length, limit, release, mappings, mapped)
    try:
        if form == PLAIN:
            return pickle.loads(memoryview(view)[1:])
        if form == BUFFERS:
            return _load_buffers(memoryview(view))
        raise ProtocolError(f"a payload of form {form}")
    finally:
        if release is not None:
            release()


def _load_buffers(view: memoryview) -> Any:
    if len(view) < _HEAD.size:
        raise ProtocolError(f"a payload with buffers of {len(view)} bytes")
    _, count, length = _HEAD.unpack_from(view)
    at = _HEAD.size + 8 * count
    if at > len(view):
        raise ProtocolError(f"{count} buffers in {len(view)} bytes")
    lengths = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
    start, at = at, at + length
    ends = []
    for n in lengths:
        ends.append(at + n)
        at += n
    if at > len(view):
        raise ProtocolError(f"a payload of {at} bytes in {len(view)}")
    at = start + length
    buffers: list[Union[bytearray, memoryview]] = []
    for end in ends:
        buffers.append(bytearray(view[at:end]))
        at = end
    return pickle.loads(view[start : start + length], buffers=buffers)
