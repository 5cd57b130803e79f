"""Maps an empty task over many elements with chunksize 1, and prints the nanoseconds of one."""

import sys
import time

import brine

ELEMENTS = 60_000


def nothing(x):
    """Return the element."""
    return x


if __name__ == "__main__":
    with brine.Pool(2) as pool:
        pool.map(nothing, range(ELEMENTS // 10), 1)
        start = time.perf_counter_ns()
        pool.map(nothing, range(ELEMENTS), 1)
        sys.stdout.write(f"{(time.perf_counter_ns() - start) / ELEMENTS}\n")
