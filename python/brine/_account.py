"""What this process has pickled and unpickled for one pool, by function and class, counted where it happens."""

from __future__ import annotations

import threading
from typing import Any

CLASSES = ("function", "initializer", "argument", "result")


class Line:
    """One direction of one class: how often, how many bytes, how long."""

    __slots__ = ("bytes", "count", "largest", "nanoseconds")

    def __init__(self) -> None:
        self.count = self.bytes = self.largest = self.nanoseconds = 0

    def add(self, count: int, size: int, largest: int, nanoseconds: int) -> None:
        self.count += count
        self.bytes += size
        self.nanoseconds += nanoseconds
        if largest > self.largest:
            self.largest = largest

    def data(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("count", "bytes", "largest", "nanoseconds")}


class Account:
    """The account of one pool in this process."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str, str], Line] = {}
        self._lock = threading.Lock()

    def _line(self, function: str, kind: str, direction: str) -> Line:
        key = (function, kind, direction)
        line = self._lines.get(key)
        if line is None:
            line = self._lines.setdefault(key, Line())
        return line

    def dumped(self, function: str, kind: str, count: int, size: int, largest: int, nanoseconds: int) -> None:
        """Count what was pickled: of a class, so many times, so many bytes in all, the largest of them."""
        with self._lock:
            self._line(function, kind, "dumps").add(count, size, largest, nanoseconds)

    def loaded(self, function: str, count: int, size: int, largest: int, nanoseconds: int) -> None:
        """Count results that were unpickled."""
        with self._lock:
            self._line(function, "result", "loads").add(count, size, largest, nanoseconds)

    def data(self) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
        """Return the account as {function: {class: {"dumps" or "loads": {count, bytes, largest, nanoseconds}}}}."""
        out: dict[str, Any] = {}
        with self._lock:
            for (function, kind, direction), line in self._lines.items():
                out.setdefault(function, {}).setdefault(kind, {})[direction] = line.data()
        return out
