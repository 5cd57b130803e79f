"""Stored payloads: a pickle and its buffers at a place in shared memory.

This module knows their layout and reads them with as few copies as Python lets one: large buffers are mapped, large
bytes objects are read into where they will stay. It doesn't know who frees a place, only whom to tell.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import sys
import weakref
from typing import Any, Callable, Optional

from ._pickle import Payload
from ._wire import ProtocolError

MAGIC = 0x6E697262
MAP_FROM = 1 << 20
"""Buffers of so many bytes are mapped and not read."""

_HEAD = struct.Struct("<IIQ")
_LINE = 64
_PAGE = 4096
_ZEROS = bytes(_PAGE)
_WHOLE = 256 << 10  # stored payloads, and pickles, below this are read by one call
_HUGE = 4 << 20  # memory for objects of so many bytes should be huge pages: faults cost more than the copy
_MOST = 16384 if sys.version_info >= (3, 13) else 256  # mappings; before 3.13 each has a descriptor of its own
_NO_DESCRIPTOR: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


def stored_size(payload: Payload) -> int:
    """Return how many bytes the stored payload has."""
    return _places(payload.length, list(map(len, payload.buffers)))[1]


def _places(length: int, sizes: list[int]) -> tuple[list[int], int]:
    """Return where pickle and buffers begin in a stored payload, and where it ends."""
    at = -(-(_HEAD.size + 8 * len(sizes)) // _LINE) * _LINE
    offs = [at]
    at += length
    for n in sizes:
        align = _PAGE if n >= MAP_FROM else _LINE
        at = -(-at // align) * align
        offs.append(at)
        at += n
    return offs, at


def lay_out(payload: Payload) -> tuple[list[Any], int]:
    """Return the stored payload as a list of bytes-like objects, and its size."""
    sizes = list(map(len, payload.buffers))
    offs, end = _places(payload.length, sizes)
    head = _HEAD.pack(MAGIC, len(sizes), payload.length)
    if sizes:
        head += struct.pack(f"<{len(sizes)}Q", *sizes)
    parts: list[Any] = [head, _ZEROS[: offs[0] - len(head)], *payload.parts]
    at = offs[0] + payload.length
    for off, buffer in zip(offs[1:], payload.buffers):
        if off > at:
            parts.append(_ZEROS[: off - at])
        parts.append(buffer)
        at = off + len(buffer)
    return parts, end


def load_stored(
    fd: int,
    off: int,
    length: int,
    limit: int,
    release: Optional[Callable[[], object]] = None,
    mappings: Optional[list[Any]] = None,
    mapped: bool = True,
) -> Any:
    """Return the object of the stored payload in length bytes at off of the shared memory fd, which has limit bytes.

    release is called exactly once, when nothing refers to the place any more: at the end of this call, or when the last
    object that lies there has been collected. It may be called from any thread, and is not in a forked child. Weak
    references to what is mapped are appended to mappings, see privatize. Without mapped nothing stays in its place.
    """
    token = _Token(release)
    try:
        if length < _HEAD.size or off > limit or length > limit - off or off % _PAGE:
            raise ProtocolError(f"a stored payload of {length} bytes at {off} of {limit}")
        first = _pread(fd, length if length < _WHOLE else _PAGE, off)
        magic, count, size = _HEAD.unpack_from(first)
        if magic != MAGIC or count > (length - _HEAD.size) // 8:
            raise ProtocolError(f"no stored payload at {off}")
        if _HEAD.size + 8 * count > len(first):
            first = _pread(fd, _HEAD.size + 8 * count, off)
        sizes = list(struct.unpack_from(f"<{count}Q", first, _HEAD.size))
        offs, end = _places(size, sizes)
        if end > length:
            raise ProtocolError(f"a stored payload of {end} bytes in {length}")
        at = offs[0]
        if length < _WHOLE:
            view = memoryview(first)
            if not count:
                return pickle.loads(view[at : at + size])
            return pickle.loads(
                view[at : at + size], buffers=[bytearray(view[o : o + n]) for o, n in zip(offs[1:], sizes)]
            )
        buffers = [_buffer(fd, off + o, n, token if mapped else None, mappings) for o, n in zip(offs[1:], sizes)]
        if size < _WHOLE:
            return pickle.loads(_pread(fd, size, off + at), buffers=buffers)
        return pickle.Unpickler(_Source(fd, off + at, size), buffers=buffers).load()
    finally:
        del token


class _Token:
    """Calls release when the last mapping that refers to it is gone."""

    __slots__ = ("pid", "release")
    _getpid = staticmethod(os.getpid)  # when the interpreter ends, the module may be gone first

    def __init__(self, release: Optional[Callable[[], object]]) -> None:
        self.release = release
        self.pid = os.getpid()

    def __del__(self) -> None:
        if self.release is not None and self._getpid() == self.pid:
            self.release()


class _Mapping(mmap.mmap):
    """A private mapping of a buffer in an arena."""

    live: set[int] = set()  # ids of those that are open
    token: Optional[_Token] = None

    def __del__(self) -> None:
        self.live.discard(id(self))


def _buffer(fd: int, off: int, n: int, token: Optional[_Token], mappings: Optional[list[Any]]) -> Any:
    """Return a writable buffer with n bytes at off: with a token mapped, and copied when it is written to, else read."""
    if n < MAP_FROM:
        small = bytearray(n)
        _fill(fd, memoryview(small), off)
        return small
    private, both = mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE
    if token is not None and len(_Mapping.live) < _MOST and off % mmap.ALLOCATIONGRANULARITY == 0:
        try:
            m = _Mapping(fd, n, private, both, offset=off, **_NO_DESCRIPTOR)
        except OSError:
            pass  # no descriptor or no room for another: a copy will do
        else:
            _Mapping.live.add(id(m))
            m.token = token
            if mappings is not None:
                mappings.append(weakref.ref(m))
            return memoryview(m)
    try:
        copy = mmap.mmap(-1, n, private, both)
    except OSError as e:
        raise MemoryError(f"no memory for a buffer of {n} bytes") from e
    if n >= _HUGE:
        try:
            copy.madvise(mmap.MADV_HUGEPAGE)
        except (AttributeError, OSError):
            pass
    view = memoryview(copy)
    _fill(fd, view, off)
    return view


def privatize(mapping: mmap.mmap) -> None:
    """Make a mapping independent of the memory that it maps: each page is copied, which a write to it does."""
    mapping[::_PAGE] = mapping[::_PAGE]  # type: ignore[index]


def detach(mappings: list[Any]) -> None:
    """Privatize what still lives of the mappings that load has listed, and empty the list."""
    for ref in mappings:
        m = ref()
        if m is not None and not m.closed:
            privatize(m)
    mappings.clear()


def _pread(fd: int, n: int, off: int) -> bytes:
    """Return n bytes at off."""
    data = os.pread(fd, n, off)
    if len(data) == n:
        return data
    parts = []
    while data:
        parts.append(data)
        n -= len(data)
        off += len(data)
        data = os.pread(fd, n, off) if n else b""
    if n:
        raise ProtocolError("shared memory ends before its size")
    return b"".join(parts)


def _fill(fd: int, view: memoryview, off: int) -> None:
    """Read len(view) bytes at off into view."""
    while len(view):
        n = os.preadv(fd, [view], off)
        if n == 0:
            raise ProtocolError("shared memory ends before its size")
        view = view[n:]
        off += n


class _Source:
    """A file for the unpickler: bytes objects are filled where the unpickler has made them."""

    def __init__(self, fd: int, off: int, n: int) -> None:
        self._fd = fd
        self._off = off
        self._end = off + n

    def read(self, n: int = -1) -> bytes:
        left = self._end - self._off
        if n < 0 or n > left:
            n = left
        data = _pread(self._fd, n, self._off) if n else b""
        self._off += n
        return data

    def readinto(self, b: Any) -> int:
        view = memoryview(b)
        n = min(len(view), self._end - self._off)
        view = view[:n]
        if n >= _HUGE:
            _advise(view)
        _fill(self._fd, view, self._off)
        self._off += n
        return n

    def readline(self) -> bytes:
        line = bytearray()
        while self._off < self._end:
            some = _pread(self._fd, min(256, self._end - self._off), self._off)
            stop = some.find(b"\n") + 1
            some = some[:stop] if stop else some
            line += some
            self._off += len(some)
            if stop:
                break
        return bytes(line)


_madvise: list[Any] = []


def _advise(view: memoryview) -> None:
    """Ask for huge pages where view lies, which has not been written to."""
    if not _madvise:
        try:
            import ctypes

            f = ctypes.CDLL(None).madvise
            f.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
            _madvise.extend((f, ctypes.c_char.from_buffer, ctypes.addressof))
        except Exception:
            _madvise.append(None)
    if _madvise[0] is None:
        return
    f, from_buffer, addressof = _madvise
    try:
        addr = addressof(from_buffer(view))
        start = -(-addr // _PAGE) * _PAGE
        f(start, (addr + len(view)) // _PAGE * _PAGE - start, 14)  # MADV_HUGEPAGE
    except Exception:
        pass  # it is but advice
