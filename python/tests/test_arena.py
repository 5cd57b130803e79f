"""The arena's book: places don't overlap, room comes back, and memory that nobody needs is given back."""

from __future__ import annotations

import errno
import os
import random
import threading

import pytest

from brine import _arena
from brine._arena import Arena


@pytest.fixture
def memory():
    fd = os.memfd_create("test")
    os.ftruncate(fd, 256 << 20)
    yield fd
    os.close(fd)


def pages(fd):
    return os.fstat(fd).st_blocks * 512


def test_places_are_apart_and_come_back(memory):
    a = Arena(memory, 100, 1 << 20)
    assert a.base == 4096
    rng = random.Random(1)
    held = {}
    for _ in range(5000):
        if held and rng.random() < 0.5:
            off = rng.choice(list(held))
            a.free(off)
            del held[off]
            continue
        n = rng.choice((0, 1, 4096, 5000, 70000))
        off = a.alloc(n)
        if off is None:
            assert a.in_use
            continue
        assert off % 4096 == 0 and off >= 4096 and off + n <= 1 << 20
        for other, m in held.items():
            assert off + max(n, 1) <= other or other + m <= off
        held[off] = max(n, 1)
    for off in held:
        a.free(off)
    assert a.in_use == 0
    assert a.alloc((1 << 20) - 4096) == 4096


def test_lowest_place_first(memory):
    a = Arena(memory, 0, 1 << 20)
    first, second = a.alloc(10), a.alloc(10)
    a.free(first)
    assert a.alloc(4096) == first
    assert a.alloc(4097) == second + 4096


def test_no_room(memory):
    a = Arena(memory, 4096, 3 * 4096)
    assert a.alloc(2 * 4096 + 1) is None
    assert a.alloc(2 * 4096) == 4096
    assert a.alloc(1) is None
    assert Arena(memory, 8192, 8192).alloc(1) is None
    assert Arena(memory, 8192, 100).alloc(1) is None


def test_freeing_twice_is_an_error(memory):
    a = Arena(memory, 0, 1 << 20)
    off = a.alloc(1)
    a.free(off)
    with pytest.raises(ValueError):
        a.free(off)


def test_write_of_many_parts(memory):
    a = Arena(memory, 0, 1 << 20)
    parts = [bytes([i % 256]) * (i % 7) for i in range(5000)]
    parts.insert(1000, bytearray(b"array"))
    parts.insert(2000, memoryview(b"view"))
    off = a.alloc(sum(map(len, parts)))
    a.write(off, parts)
    whole = b"".join(parts)
    assert os.pread(memory, len(whole), off) == whole


def test_write_that_the_system_does_in_parts(memory, monkeypatch):
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, off: real(fd, [b"".join(parts)[:3]], off))
    a = Arena(memory, 0, 1 << 20)
    a.write(0, [b"abcde", b"", b"f", b"ghijklm"])
    assert os.pread(memory, 13, 0) == b"abcdefghijklm"


def test_system_without_memory(memory, monkeypatch):
    def full(fd, off, n):
        raise OSError(errno.ENOSPC, "full")

    a = Arena(memory, 0, 1 << 20)
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert a.alloc(1) is None
    monkeypatch.undo()
    assert a.alloc(1) == 0


def test_pages_are_found_first_and_given_back_later(memory, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(_arena, "monotonic", lambda: clock[0])
    a = Arena(memory, 0, 256 << 20)
    small = a.alloc(1)
    assert 1 << 20 <= pages(memory) < 8 << 20
    off = a.alloc(200 << 20)
    assert pages(memory) >= 200 << 20
    a.free(off)
    for _ in range(3):  # what was in use since the last look stays
        a.free(a.alloc(1 << 20))
    assert pages(memory) >= 200 << 20
    for _ in range(3):
        clock[0] += 2
        a.free(a.alloc(1 << 20))
    assert pages(memory) <= _arena.BUDGET + (2 << 20)
    off = a.alloc(200 << 20)
    assert off is not None and pages(memory) >= 200 << 20
    a.free(off)
    a.free(small)


def test_threads(memory):
    a = Arena(memory, 0, 64 << 20, locked=True)

    def work(seed):
        rng = random.Random(seed)
        for _ in range(300):
            off = a.alloc(rng.randrange(1, 50000))
            a.write(off, [bytes([seed]) * 1000])
            assert os.pread(memory, 1000, off) == bytes([seed]) * 1000
            a.free(off)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert a.in_use == 0
