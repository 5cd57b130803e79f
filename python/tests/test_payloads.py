"""What crosses: large and odd values come whole and are their receiver's own; and nothing is pickled more often than it must be."""

import functools
import gc
import hashlib
import multiprocessing
import os
import pickle
import warnings

import pytest
import tasks

import brine

np = pytest.importorskip("numpy")

SIZES = (0, 1, 100, 4095, 4096, 4097, 65_536, 1 << 20, (1 << 22) + 13)


def noise(size):
    """Bytes that are no pattern of anything."""
    return np.random.default_rng(size).bytes(size)


# There and back.


@pytest.mark.parametrize("size", SIZES)
def test_bytes(size, pool):
    data = noise(size)
    for value in (data, bytearray(data), [data, data[:10]], {"a": (data,)}):
        back = pool.apply(tasks.same, (value,))
        assert back == value and type(back) is type(value)
    assert pool.map(tasks.same, [data] * 3, 1) == [data] * 3
    assert list(pool.imap(tasks.same, [data, b"", data])) == [data, b"", data]
    assert pool.apply(tasks.same, (memoryview(bytearray(data)).tobytes().decode("latin-1"),)).encode("latin-1") == data


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_64_mb(method):
    data, array = noise(64 << 20), np.arange(8 << 20, dtype=np.int64)
    with brine.Pool(2, context=multiprocessing.get_context(method)) as pool:
        assert pool.apply(tasks.same, (data,)) == data
        back, same = pool.map(tasks.same, [array, data], 1)
        assert np.array_equal(back, array) and same == data


ARRAYS = {
    "0-d": lambda: np.array(5.5),
    "empty": lambda: np.zeros((0, 3)),
    "small": lambda: np.arange(10),
    "1 MB": lambda: np.arange(1 << 17, dtype=np.float64),
    "4 MB": lambda: np.random.default_rng(1).standard_normal((512, 1024)),
    "fortran": lambda: np.asfortranarray(np.arange(60_000, dtype=np.int32).reshape(300, 200)),
    "strided": lambda: np.arange(400_000)[::3],
    "reversed": lambda: np.arange(100_000)[::-1],
    "read-only": lambda: np.frombuffer(noise(100_000), dtype=np.uint8),
    "structured": lambda: np.zeros(5_000, dtype=[("a", "i4"), ("b", "f8", (3,)), ("c", "S5")]),
    "big-endian": lambda: np.arange(50_000, dtype=">i8"),
    "strings": lambda: np.array(["a" * (i % 50) for i in range(5_000)]),
    "objects": lambda: np.array([{"a": i} for i in range(500)] + [None], dtype=object),
    "dates": lambda: np.arange("2020-01-01", "2030-01-01", dtype="datetime64[D]"),
    "bool": lambda: np.arange(100_000) % 3 == 0,
    "complex": lambda: np.arange(50_000) * 1j,
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
def test_arrays(make, pool):
    array = make()
    for back in (pool.apply(tasks.same, (array,)), *pool.map(tasks.same, [array, array], 1)):
        assert type(back) is np.ndarray and (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.flags.f_contiguous == pickle.loads(pickle.dumps(array)).flags.f_contiguous
        np.testing.assert_array_equal(back, array)
        gone = pool.apply(tasks.flags, (array,))
        stock = pickle.loads(pickle.dumps(array)).flags.writeable
        assert (back.flags.writeable, gone) == (stock, stock)


def test_nested_buffers(pool):
    value = {
        "arrays": [np.full(i * 1000, i) for i in range(20)],
        "bytes": [noise(i * 500) for i in range(20)],
        "both": (np.zeros(5), [bytearray(100_000), {"deep": np.ones((100, 100))}]),
    }
    for back in (pool.apply(tasks.same, (value,)), *pool.map(tasks.same, [value] * 2)):
        np.testing.assert_equal(back, value)


def test_out_of_band_buffers_of_other_types(pool):
    for size in (0, 100, 1 << 20):
        value = tasks.Buffered(bytearray(noise(size)))
        assert pool.apply(tasks.same, (value,)).data == value.data


def test_one_array_many_times_is_one(pool):
    """As in any pickle: two names for one object stay two names for one."""
    array = np.zeros(100_000)
    assert pool.apply(tasks.are_same, (array, array)) is True
    a, b = pool.apply(tasks.twice, (100_000,))
    assert a is b


def test_small_arena():
    """What has no room goes another way, and is right."""
    with brine.Pool(2, arena_memory=1 << 20) as pool:
        for size in (10, 100_000, 1 << 20, 5 << 20):
            data = noise(size)
            assert pool.map(tasks.same, [data] * 6, 1) == [data] * 6
        assert [len(x) for x in pool.imap(tasks.zeros, [3 << 20] * 8)] == [3 << 20] * 8


# Whose it is.


def test_task_may_change_its_arguments(pool):
    """It is the task's own copy: neither the caller nor another task sees it."""
    array, buffer = np.zeros(200_000), bytearray(200_000)
    for chunksize in (1, None):
        assert pool.starmap(tasks.increment, [(array, buffer)] * 8, chunksize)[0] == (1.0, 1)
    # In a chunk of its own each task sees what was sent. Those of one chunk share what the chunk holds, as in the stdlib's.
    assert pool.starmap(tasks.increment, [(array, buffer)] * 8, 1) == [(1.0, 1)] * 8
    assert [pool.apply(tasks.increment, (array, buffer)) for _ in range(4)] == [(1.0, 1)] * 4
    assert array.sum() == 0 and not any(buffer)


def test_caller_may_change_results(pool):
    arrays = pool.map(tasks.ones, [100_000] * 6, 1)
    for i, array in enumerate(arrays):
        array += i
    assert [x[-1] for x in arrays] == [1.0 + i for i in range(6)]


def test_caller_may_change_arguments_after_submission():
    with brine.Pool(1) as pool:
        first = pool.apply_async(tasks.nap, (0.05,))
        array = np.zeros(300_000)
        results = []
        for i in range(20):
            array[:] = i
            results.append(pool.apply_async(tasks.first_and_last, (array,)))
        array[:] = -1
        first.get()
        assert [r.get() for r in results] == [(i, i) for i in range(20)]


@pytest.mark.parametrize("make", [np.ones, lambda n: noise(8 * n)], ids=["array", "bytes"])
def test_worker_may_keep_arguments(make):
    """For as long as it likes, whatever comes after them."""
    value = make(100_000)
    digest = hashlib.sha256(value).hexdigest()
    with brine.Pool(1, arena_memory=16 << 20) as pool:
        assert pool.apply(tasks.keep, (value,)) == digest
        for _ in range(5):
            assert len(pool.map(tasks.first_and_last, [np.full(100_000, i) for i in range(40)])) == 40
        assert pool.apply(tasks.kept_digest) == digest


def test_client_may_keep_results():
    """A few, while a thousand more come and go."""
    with brine.Pool(2, arena_memory=16 << 20) as pool:
        kept = {i: x for i, x in enumerate(pool.imap(tasks.seeded, range(10)))}
        for i, x in enumerate(pool.imap(tasks.seeded, range(1000), 10)):
            if i % 100 == 7:
                kept[i] = x
            del x
    gc.collect()
    for i, x in kept.items():
        np.testing.assert_array_equal(x, tasks.seeded(i))


def test_results_outlive_their_pool():
    with brine.Pool(1) as pool:
        array, data = pool.map(tasks.same, [np.arange(1 << 18), noise(1 << 20)])
    pool.join()
    assert array.sum() == sum(range(1 << 18)) and data == noise(1 << 20)


# Functions by value.

offset = 10


def plain(x):
    return x + offset


def closure(n):
    return lambda x: x + n


def recursive():
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    return fibonacci


def local_class():
    class Local:
        def __init__(self, n):
            self.n = n

        def method(self, x):
            return x + self.n

    return Local(3).method


def made():
    names = {}
    exec("def made(x): return x + 1", names)
    return names["made"]


FUNCTIONS = {
    "of a test module": (lambda: plain, [10, 11, 12]),
    "lambda": (lambda: lambda x: x * 2, [0, 2, 4]),
    "closure": (lambda: closure(5), [5, 6, 7]),
    "recursive": (recursive, [0, 1, 1]),
    "method of a local class": (local_class, [3, 4, 5]),
    "partial of a lambda": (lambda: functools.partial(lambda a, b: a - b, 1), [1, 0, -1]),
    "made by exec": (made, [1, 2, 3]),
    "with a lambda for a default": (lambda: lambda x, f=lambda y: y + 1: f(x), [1, 2, 3]),
}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_functions_by_value(method):
    with brine.Pool(2, context=multiprocessing.get_context(method)) as pool:
        for name, (make, want) in FUNCTIONS.items():
            function = make()
            assert pool.map(function, range(3)) == want, name
            assert list(pool.imap(function, range(3))) == want, name
            assert pool.apply(function, (1,)) == want[1], name


def test_lambdas_as_arguments(pool):
    assert pool.apply(tasks.call, (lambda x: x + 1, 2)) == 3
    assert pool.starmap(tasks.call, [(lambda x, i=i: x + i, 10) for i in range(3)]) == [10, 11, 12]


def test_plain_pickle_where_it_does(pool):
    """Functions that have a name are sent by it: the worker's own is called, and what it keeps is kept."""
    assert pool.apply(tasks.is_own, (tasks.is_own,)) is True


# How often.


class Ledger:
    """What was pickled and loaded, by tasks.Logged, in which process."""

    def __init__(self, path):
        self.path = path

    def thing(self, name, **more):
        return tasks.Logged(str(self.path), name, **more)

    def count(self):
        """(dumps here, loads in each worker...) since the last time."""
        rows = [line.split(":") for line in tasks.lines(self.path)]
        open(self.path, "w").close()
        dumps = sum(op == "dump" and int(pid) == os.getpid() for op, _, pid in rows)
        loads = [pid for op, _, pid in rows if op == "load" and int(pid) != os.getpid()]
        return dumps, sorted(loads.count(pid) for pid in set(loads))


CALLS = {
    "apply": lambda p, f: p.apply(f, (1,)),
    "map": lambda p, f: p.map(f, range(100)),
    "map, chunks of 1": lambda p, f: p.map(f, range(100), 1),
    "map_async": lambda p, f: p.map_async(f, range(100)).get(),
    "starmap": lambda p, f: p.starmap(f, [(i,) for i in range(100)]),
    "imap": lambda p, f: list(p.imap(f, range(100))),
    "imap, chunks of 10": lambda p, f: list(p.imap(f, range(100), 10)),
    "imap_unordered": lambda p, f: list(p.imap_unordered(f, range(100))),
}
SHAPES = {
    "bound method": lambda thing: thing.method,
    "callable": lambda thing: thing,
    "partial": lambda thing: functools.partial(tasks.add_to, thing),
    "closure": lambda thing: lambda x: thing(x),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_function_is_pickled_once_a_call(call, shape, pool, tmp_path):
    ledger = Ledger(tmp_path / "log")
    call(pool, shape(ledger.thing("self", weight=b"x" * 20_000)))
    dumps, loads = ledger.count()
    # Plain pickle may have got that far before it failed with a closure, and it has to go by value.
    assert dumps == 1 or shape is SHAPES["closure"] and dumps <= 2
    assert loads and max(loads) == 1


def test_function_as_it_is_at_each_call(pool):
    """Once a call, not once for ever: what changed between two calls arrives."""
    thing = tasks.Adder(1)
    first = pool.map(thing.method, range(3))
    thing.n = 100
    assert (first, pool.map(thing.method, range(3))) == ([1, 2, 3], [100, 101, 102])


def test_arguments_and_results_are_pickled_once(pool, tmp_path):
    ledger = Ledger(tmp_path / "log")
    things = [ledger.thing(f"a{i}") for i in range(20)]
    assert [x.name for x in pool.map(tasks.same, things)] == [f"a{i}" for i in range(20)]
    dumps, loads = ledger.count()
    assert (dumps, sum(loads)) == (20, 20)


@pytest.mark.parametrize("method, dumps", [("fork", 0), ("spawn", 1), ("forkserver", 1)])
def test_initargs_are_pickled_once_a_pool(method, dumps, tmp_path):
    ledger = Ledger(tmp_path / "log")
    thing = ledger.thing("initarg", weight=bytes(1 << 20))
    with brine.Pool(3, tasks.init_keep, (thing,), 1, context=multiprocessing.get_context(method)) as pool:
        assert pool.map(tasks.pid, range(6), 1)  # six workers and more, by maxtasksperchild
        counted, loads = ledger.count()
    assert counted == dumps
    assert not loads or max(loads) == 1


# What is very large.


def test_size_warning(pool, monkeypatch):
    monkeypatch.setattr(brine, "size_warning", 100_000)
    thing = tasks.Adder(1)
    vars(thing).update(cache=b"c" * 90_000, table=[b"t" * 50_000], names={"k": b"n" * 20_000}, little=b"l" * 10)
    with pytest.warns(brine.SizeWarning) as seen:
        assert pool.map(thing.method, range(4)) == [1, 2, 3, 4]
    (text,) = [str(w.message) for w in seen if w.category is brine.SizeWarning]
    assert all(name in text for name in ("method", "cache", "table", "names")) and "little" not in text


def test_no_size_warning(pool):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pool.apply(len, (bytes(20 << 20),)) == 20 << 20
    assert brine.size_warning == 100_000_000 or brine.size_warning == 100 << 20
