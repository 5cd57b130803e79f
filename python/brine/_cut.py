"""Pickles of objects that can't be pickled: with a mark in the place of each part that can't.

This is for showing what is wrong, and never sent. The marks are what internal/pickle knows as such.
"""

from __future__ import annotations

import io
import pickle
import struct
import types
from collections import ChainMap
from typing import Any

from ._pickle import Payload, keeper, reducers

_MARK = "brine.unsendable"
_LONGEST = 500  # characters of a reason

# The pickler in Python, whose methods can be taken apart; typeshed doesn't have it.
_Pickler: Any = pickle._Pickler  # type: ignore[attr-defined]


def cut(obj: Any) -> Payload:
    """Pickle what can be pickled of an object."""
    parts: list[Any] = []
    buffers: list[memoryview] = []
    _Cutter(parts, buffers).dump(obj)
    return Payload(parts, buffers)


class _Cutter(_Pickler):  # type: ignore[misc]
    """A pickler without frames, which takes back what it wrote of an object whose pickling failed, and marks the place."""

    def __init__(self, parts: list[Any], buffers: list[memoryview]) -> None:
        super().__init__(types.SimpleNamespace(write=parts.append), 5, buffer_callback=keeper(buffers))
        self._parts, self._buffers = parts, buffers
        table: Any = reducers()
        self._cloud: Any = None
        try:
            import cloudpickle

            # Its own pickler is in C; its reducers can be had, and are asked as that asks them.
            self._cloud = cloudpickle.Pickler(io.BytesIO(), 5)
            table = ChainMap(table, cloudpickle.Pickler.dispatch_table)
        except Exception:
            pass
        self.dispatch_table = table

    def reducer_override(self, obj: Any) -> Any:
        """Have cloudpickle reduce functions and classes that can't be imported, as Brine does if need be."""
        if self._cloud is None or (isinstance(obj, (type, types.FunctionType)) and _has_name(obj)):
            return NotImplemented
        return self._cloud.reducer_override(obj)

    def dump(self, obj: Any) -> None:
        """Write the pickle."""
        self.write(pickle.PROTO + b"\x05")
        self.save(obj)
        self.write(pickle.STOP)

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Write an object, or the mark that says why that can't be done."""
        written, known, views = len(self._parts), len(self.memo), len(self._buffers)
        try:
            super().save(obj, save_persistent_id)
        except Exception as err:
            del self._parts[written:]
            del self._buffers[views:]
            while len(self.memo) > known:
                self.memo.popitem()
            self._mark(obj, err)

    def _mark(self, obj: Any, err: Exception) -> None:
        kind = type(obj)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        try:
            reason = str(err) or type(err).__name__
        except Exception:  # an exception of the user's own, which has faults too
            reason = type(err).__name__
        text = "\0".join((_MARK, name, reason[:_LONGEST])).encode("utf-8", "replace")
        self.write(pickle.BINUNICODE + struct.pack("<I", len(text)) + text + pickle.BINPERSID)


def _has_name(obj: Any) -> bool:
    """Say whether a function or class can be pickled by its name."""
    try:
        pickle.dumps(obj, 5)
    except Exception:
        return False
    return True
