"""brine.explain: that its figures are those of what is sent, and that they add up; names, references, and what can't be sent."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import pickle
import random
import threading
from typing import Any

import pytest
import tasks

import brine
from brine import _payload as payload
from brine._cut import cut

try:
    import numpy as np
except ImportError:
    np = None


def check(e: brine.Explanation) -> None:
    """Every node's parts and its own bytes are its bytes; paths are made of names, and lines of the text are the nodes'."""
    assert e.bytes == e.own + sum(p.bytes for p in e.parts), e.path
    assert e.own >= 0
    sizes = [p.bytes for p in e.parts if not p.count]
    assert sizes == sorted(sizes, reverse=True)
    assert str(e).count("\n") + 1 == nodes(e)
    for p in e.parts:
        assert p.path.endswith(p.name)
        check(p)


def nodes(e: brine.Explanation) -> int:
    return 1 + sum(map(nodes, e.parts))


def at(e: brine.Explanation, path: str) -> brine.Explanation:
    """Return the part with a path."""
    found = [p for p in walk(e) if p.path == path]
    assert found, f"{path} is not among {[p.path for p in walk(e)]}"
    return found[0]


def walk(e: brine.Explanation) -> Any:
    yield e
    for p in e.parts:
        yield from walk(p)


class Converter:
    def __init__(self, n: int) -> None:
        self.bitstring_cache = {i: format(i, "020b") for i in range(n)}
        self.n = n

    def convert(self, text: str) -> int:
        return self.n


class Slots:
    __slots__ = ("a", "b")


class Both(Slots):
    pass


@dataclasses.dataclass
class Point:
    x: Any
    y: Any


def make(rng: random.Random, depth: int = 4, known: Any = None) -> Any:
    """Return some value, parts of which may be shared or contain themselves."""
    known = [] if known is None else known
    if known and rng.random() < 0.15:
        return rng.choice(known)
    if depth == 0 or rng.random() < 0.25:
        return simple(rng)
    children = [make(rng, depth - 1, known) for _ in range(rng.randrange(6))]
    keys = [simple(rng, True) for _ in children]
    x = children[0] if children else None

    def closure(y: Any) -> Any:
        return x, keys, y

    slots = Both()
    slots.a, slots.c = x, keys  # type: ignore[attr-defined]
    converter = Converter(3)
    converter.children = children  # type: ignore[attr-defined]
    value = rng.choice(
        [
            children,
            tuple(children),
            dict(zip(keys, children)),
            set(keys),
            frozenset(keys),
            closure,
            functools.partial(closure, *children),
            functools.partial(print, *children, sep=x),
            converter,
            converter.convert,
            slots,
            Point(x, children),
            ValueError("bad", *children),
            collections.OrderedDict(zip(keys, children)),
            collections.deque(children),
            collections.Counter(keys),
            lambda: (x, converter),
        ]
    )
    if value is children and rng.random() < 0.3:
        children.append(children)
    if value is converter and rng.random() < 0.5:
        converter.me = converter  # type: ignore[attr-defined]
    known.append(value)
    return value


def simple(rng: random.Random, key: bool = False) -> Any:
    values: list[Any] = [
        rng.randrange(-300, 300),
        rng.getrandbits(90),
        rng.random(),
        "text" * rng.randrange(200),
        chr(rng.randrange(32, 5000)),
        bytes(rng.randrange(100)),
        None,
        len,
        Point,
        (1, "x"),
    ]
    if not key:
        values += [bytearray(rng.randrange(9000)), pickle.PickleBuffer(bytes(5000)), [1, 2]]
        if np is not None:
            values += [
                np.zeros(rng.randrange(2000)),
                np.arange(6).reshape(2, 3).T,
                np.float64(1.5),
                np.array(["a", None], dtype=object),
            ]
    return rng.choice(values)


@pytest.mark.parametrize("seed", range(10))
def test_totals_are_those_of_what_is_sent(seed: int) -> None:
    rng = random.Random(seed)
    compared = 0
    while compared < 25:
        value = make(rng)
        sent = payload.dump(value)
        e = brine.explain(value, depth=rng.choice([1, 3, 6, 30]), breadth=rng.choice([1, 4, 12, 100]))
        assert e.bytes == sent.length + sum(map(len, sent.buffers)) == sent.size
        assert e.ok
        assert not e.error
        check(e)
        compared += 1


def test_bound_method() -> None:
    converter = Converter(100_000)
    e = brine.explain(converter.convert)
    assert e.bytes == payload.dump(converter.convert).size
    assert e.type == "bound method Converter.convert"
    bound, cache = at(e, ".__self__"), at(e, ".__self__.bitstring_cache")
    assert bound.note == "the bound object, sent with its method"
    assert (cache.type, cache.entries, cache.parts) == ("dict", 100_000, ())
    lines = str(e).splitlines()
    assert lines[0] == "bound method Converter.convert, 2.7 MB"
    assert lines[1].startswith(f"  .__self__ {__name__}.Converter, 2.7 MB, 100.0 %")
    assert ".bitstring_cache dict, 100,000 entries, 2.7 MB, 100.0 %" in lines[2]
    assert str(cache) == lines[2].strip()
    assert repr(cache) == f"<brine.Explanation: {lines[2].strip()}>"


def test_closure() -> None:
    cache = {"k": list(range(1000))}
    e = brine.explain(lambda x: cache[x])
    part = at(e, " variable cache".strip())
    assert (part.name, part.note, part.entries) == ("variable cache", "closure variable", 1)
    assert at(e, "variable cache['k']").entries == 1000
    assert part.bytes > e.bytes / 2


def test_references_are_counted_once() -> None:
    inner = list(range(1000))
    once, twice = brine.explain([inner]), brine.explain([inner, inner])
    assert twice.bytes - once.bytes < 10
    assert at(twice, "[1]").note == "counted at [0]"
    inner.append(inner)
    whole = brine.explain(inner, depth=2, breadth=2000)
    assert at(whole, "[1000]").note == "refers to the whole"


@pytest.mark.skipif(np is None, reason="needs numpy")
def test_arrays() -> None:
    e = brine.explain({"large": np.zeros((100, 1000)), "small": np.zeros(3)})
    large = at(e, "['large']")
    assert (large.type, large.entries, large.note) == ("numpy.ndarray", 100_000, "f8, 100 × 1000")
    assert at(large, "['large'].data").note == "out of band"
    assert at(large, "['large'].data").bytes > 800_000


def test_dict() -> None:
    e = brine.explain({"a": "x" * 100, "b": (threading.Lock(), "x")})
    d = json.loads(json.dumps(e.to_dict()))
    assert [p["name"] for p in d["parts"]] == ["['a']", "['b']"]
    assert (d["bytes"], d["type"], d["entries"]) == (e.bytes, "dict", 2)
    assert [p.get("error", "") for p in d["parts"][1]["parts"]] == [p.error for p in e.parts[1].parts]


def broken() -> Any:
    raise RuntimeError("no state today")


class Broken:
    def __getstate__(self) -> Any:
        return broken()


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Muted:
    def __reduce__(self) -> Any:
        raise Mute


class BadReduce:
    def __reduce__(self) -> Any:
        return 5


@pytest.mark.parametrize(
    ("value", "path", "kind", "reason"),
    [
        (threading.Lock(), "", "_thread.lock", "cannot pickle '_thread.lock' object"),
        ([1, threading.Lock()], "[1]", "_thread.lock", "cannot pickle '_thread.lock' object"),
        ({"a": {"b": (x for x in ())}}, "['a']['b']", "generator", "cannot pickle 'generator' object"),
        ([Broken(), 1], "[0]", f"{__name__}.Broken", "no state today"),
        ([1, Muted()], "[1]", f"{__name__}.Muted", "Mute"),
        ([BadReduce(), 1], "[0]", f"{__name__}.BadReduce", "must"),
        (list(range(9000)) + [threading.Lock()], "[9000]", "_thread.lock", "cannot pickle"),
        (functools.partial(print, threading.Lock()), ".args[0]", "_thread.lock", "cannot pickle"),
        (Point(1, {"k": threading.Lock()}), ".y['k']", "_thread.lock", "cannot pickle"),
    ],
    ids=["itself", "in a list", "deep", "state", "mute", "reduce", "of many", "partial", "attribute"],
)
def test_unsendable(value: Any, path: str, kind: str, reason: str) -> None:
    with pytest.raises((TypeError, RuntimeError, pickle.PicklingError, Mute)):
        payload.dump(value)
    e = brine.explain(value)
    check(e)
    assert not e.ok
    part = at(e, path)
    assert part.type == kind
    assert reason in part.error
    assert not part.ok
    assert f"can't be sent: {part.error}" in str(e)
    assert e.error == (part.error if path == "" else "")


def test_unsendable_hides_nothing() -> None:
    shared = list(range(500))
    me: dict[str, Any] = {
        "first": shared,
        "lock": threading.Lock(),
        "again": shared,
        "deep": [[[[[[[[threading.Lock()]]]]]]]],
    }
    me["me"] = me
    e = brine.explain(me)
    check(e)
    assert at(e, "['first']").entries == 500
    assert at(e, "['again']").note == "counted at ['first']"
    assert at(e, "['me']").note == "refers to the whole"
    assert at(e, "['deep']" + 8 * "[0]").error
    # Without the locks it is the same, but for the frame that the real pickler writes.
    alike = {k: v for k, v in me.items() if k in ("first", "again")}
    assert at(brine.explain(alike), "['first']").bytes == at(e, "['first']").bytes


def test_too_deep() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    e = brine.explain(value)
    check(e)
    assert not e.ok
    assert any("recursion" in p.error for p in walk(e))


def test_unsendable_closure() -> None:
    lock, cache = threading.Lock(), {"k": [1, 2, 3]}
    e = brine.explain(lambda: (lock, cache))
    check(e)
    assert "cannot pickle" in at(e, "variable lock").error
    assert at(e, "variable cache").entries == 1


def test_cut_writes_a_pickle_where_nothing_is_wrong() -> None:
    value = make(random.Random(3))
    sent = cut([value, tasks.__name__, {1: [2]}])
    assert pickle.loads(b"".join(map(bytes, sent.parts)), buffers=sent.buffers)[2] == {1: [2]}


def test_wrong_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        brine.explain(1, depth=0)
    monkeypatch.setenv("BRINE_ENGINE", str(tmp_path / "missing"))
    with pytest.raises(brine.EngineError, match="can't be run"):
        brine.explain(1)
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("BRINE_ENGINE", str(failing))
    with pytest.raises(brine.EngineError, match="could not explain a pickle: no such luck"):
        brine.explain(1)
