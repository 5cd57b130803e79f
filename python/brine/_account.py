"""What this process has pickled and unpickled for one pool, by function and class, counted where it happens.

With what the engine knows of the workers it makes the pool's bill, which is a document of the Go package internal/bill.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Optional

_TALLY = ("count", "bytes", "ns", "max")


class Line:
    """One direction of one class: how often, how many bytes, how long."""

    __slots__ = ("bytes", "count", "max", "ns")

    def __init__(self) -> None:
        self.count = self.bytes = self.max = self.ns = 0

    def add(self, count: int, size: int, largest: int, nanoseconds: int) -> None:
        self.count += count
        self.bytes += size
        self.ns += nanoseconds
        if largest > self.max:
            self.max = largest

    def data(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in _TALLY}


class Account:
    """The account of one pool in this process."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], tuple[Line, Line]] = {}  # by function and class: pickled, unpickled
        self._lock = threading.Lock()
        self.pid = os.getpid()

    def dumped(self, function: str, kind: str, count: int, size: int, largest: int, nanoseconds: int) -> None:
        """Count what was pickled: of a class, so many times, so many bytes in all, the largest of them."""
        with self._lock:
            self._of(function, kind)[0].add(count, size, largest, nanoseconds)

    def loaded(self, function: str, count: int, size: int, largest: int, nanoseconds: int) -> None:
        """Count results that were unpickled."""
        with self._lock:
            self._of(function, "result")[1].add(count, size, largest, nanoseconds)

    def _of(self, function: str, kind: str) -> tuple[Line, Line]:
        lines = self._lines.get((function, kind))
        if lines is None:
            lines = self._lines[function, kind] = Line(), Line()
        return lines

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines as the bill has them."""
        with self._lock:
            return [
                {"function": function, "class": kind, "encode": dumped.data(), "decode": loaded.data()}
                for (function, kind), (dumped, loaded) in self._lines.items()
            ]


def bill(account: Account, engine: Optional[bytes]) -> dict[str, Any]:
    """Return the bill of a pool: this process's account, and the engine's of the workers, which is JSON or not there.

    The engine encodes nothing: what was pickled, and how long it took, is known here.
    """
    out: dict[str, Any] = json.loads(engine) if engine else {}
    mine = account.lines()
    known: dict[tuple[str, str], Any] = {}
    initializers = [x["function"] for x in mine if x["class"] == "initializer"]

    def name(of: dict[str, Any]) -> str:
        return initializers[0] if of["class"] == "initializer" and initializers else _name(of["function"])

    paths = {(name(x), x["class"]): x["encode"].get("max_path") for x in out.get("lines", ())}
    lines: list[dict[str, Any]] = []

    def put(line: dict[str, Any]) -> None:
        key = line["function"], line["class"]
        if key not in known:
            known[key] = {"function": key[0], "class": key[1], "encode": _nothing(), "decode": _nothing()}
            lines.append(known[key])
        for direction in ("encode", "decode"):
            _add(known[key][direction], line[direction])

    processes = out.get("processes", [{"ended": False, "tasks": 0, "shared": _nothing()}])
    parent = {**processes[0], "name": "parent", "pid": account.pid, "lines": mine}
    parent.update(encode=_nothing(), decode=_nothing())
    for line in mine:
        put(line)
        for direction in ("encode", "decode"):
            _add(parent[direction], line[direction])
    workers = processes[1:]
    for process in workers:
        for line in process["lines"]:
            line["function"] = name(line)
            put(line)
    for line in lines:
        path = paths.get((line["function"], line["class"]))
        if path:
            line["encode"]["max_path"] = line["decode"]["max_path"] = path
    for line in lines:  # not everybody who counts looks for the largest
        for one, other in (("encode", "decode"), ("decode", "encode")):
            if line[one]["count"]:
                line[one]["max"] = line[one]["max"] or line[other]["max"]
    for chunk in out.get("chunks") or ():
        chunk["parent"] = account.pid
        chunk["function"] = _name(chunk["function"])
    for part in out.get("parts", ()):
        part["function"] = name(part)
    out.update(processes=[parent, *workers], lines=lines)
    return out


def _name(function: str) -> str:
    """Return the name of a function that the engine may know by two, see MapResult."""
    return function[:-2] if function.endswith("[]") else function


def _nothing() -> dict[str, int]:
    return dict.fromkeys(_TALLY, 0)


def _add(to: dict[str, int], tally: dict[str, int]) -> None:
    for name in ("count", "bytes", "ns"):
        to[name] += tally[name]
    to["max"] = max(to["max"], tally["max"])
