"""The rows: what is measured of each pool. A row gives the seconds of one sample, and checks the answers on the way."""

from __future__ import annotations

import array
import functools
import importlib
import os
import statistics
import tempfile
import time
from typing import Any, Callable, NamedTuple

import pools
import tasks
from pools import WORKERS, Pool

clock = time.perf_counter


class Row(NamedTuple):
    """A row of the table."""

    run: Callable[[Pool, bool], float]
    unit: str  # of the figure: seconds are shown in it
    says: str
    only: tuple[str, ...] = ()  # the pools it is for, if not for all


# Pools that run what is written for the standard library's.
STOCK = ("brine", "brine-spawn", "mp-fork", "mp-spawn")


def warm(pool: Pool) -> None:
    """Have every worker answer once, so that none is still starting."""
    assert sorted(pool.map(tasks.nop, range(4 * WORKERS))) == list(range(4 * WORKERS))


def chunk1(pool: Pool, short: bool) -> float:
    """Map over empty tasks that are sent one by one."""
    n = 2000 if short else 10_000
    pool.open()
    warm(pool)
    start = clock()
    assert pool.map(tasks.nop, range(n)) == list(range(n))
    return (clock() - start) / n


def apply(pool: Pool, short: bool) -> float:
    """Call an empty task, one call after another."""
    pool.open()
    warm(pool)
    laps = []
    for i in range(50 if short else 500):
        start = clock()
        assert pool.call(tasks.nop, i) == i
        laps.append(clock() - start)
    return statistics.median(laps)


def automatic(make: Callable[[int], Any], pool: Pool, short: bool) -> float:
    """Map an empty task over a million ints, with as large chunks as the pool likes."""
    n = 100_000 if short else 1_000_000
    numbers = make(n)
    pool.open()
    warm(pool)
    laps = []
    for _ in range(5):
        start = clock()
        assert pool.pool.map(tasks.nop, numbers)[-1] == n - 1
        laps.append(clock() - start)
    return statistics.median(laps) / n


def start(pool: Pool, short: bool) -> float:
    """Start a pool, until each worker has answered; a pool was there before, as programs have it that make several."""
    laps = []
    for _ in range(3 if short else 10):
        began = clock()
        pool.open()
        pool.map(tasks.nop, range(2 * WORKERS))
        laps.append(clock() - began)
        pool.close()
    pool.open()
    return statistics.median(laps[1:])


def bound_method(pool: Pool, short: bool) -> float:
    """Map a method of an object that holds a large dictionary, with eight workers and arrays as results: seed 000."""
    pools.WORKERS = 8  # in this sample's process
    size = 1 << (16 if short else 20)
    converter = tasks.Converter(size)
    pool.open()
    began = clock()
    got = pool.pool.map(converter.convert, range(size - size // 16))
    took = clock() - began
    assert bytes(got[5]) == b"101"
    return took


def echo(make: Callable[[int], Any], pool: Pool, short: bool) -> float:
    """Send something large there and back."""
    sent = make(8 << 20 if short else 64 << 20)
    pool.open()
    warm(pool)
    laps = []
    for _ in range(4):
        start = clock()
        got = pool.call(tasks.nop, sent)
        laps.append(clock() - start)
        assert bytes(got[-100:]) == bytes(sent[-100:]) and len(got) == len(sent)
        del got
    return statistics.median(laps[1:])  # the first finds cold memory, with every pool


def random_bytes(size: int) -> bytes:
    """Make bytes that nothing can compress."""
    return os.urandom(1 << 20) * (size >> 20)


def random_array(size: int) -> Any:
    """Make an array of float64."""
    return importlib.import_module("numpy").random.default_rng(1).random(size // 8)


def same_array(pool: Pool, short: bool) -> float:
    """Give eight tasks the same array as their argument."""
    sent = random_array(8 << 20 if short else 64 << 20)
    pool.open()
    warm(pool)
    laps = []
    for _ in range(3):
        start = clock()
        got = pool.map(tasks.total, [sent] * 8)
        laps.append(clock() - start)
        assert got == [tasks.total(sent)] * 8
    return statistics.median(laps)


def stateful_start(pool: Pool, short: bool) -> float:
    """Start workers that are given a dictionary, until all of them have used it."""
    digits = {n: format(n, "b") for n in range(1 << (16 if short else 20))}
    start = clock()
    pool.open(tasks.nop, digits)
    assert pool.state(tasks.look_up, range(4 * WORKERS)) == [digits[n] for n in range(4 * WORKERS)]
    return clock() - start


def fixed_first(pool: Pool, short: bool) -> float:
    """Start workers that are given integers, until the first map over small lists is done: seed 003."""
    data = array.array("q", range(1_000_000 if short else 25_118_864))
    start = clock()
    pool.open(tasks.nop, data)
    fixed_map(pool)
    return clock() - start


def fixed_later(pool: Pool, short: bool) -> float:
    """Map over small lists with the integers there: the median of nine maps."""
    fixed_first(pool, short)
    laps = []
    for _ in range(9):
        start = clock()
        fixed_map(pool)
        laps.append(clock() - start)
    return statistics.median(laps)


def fixed_map(pool: Pool) -> None:
    """Map over a hundred lists of a hundred ones."""
    assert pool.state(tasks.add_up, [[1] * 100] * 100) == [200] * 100


# mpire's three, with the start and the end of the pool in the time, as published.


def numerical(pool: Pool, short: bool, stock: bool = False) -> float:
    """Filter one image with many kernels. Pools without worker state send it each time, and with stock Brine's too."""
    numpy = importlib.import_module("numpy")
    image = numpy.zeros((1000 if short else 5000,) * 2)
    numpy.random.seed(42)
    kernels = [numpy.random.normal(size=(4, 4)) for _ in range(10 * WORKERS)]
    start = clock()
    if not stock and isinstance(pool, (pools.Brine, pools.Mpire, pools.Ray)):
        pool.open(tasks.nop, image)
        got = pool.state(tasks.filter_state, kernels)
    elif isinstance(pool, pools.Joblib):
        pool.open()
        got = pool.pool(pool.library.delayed(tasks.filter_image)(image, kernel) for kernel in kernels)
    else:
        pool.open()
        got = pool.map(functools.partial(tasks.filter_image, image), kernels)
    assert len(got) == len(kernels) and got[0].shape[0] > len(image) // 5
    pool.close()
    return clock() - start


def stateful(pool: Pool, short: bool) -> float:
    """Count prefixes of words, each worker for itself. A twentieth of the published documents: 100."""
    random = importlib.import_module("random").Random(1)
    documents = [
        [random.randbytes(20) for _ in range((15_000 if i % 2 == 0 else 5_000) // (20 if short else 1))]
        for i in range(20 if short else 100)
    ]
    start = clock()
    if isinstance(pool, pools.Ray):
        pool.open(tasks.Prefixes)
        pool.state(tasks.count_document, documents)
        sets = [pool.library.get(actor.get.remote("popular")) for actor in pool.actors]
    elif isinstance(pool, (pools.Brine, pools.Mpire)):
        queue = importlib.import_module("multiprocessing").get_context(pool.method).SimpleQueue()
        pool.open(tasks.count_until_end, queue)
        pool.state(tasks.count_document, documents)
        sets = _end(pool, queue)
    else:
        sets = _with_managers(pool, documents)
    assert len(sets) == WORKERS and all(sets)
    pool.close()
    return clock() - start


def _end(pool: Pool, queue: Any) -> list[set[bytes]]:
    """Close the pool, and read meanwhile what its workers leave."""
    import threading

    closing = threading.Thread(target=pool.close)
    closing.start()
    sets = [queue.get() for _ in range(WORKERS)]
    closing.join()
    pool.close = lambda: None  # type: ignore[method-assign]
    return sets


def _with_managers(pool: Pool, documents: Any) -> list[set[bytes]]:
    """Count as published for pools without worker state: an object in a manager process for each worker."""
    managers = importlib.import_module("multiprocessing.managers")

    class Manager(managers.BaseManager):  # type: ignore[misc, name-defined]
        pass

    Manager.register("Prefixes", tasks.Prefixes)
    started = [Manager() for _ in range(WORKERS)]
    try:
        for manager in started:
            manager.start()
        counters = [manager.Prefixes() for manager in started]
        pool.open()
        pool.map(
            tasks.count_in_manager,
            [(counters[i % WORKERS], d) for i, d in enumerate(documents)],
        )
        return [counter.popular() for counter in counters]
    finally:
        for manager in started:
            manager.shutdown()


def expensive_start(pool: Pool, short: bool, stock: bool = False) -> float:
    """Predict with a model that takes long to load. Pools without worker state load it for each of 30 predictions."""
    numpy = importlib.import_module("numpy")
    random = numpy.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.npz")
        layers = {
            "first": random.normal(size=(784, 512)),
            "second": random.normal(size=(512, 10)),
        }
        numpy.savez_compressed(
            path,
            **layers,
            pictures=random.integers(0, 256, (1000 if short else 3000, 784)) / 255,
        )
        want = tasks.Model(path).predict()
        start = clock()
        if not stock and isinstance(pool, (pools.Brine, pools.Mpire, pools.Ray)):
            pool.open(tasks.Model, path)
            got = pool.state(tasks.predict, range(30))
        else:
            pool.open()
            got = pool.map(functools.partial(tasks.predict_loading, path), range(30))
        assert (got[29] == want + 29).all()
        pool.close()
        return clock() - start


AS_STOCK = "the same, by the program that is published for the standard library's pool"
ROWS = {
    "chunk1": Row(chunk1, "µs", "an empty task in a map with chunks of one"),
    "apply": Row(apply, "µs", "a call, one after another"),
    "range": Row(
        functools.partial(automatic, range),
        "ns",
        "an empty task in a map over a range, automatic chunks",
        STOCK,
    ),
    "list": Row(
        functools.partial(automatic, lambda n: list(range(n))),
        "ns",
        "the same over a list of ints",
        STOCK,
    ),
    "start": Row(start, "ms", "a pool's start, until each worker has answered", STOCK),
    "bound": Row(
        bound_method,
        "ms",
        "seed 000: a bound method, eight workers, a million arrays as results",
        STOCK,
    ),
    "bytes": Row(functools.partial(echo, random_bytes), "ms", "64 MB of bytes there and back"),
    "array": Row(
        functools.partial(echo, random_array),
        "ms",
        "a numpy array of 64 MB there and back",
    ),
    "same array": Row(same_array, "ms", "eight tasks with the same array of 64 MB"),
    "state": Row(
        stateful_start,
        "ms",
        "start with a dictionary of a million entries, until it was used",
    ),
    "fixed, first": Row(fixed_first, "ms", "start with 25 million integers, until the first map is done"),
    "fixed, later": Row(fixed_later, "ms", "each further map"),
    "mpire 1": Row(numerical, "ms", "mpire's numerical computation, whole program"),
    "mpire 1, as stock": Row(functools.partial(numerical, stock=True), "ms", AS_STOCK, STOCK),
    "mpire 2": Row(stateful, "ms", "mpire's stateful computation, whole program"),
    "mpire 3": Row(expensive_start, "ms", "mpire's expensive initialization, whole program"),
    "mpire 3, as stock": Row(functools.partial(expensive_start, stock=True), "ms", AS_STOCK, STOCK),
}
