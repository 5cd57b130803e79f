"""What of an object would be sent, by its parts: `brine.explain`.

The object is pickled as Brine does it, and the program brine reads the pickle and says where its bytes come from. If it can't
be pickled, a slower pickler writes a mark in the place of what can't, so that one sees it beside all the rest.
"""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterator
from typing import Any, Optional

from ._cut import cut
from ._engine import find
from ._pickle import Payload, dump
from .errors import EngineError

__all__ = ["Explanation", "explain"]


class Explanation:
    """What of an object, or of a part of one, would be sent, and what that takes.

    ``str()`` of it is a tree, a line each, the largest part first. The bytes of the parts and own are its bytes, at
    every level; those of the whole are the length of the pickle and all its out-of-band buffers.

    Attributes:
        name: how one gets here from what it is a part of: ``.name``, ``['key']``, ``[3]``, ``variable x``; empty for the whole.
        path: the same from the whole.
        type: name of the type, or what kind of thing it is: ``dict``, ``bound method Converter.convert``.
        entries: elements of a container, or length of a string; 0 for what has none.
        count: how many values this stands for, if it is several: all those that are too small to be shown; else 0.
        bytes: what it takes pickled, with its parts, the key that it is under, and its out-of-band buffers.
        own: how many of these are in none of the parts.
        mapped: bytes of shared memory that it refers to, which are not sent.
        note: what there is to say: that it is bound to a method, or a reference to what is counted elsewhere.
        error: why it can't be sent; empty if it can, or if only a part of it can't.
        parts: what it consists of, the largest first.
        ok: whether it can be sent, with all its parts.
    """

    __slots__ = (
        "_lines",
        "bytes",
        "count",
        "entries",
        "error",
        "mapped",
        "name",
        "note",
        "ok",
        "own",
        "parts",
        "path",
        "sum",
        "type",
    )

    name: str
    path: str
    type: str
    entries: int
    count: int
    bytes: int
    own: int
    mapped: int
    note: str
    error: str
    sum: int
    parts: tuple[Explanation, ...]
    ok: bool

    def __init__(self, part: dict[str, Any], lines: Iterator[str], path: str = "", level: int = 0) -> None:
        for name in ("name", "type", "note", "error"):
            setattr(self, name, part.get(name, ""))
        for name in ("entries", "count", "bytes", "own", "mapped", "sum"):
            setattr(self, name, part.get(name, 0))
        self.path = _join(path, self.name)
        self._lines = [next(lines, "")[2 * level :]]
        self.parts = tuple(Explanation(p, lines, self.path, level + 1) for p in part.get("parts", ()))
        for p in self.parts:
            self._lines += ("  " + line for line in p._lines)
        self.ok = not self.error and all(p.ok for p in self.parts)

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def __repr__(self) -> str:
        return f"<brine.Explanation: {self._lines[0]}>"

    def to_dict(self) -> dict[str, Any]:
        """Return it as dictionaries and lists, as `brine explain --json` prints it; what is zero or empty is left out."""
        d: dict[str, Any] = {"name": self.name, "bytes": self.bytes}
        for name in ("type", "entries", "count", "own", "mapped", "note", "error", "sum"):
            value = getattr(self, name)
            if value:
                d[name] = value
        if self.parts:
            d["parts"] = [p.to_dict() for p in self.parts]
        return d


def _join(path: str, name: str) -> str:
    if not path or not name or name[0] in ".[":
        return path + name
    return f"{path} {name}"


def explain(obj: Any, *, depth: int = 6, breadth: int = 12) -> Explanation:
    """Say what of an object would be sent to a worker, by its parts, and how many bytes each of them takes.

    The object is pickled as Brine does it, with functions by value where they have to be, so the figures are those of
    what really crosses. References to the same object are counted where it comes first. What can't be pickled is a part
    with an error, and takes no bytes; then the figures are those of the rest.

    Args:
        obj: anything: an argument, a function or bound method, an initializer's arguments.
        depth: levels of the tree.
        breadth: parts of each that are shown, the largest; all others are added up in one.

    Raises:
        ValueError: depth or breadth is less than 1.
        EngineError: the program brine, which reads the pickle, is not there or failed.
    """
    if depth < 1 or breadth < 1:
        raise ValueError("brine: depth and breadth of an explanation are at least 1")
    program = find()
    try:
        payload = dump(obj)
        faults = False
    except Exception:
        payload, faults = cut(obj), True
    explanation = _ask(program, payload, depth, breadth)
    if faults:
        explanation.ok = False
    return explanation


def _ask(program: str, payload: Payload, depth: int, breadth: int) -> Explanation:
    """Have the program read the pickle."""
    lengths = [len(b) for b in payload.buffers]
    command = [program, "explain", "--pickle=-", f"--buffers={len(lengths)}", "--json"]
    command += [f"--depth={depth}", f"--breadth={breadth}"]
    head = struct.pack(f"<{len(lengths)}Q", *lengths)
    try:
        done = subprocess.run(command, input=b"".join((head, *payload.parts)), capture_output=True, check=False)
    except OSError as err:
        raise EngineError(f"brine: the program {program!r} could not be started: {err}") from err
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise EngineError(f"brine: the program {program!r} could not explain a pickle: {reason}")
    answer: Optional[dict[str, Any]] = json.loads(done.stdout)
    if not isinstance(answer, dict):
        raise EngineError(f"brine: the program {program!r} answers with something else than an explanation")
    return Explanation(answer["part"], iter(answer["text"].splitlines()))
