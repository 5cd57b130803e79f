"""Writes pickles for the tests: for each a header and its bytes. The first argument says which, the second with what seed."""

import collections
import copy
import datetime
import decimal
import enum
import functools
import io
import json
import pickle
import random
import sys
from types import SimpleNamespace

try:
    import cloudpickle
except ImportError:
    cloudpickle = None
try:
    import numpy
except ImportError:
    numpy = None


def write(name, stream, buffers=(), **more):
    head = json.dumps({"name": name, "length": len(stream), "buffers": list(buffers), **more}).encode()
    sys.stdout.buffer.write(b"%d\n" % len(head) + head + stream)


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def method(self):
        pass

    @classmethod
    def of(cls):
        pass


class Slots:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a, self.b = "slot", [1, 2]


class Both(Slots):
    pass


class Reduced:
    def __reduce__(self):
        return Plain, (), [1, "state"]


class Listed(list):
    pass


class Keyed(dict):
    pass


class New(tuple):
    def __new__(cls, *args, **kwargs):
        return super().__new__(cls, args)

    def __getnewargs_ex__(self):
        return (1, "two"), {"three": [3]}


class Color(enum.Enum):
    RED = 1


class Fault(ValueError):
    pass


Pair = collections.namedtuple("Pair", "x y")


def function(x):
    return x


def both():
    v = Both()
    v.c = "attribute"
    return v


def cycles():
    ring = []
    ring.append(ring)
    loop = ([],)
    loop[0].append(loop)
    me = Plain(name="me")
    me.me = me
    table = {"a": 1}
    table["self"] = table
    knot = ([], "x", [])
    knot[0].append(knot)
    knot[2].append(knot[0])
    return {"ring": ring, "loop": loop, "me": me, "table": table, "knot": knot}


def shared():
    text, inner = "a text that is shared " * 2, list(range(30))
    return {"first": [text, inner], "second": [text, inner], "third": inner}


def values():
    yield "scalars", [None, True, False, 0, 1, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**63, -(2**70), 2**2100, 1.5, -0.0, "", "a"]
    yield "texts", ["x" * 300, "ä\n\\u0041 \\ '\"", "😀" * 100, b"", b"abc", b"\xff" * 300, bytearray(b"xyz"), "x" * 70000, b"y" * 70000]
    yield "containers", [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], {}, {1: 2}, set(), {1, 2}, frozenset(), frozenset([3])]
    yield "nested", {"a": {"b": {"c": [(1, [2, {"d": (3, {4, 5})}])]}}}
    yield "keys", {1: "int", "s": "str", b"b": "bytes", (1, "x"): "tuple", None: "none", True: "bool", 1.5: "float", frozenset([1]): "set"}
    yield "long list", list(range(3000))
    yield "cycles", cycles()
    yield "shared", shared()
    yield "plain", Plain(x=1, y=[2, 3], z=Plain(deep="value"))
    yield "slots", Slots()
    yield "both", both()
    yield "reduced", Reduced()
    yield "listed", Listed([1, 2, [3]])
    yield "keyed", Keyed(a=1, b=[2])
    yield "ordered", collections.OrderedDict(a=1, b=2)
    yield "default", collections.defaultdict(list, a=[1])
    yield "deque", collections.deque([1, 2, 3], 5)
    yield "pair", Pair(1, "two")
    yield "new", New()
    yield "enum", Color.RED
    yield "fault", Fault("bad", 3)
    yield "date", datetime.datetime(2020, 1, 2, 3, 4, 5)
    yield "decimal", decimal.Decimal("1.5")
    yield "complex", [1j, range(3), slice(1, 2), type, len, function, Plain, NotImplemented, ...]
    yield "partial", functools.partial(function, 1, key=[2])
    yield "method", Plain(cache={"k": "v" * 100}).method
    yield "class method", Plain.of
    yield "builtin method", [1, 2].append
    yield "namespace", SimpleNamespace(a=1, b=[2])
    if numpy is not None:
        yield "array", {"small": numpy.arange(10.0).reshape(2, 5), "large": numpy.zeros(5000), "objects": numpy.array([1, "x"], dtype=object)}


def closure():
    cache, n = {"k": "v" * 100}, 3

    def convert(x, y=4):
        return cache[x], n, y, helper

    return convert


helper = {"global": "g" * 50}


class ByValue:
    def __init__(self):
        self.attribute = list(range(60))

    def run(self):
        return self.attribute


def cloud_values():
    yield "closure", closure()
    yield "by value", ByValue()
    yield "method by value", [closure(), ByValue().run]
    yield "pair by value", Pair(1, 2)


def cloudy():
    """Yields what cloudpickle makes of values of this module, whose functions and classes go by value."""
    if cloudpickle is None:
        return
    for name, value in cloud_values():
        yield name, cloudpickle.dumps(value, 5)


class Spans(pickle._Pickler):
    """Notes where in the stream each object begins and ends."""

    def __init__(self, protocol):
        self.file, self.spans = io.BytesIO(), set()
        super().__init__(self.file, protocol)

    def dump(self, obj):
        if self.proto >= 2:
            self.write(pickle.PROTO + bytes([self.proto]))
        self.save(obj)
        self.write(pickle.STOP)

    def save(self, obj, *args):
        begin = self.file.tell()
        super().save(obj, *args)
        self.spans.add((begin, self.file.tell()))


def spans(name, value, protocol):
    p = Spans(protocol)
    p.dump(value)
    write(name, p.file.getvalue(), spans=sorted(p.spans))


def arbitrary(rng, depth=4, known=None):
    """Returns a value of all kinds, in which some are shared."""
    known = [] if known is None else known
    if known and rng.random() < 0.15:
        return rng.choice(known)
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(
            [
                None, True, rng.randrange(-(10**6), 10**6), rng.getrandbits(100), rng.random(), "s" * rng.randrange(20),
                chr(rng.randrange(0x20, 0x3000)) * rng.randrange(5), rng.randbytes(rng.randrange(40)) if hasattr(rng, "randbytes") else b"x",
                bytearray(rng.randrange(10)), function, Plain, Color.RED, len,
            ]
        )  # fmt: skip
    n = rng.randrange(6)
    children = [arbitrary(rng, depth - 1, known) for _ in range(n)]
    hashable = [c for c in (arbitrary(rng, 0) for _ in range(n)) if not isinstance(c, bytearray)]
    kind = rng.randrange(13)
    if kind == 0:
        value = tuple(children)
    elif kind == 1:
        value = dict(zip(hashable, children))
    elif kind == 2:
        value = set(hashable)
    elif kind == 3:
        value = frozenset(hashable)
    elif kind == 4:
        value = Plain(**{"a%d" % i: c for i, c in enumerate(children)})
    elif kind == 5:
        value = both()
    elif kind == 6:
        value = functools.partial(function, *children)
    elif kind == 7:
        value = Plain(children=children).method
    elif kind == 8:
        value = Fault(*children)
    elif kind == 9:
        value = Listed(children)
    elif kind == 10:
        value = collections.deque(children)
    else:
        value = children
        if rng.random() < 0.2:
            value.append(value)
    known.append(value)
    return value


def sums():
    """Writes pairs, each with whether their contents are equal."""
    a, b = [1, 2, 3], {"k": [1.5, None, "x"]}
    big = {i: str(i) for i in range(5000)}
    ring, other = [1], [1]
    ring.append(ring)
    other.append(other)
    text = "".join(["sh", "ared"])
    pairs = [
        ("copies", [a, b], copy.deepcopy([a, b]), True),
        ("shared and not", [a, a], [a, list(a)], True),
        ("shared text", [text, text], [text, "".join(["sha", "red"])], True),
        ("order of a dict", {"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ("order of a list", [1, 2], [2, 1], False),
        ("list and tuple", [1, 2], (1, 2), False),
        ("swapped", {1: 2}, {2: 1}, False),
        ("values of others", {1: 2, 3: 4}, {1: 4, 3: 2}, False),
        ("int and bool", 1, True, False),
        ("int and float", 1, 1.0, False),
        ("text and bytes", "a", b"a", False),
        ("signs", 255, -1, False),
        ("large ints", 2**70, 2**70 + 1, False),
        ("depth", [[1], 2], [[1, 2]], False),
        ("large", big, dict(reversed(list(big.items()))), True),
        ("one of many", big, {**big, 77: "?"}, False),
        ("attributes", Plain(a=1, b=2), Plain(a=1, b=2), True),
        ("changed", Plain(a=1, b=2), Plain(a=1, b=3), False),
        ("class", Plain(a=1), Both(), False),
        ("functions", function, closure, False),
        ("cycles", ring, other, True),
        ("empties", [], {}, False),
        ("sets", {1, 2, 3}, {3, 2, 1}, True),
        ("set elements", {1, 2}, {1, 3}, False),
        ("sorts of sets", {1}, frozenset([1]), False),
        ("long texts", "x" * 1000, "x" * 999 + "y", False),
        ("lengths", b"\0" * 8, b"\0" * 9, False),
        ("none", [None], [[]], False),
    ]
    for name, x, y, equal in pairs:
        for protocol in range(6):
            if name in ("sorts of sets", "class") and protocol < 2:
                continue
            write(name, pickle.dumps(x, protocol), equal=equal, protocol=protocol)
            write(name, pickle.dumps(y, protocol), equal=equal, protocol=protocol)
            # The same within one stream, behind other things.
            write(name, pickle.dumps(["before", text, {0: "z"}, x, copy.deepcopy(y)], protocol), equal=equal, protocol=protocol)


def main():
    what, seed = sys.argv[1], int(sys.argv[2])
    if what == "table":
        for protocol in range(6):
            for name, value in values():
                try:
                    write("%s, protocol %d" % (name, protocol), pickle.dumps(value, protocol))
                except (TypeError, pickle.PicklingError):
                    continue  # what that protocol hasn't
        for name, value in values():
            buffers = []
            stream = pickle.dumps(value, 5, buffer_callback=buffers.append)
            write(name + ", out of band", stream, [b.raw().nbytes for b in buffers])
        for name, stream in cloudy():
            write(name, stream)
    elif what == "spans":
        for protocol in range(6):
            for name, value in values():
                try:
                    spans("%s, protocol %d" % (name, protocol), value, protocol)
                except (TypeError, pickle.PicklingError):
                    continue
    elif what == "random":
        rng = random.Random(seed)
        for i in range(300):
            spans("random %d" % i, arbitrary(rng), rng.randrange(2, 6))
    elif what == "sums":
        sums()
    elif what == "large":
        write("dict", pickle.dumps({format(i, "020b"): i for i in range(1 << 20)}, 5))
        write("objects", pickle.dumps([Plain(n=i, text="t" * (i % 5000 == 0) * 1000) for i in range(20000)], 5))
        write("task", pickle.dumps((3, 7, function, ((function, tuple([i, "x"] for i in range(62500))),), {}), 4))


main()
