"""Objects to pickles of protocol 5: by reference with the C pickler, by value with cloudpickle where that fails.

This module knows what multiprocessing can send that plain pickle can't, and how to keep large objects from being
copied on the way. It doesn't know where a pickle goes.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from collections import ChainMap
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace
from typing import Any, Callable, Optional

IN_BAND = 4096
"""Out-of-band buffers of fewer bytes than this become part of the pickle."""
_KEEP = 64 << 10  # picklers that have written more are dropped, with the memory they hold
_extra = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
_table = copyreg.dispatch_table

Maker = Callable[..., Any]


class Payload:
    """A pickle and its out-of-band buffers.

    Attributes:
        parts: bytes-like objects that are the pickle one after the other. Large bytes objects are here as themselves.
        buffers: contiguous byte views of what the pickle refers to, in order.
        length: bytes of the pickle.
        size: bytes of the pickle and all buffers.
    """

    __slots__ = ("buffers", "length", "parts", "size")

    def __init__(self, parts: list[Any], buffers: list[memoryview]) -> None:
        self.parts = parts
        self.buffers = buffers
        self.length = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        self.size = self.length + sum(map(len, buffers)) if buffers else self.length


class Dumper:
    """A pickler to be used again and again, which costs less than a new one for each small object.

    After ``dump(obj)`` and ``clear()`` the pickle is in parts and its buffers in buffers, both to be emptied by the
    caller. If dump raises, the dumper is not to be used again. It is for one thread at a time.
    """

    __slots__ = ("buffers", "clear", "dump", "parts", "stamp")

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.buffers: list[memoryview] = []
        pickler = pickle.Pickler(SimpleNamespace(write=self.parts.append), 5, buffer_callback=keeper(self.buffers))
        pickler.dispatch_table = reducers()  # type: ignore[misc]
        self.stamp = _stamp()
        self.dump = pickler.dump
        self.clear = pickler.clear_memo

    @classmethod
    def take(cls) -> Dumper:
        """Return one that nobody else uses; give it back with keep."""
        try:
            d = _idle.pop()
        except IndexError:
            return cls()
        return d if d.fresh() else cls()

    def fresh(self) -> bool:
        """Say whether no reducer was registered since this one was made."""
        return self.stamp == _stamp()

    def keep(self) -> None:
        """Give this one back, emptied."""
        if len(_idle) < 4:
            _idle.append(self)


_idle: list[Dumper] = []


def reducers() -> dict[Any, Any]:
    """Return what is known of types that pickle can't reduce by itself, or not as it should."""
    table = {**_table, **_extra}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        table[numpy.ndarray] = _reduce_array
    return table


def _stamp() -> tuple[int, bool]:
    return len(_table) + len(_extra), "numpy" in sys.modules


def _reduce_array(array: Any) -> Any:
    """Reduce a numpy array so that it arrives writable, as it does with the protocol of multiprocessing."""
    if not array.flags.writeable:
        array = array.copy(order="K")
    return array.__reduce_ex__(5)


def keeper(buffers: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return the buffer_callback that keeps large buffers out of band, in buffers."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:
            return True  # not contiguous: the pickler says so
        if view.nbytes < IN_BAND:
            return True
        buffers.append(view)
        return False

    return keep


def dump(obj: Any, make_pickler: Optional[Maker] = None, by_value: Optional[bool] = False) -> Payload:
    """Pickle an object.

    Functions and classes are pickled by reference. If that fails, and cloudpickle can be imported, they are pickled by
    value where they have to be; if that fails too, the first error is raised. With by_value that is done at once, and
    if it is None never.
    make_pickler makes another pickler instead, of (file, 5, buffer_callback=...).

    The payload refers to the object's memory: it must not be changed while the payload is in use.
    """
    if by_value and make_pickler is None:
        make_pickler = _by_value()
    if make_pickler is not None:
        return _dump_with(make_pickler, obj)
    d = Dumper.take()
    try:
        d.dump(obj)
    except (pickle.PicklingError, AttributeError, TypeError):
        make_pickler = _by_value() if by_value is not None else None
        if make_pickler is None:
            raise
        try:
            return _dump_with(make_pickler, obj)
        except Exception:
            pass
        raise
    d.clear()
    parts, buffers = d.parts, d.buffers
    payload = Payload(parts[:], buffers[:])
    if payload.size <= _KEEP:
        parts.clear()
        buffers.clear()
        d.keep()
    return payload


def _dump_with(make_pickler: Maker, obj: Any) -> Payload:
    parts: list[Any] = []
    buffers: list[memoryview] = []
    make_pickler(SimpleNamespace(write=parts.append), 5, buffer_callback=keeper(buffers)).dump(obj)
    return Payload(parts, buffers)


_cloud: list[Optional[Maker]] = []


def _by_value() -> Optional[Maker]:
    """Return cloudpickle's pickler, which knows what multiprocessing can send too, or None if there is none."""
    if not _cloud:
        try:
            import cloudpickle
        except Exception:
            _cloud.append(None)
        else:

            class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
                dispatch_table = ChainMap(_extra, cloudpickle.CloudPickler.dispatch_table)

            _cloud.append(Pickler)
    return _cloud[0]


def dumps(obj: Any) -> bytes:
    """Pickle an object into bytes, with all its buffers: as dump does, but for what can't be out of band."""
    file = io.BytesIO()
    try:
        ForkingPickler(file, 5).dump(obj)
    except (pickle.PicklingError, AttributeError, TypeError):
        make_pickler = _by_value()
        if make_pickler is None:
            raise
        try:
            file = io.BytesIO()
            make_pickler(file, 5).dump(obj)
        except Exception:
            pass
        else:
            return file.getvalue()
        raise
    return file.getvalue()
