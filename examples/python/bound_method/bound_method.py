"""A method whose object has a dictionary of a million entries, mapped over integers in four ways.

python3 bound_method.py [items]
"""

import multiprocessing
import random
import sys
import time

import numpy as np

import brine

ENTRIES = 1024 * 1024  # 40 MB by sys.getsizeof, 28 MB as a pickle
WORKERS = 8


class IntToBitarrayConverter:
    """Converts integers to arrays of their bits; pickles of it are counted."""

    pickled = 0

    def set_bitstring_cache(self, bitstring_cache):
        """Give the converter the binary digits of all integers."""
        self.bitstring_cache = bitstring_cache

    def convert(self, integer):
        """Return the bits of one integer."""
        return self._bitstring_to_ndarray(self.bitstring_cache[integer])

    @staticmethod
    def _bitstring_to_ndarray(bitstring):
        return np.frombuffer(bitstring.encode(), "u1") - 48

    def __getstate__(self):
        IntToBitarrayConverter.pickled += 1
        return self.__dict__


def identity(converter):
    """Be the initializer: what it returns is what the tasks get."""
    return converter


def convert(integer, initret):
    """Convert with the worker's own converter."""
    return initret.convert(integer)


def main():
    """Convert the integers in each way, and print the times."""
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    converter = IntToBitarrayConverter()
    converter.set_bitstring_cache({key: format(key, "b") for key in range(ENTRIES)})
    integers = random.Random(0).choices(range(ENTRIES), k=items)
    print(f"{items:,} integers, {WORKERS} workers\n")
    print("                                  seconds   again   pickles of the converter")

    start = time.perf_counter()
    want = [converter.convert(n) for n in integers]
    print(f"a loop                            {time.perf_counter() - start:7.2f}")

    def way(name, pool, function, maps=2):
        IntToBitarrayConverter.pickled = 0
        seconds = []
        with pool() as p:
            for _ in range(maps):
                start = time.perf_counter()
                got = p.map(function, integers)
                seconds.append(time.perf_counter() - start)
            if isinstance(p, brine.Pool):
                bills.append(p)
        assert all(map(np.array_equal, got, want))
        again = f"{seconds[1]:7.2f}" if maps == 2 else 7 * " "
        print(f"{name:<33} {seconds[0]:7.2f} {again} {IntToBitarrayConverter.pickled:7}")

    bills = []
    way(
        "multiprocessing, bound method",
        lambda: multiprocessing.Pool(WORKERS),
        converter.convert,
        1,
    )
    way("brine, bound method", lambda: brine.Pool(WORKERS), converter.convert)
    way(
        "brine, expect_initret",
        lambda: brine.Pool(WORKERS, identity, (converter,), expect_initret=True),
        convert,
    )
    print("\nThe bill of the bound method:\n", flush=True)
    bills[0].report()


if __name__ == "__main__":
    main()
