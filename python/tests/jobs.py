"""Functions that the tests of workers have run in workers."""

from __future__ import annotations

import array
import gc
import os
import pickle
import signal
import sys
import threading
import time
import weakref

kept = []
state = None


class Block:
    """Bytes that travel out of band, as numpy's arrays do."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Block, (pickle.PickleBuffer(self.data),)


class Awkward(Exception):
    """Can be pickled, but not loaded."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class Mine(Exception):
    pass


class Refuses:
    """Can't be pickled."""

    def __reduce__(self):
        raise TypeError("not me")


class Bomb:
    """Can be pickled, but not loaded."""

    def __reduce__(self):
        return explode, ()


class Handed:
    """An initializer and its arguments, as a client hands them to a worker's process."""

    def __init__(self, initializer, initargs):
        self.initializer, self.initargs = initializer, initargs


def explode():
    raise LookupError("while loading")


class Exits:
    def __reduce__(self):
        return sys.exit, (3,)


class Counted:
    alive = weakref.WeakSet()

    def __init__(self):
        Counted.alive.add(self)

    def __setstate__(self, state):
        Counted.alive.add(self)


def alive(_=None):
    gc.collect()
    return len(Counted.alive)


def make(_):
    return Counted()


def opened(value):
    global state
    state = value
    return value * 2


def opened_env(*args):
    global state
    state = (os.environ.get("BRINE_WORKER"), os.getpgrp() == os.getpid(), os.get_inheritable(3))


def get_state():
    return state


def add(a, b=0, initret=None):
    return (a + b, initret) if initret is not None else a + b


def fail(x):
    raise ValueError(f"no {x}")


def fail_awkwardly(x):
    raise Awkward(1, x)


def fail_odd(x):
    if x % 2:
        raise Mine(x)
    return x


def keep(x):
    kept.append(x)
    return len(kept)


def kept_sums():
    return [sum(b.data[::4096]) for b in kept]


def same(x):
    return x


def big(n):
    return os.urandom(1) * n


def block(n):
    return Block(bytearray(b"x" * n))


def lambdas(n):
    return lambda x: x + n


def exit_with(code):
    sys.exit(code)


def interrupt(_):
    raise KeyboardInterrupt


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(x):
    if x == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def segfault(_):
    import ctypes

    ctypes.string_at(0)


def nap(seconds):
    time.sleep(seconds)
    return seconds


def first_fast(x):
    if x:
        time.sleep(x)
    return x


def spin(_):
    while True:
        pass


def child(path):
    """Start a process that lives on, and say which."""
    pid = os.fork()
    if pid == 0:
        time.sleep(100)
        os._exit(0)
    return pid


def come_back(_):
    """Fork, and return in both processes."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return pid != 0


def descriptors(fds):
    """Return which of these descriptors a child has."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        have = [fd for fd in fds if fd not in (r, w) and os.path.exists(f"/proc/self/fd/{fd}")]
        os.write(w, repr(have).encode())
        os._exit(0)
    os.close(w)
    found = os.read(r, 100).decode()
    os.close(r)
    os.waitpid(pid, 0)
    return found


def nested(n):
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map(abs, range(-n, 0))


def threads(_):
    return [t.name for t in threading.enumerate()]


def limit(_):
    import resource

    return resource.getrlimit(resource.RLIMIT_DATA)[0]


def total(a):
    return float(sum(a)) if isinstance(a, array.array) else float(a.sum())


def shout(_):
    sys.stderr.write("half a line")
    raise SystemExit(5)


def imported(name):
    return name in sys.modules
