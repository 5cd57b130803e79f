"""Stuck in a pickle: a bound method with a 40 MB dictionary, mapped by multiprocessing.Pool over a million integers.

    python3 examples/pickle.py                            # the standard library's pool
    go run ./cmd/brine run --report examples/pickle.py    # the same file with Brine's

The standard library's pool pickles the method, and the dictionary with it, once for every chunk.
"""

import os
import sys

if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]  # the standard library has a module of this file's name, and needs it

import random
import time
from multiprocessing import Pool

ENTRIES = 1024 * 1024
ITEMS = 1_000_000
WORKERS = 8
TO_BITS = bytes.maketrans(b"01", b"\x00\x01")


class Converter:
    """Converts integers to their bits, one a byte, through a cache of their binary digits."""

    def __init__(self):
        self.digits = {n: format(n, "b") for n in range(ENTRIES)}

    def convert(self, n):
        """Return the bits of one integer."""
        return self.digits[n].encode().translate(TO_BITS)


def main():
    """Convert in a loop, then in a pool."""
    converter = Converter()
    numbers = random.Random(0).choices(range(ENTRIES), k=ITEMS)

    start = time.perf_counter()
    want = [converter.convert(n) for n in numbers]
    print(f"a loop: {time.perf_counter() - start:.2f} s")

    start = time.perf_counter()
    with Pool(WORKERS) as pool:
        got = pool.map(converter.convert, numbers)
    print(f"{WORKERS} processes of {type(pool).__module__}: {time.perf_counter() - start:.2f} s")
    assert got == want


if __name__ == "__main__":
    main()
