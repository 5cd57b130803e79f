"""Fixed data for all workers, of growing size: the time to the first answer, of later ones, and the memory.

python3 fixed_data.py [largest number of integers]
"""

import array
import glob
import multiprocessing
import os
import sys
import time

import numpy

import brine

SIZES = [100_000, 630_957, 3_981_071, 25_118_864, 158_489_319]
WORKERS = 4
ROUNDS = 9
LISTS = [[1] * 100] * 100

_data = None


def keep(big_data):
    """Keep the fixed data in a global, as multiprocessing.Pool wants it."""
    global _data
    _data = big_data


def add_global(ints):
    """Add some integers to as many of the fixed ones."""
    return sum(ints) + sum(_data[-len(ints) :])


def identity(big_data):
    """Be the initializer: what it returns is what the tasks get."""
    return big_data


def add(ints, initret):
    """Add some integers to as many of the fixed ones."""
    return sum(ints) + sum(initret[-len(ints) :])


def memory():
    """Return the memory of this process and its descendants in MB, shared pages in parts."""
    parents = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat) as f:
                pid, rest = f.read().split(" (", 1)
        except OSError:
            continue
        parents[int(pid)] = int(rest.rpartition(") ")[2].split()[1])
    size = 0
    for pid in parents:
        p = pid
        while p != os.getpid() and p in parents:
            p = parents[p]
        if p == os.getpid():
            with open(f"/proc/{pid}/smaps_rollup") as f:
                size += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return size / 1024


def measure(name, make, function, data):
    """Start a pool with the data, and map the lists nine times."""
    want = 100 * (100 + int(sum(data[-100:])))
    before = memory()
    start = time.perf_counter()
    with make(data) as pool:
        laps = []
        for _ in range(ROUNDS):
            assert sum(pool.map(function, LISTS)) == want
            laps.append(time.perf_counter())
        grown = memory() - before
    pool.join()
    later = (laps[-1] - laps[0]) / (ROUNDS - 1)
    what = f"{len(data):>11,}  {type(data).__module__ + '.' + type(data).__name__:<13}  {name:<15}"
    print(
        f"{what} {laps[0] - start:11.2f} s {later * 1e3:9.1f} ms {grown:13.0f} MB",
        flush=True,
    )


def main():
    """Measure both pools with each size, in processes that inherit nothing."""
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else SIZES[3]
    context = multiprocessing.get_context("spawn")

    def stock(data):
        return context.Pool(WORKERS, keep, (data,))

    def ours(data):
        return brine.Pool(WORKERS, identity, (data,), context=context, expect_initret=True)

    brine.size_warning = None  # large is what is meant
    print("   integers                   pool              first map   later maps   memory grew by")
    for size in SIZES:
        if size > largest:
            break
        for data in array.array("q", range(size)), numpy.arange(size):
            measure("multiprocessing", stock, add_global, data)
            measure("brine", ours, add, data)


if __name__ == "__main__":
    main()
