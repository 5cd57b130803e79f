"""What the tests let workers do. Apart from the tests, so that a spawned worker need not import pytest."""

import ctypes
import faulthandler
import hashlib
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

STATE = None  # of this worker, or before a pool is made: of the parent


# Plain ones.


def nothing():
    pass


def same(x):
    return x


def square(x):
    return x * x


def add(a, b=0, *more, c=0):
    return a + b + sum(more) + c


def pid(x=None):
    return os.getpid()


def counted(x=None):
    """How many calls of this there were in this worker."""
    global STATE
    STATE = (STATE or 0) + 1
    return STATE


def append(path, x):
    """Adds a line to a file, and returns x."""
    with open(path, "a") as f:
        f.write(f"{x}\n")
    return x


def lines(path):
    try:
        with open(path) as f:
            return f.read().split()
    except FileNotFoundError:
        return []


def wait_for(path):
    """Returns when somebody has made the file."""
    while not os.path.exists(path):
        time.sleep(0.005)
    return path


def announce_and_wait(path):
    """Says by a file that it runs, and doesn't end by itself."""
    append(path, os.getpid())
    time.sleep(1000)


def extend(items):
    items.append(len(items))
    return list(items)


def give(name):
    """Results that can't be sent, and one that can."""
    return {"lambda": lambda: 42, "lock": threading.Lock(), "generator": (i for i in ()), "int": 42}[name]


class Kept(list):
    """A list that can be referred to weakly."""


class Adder:
    step = 100

    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n

    def method(self, x):
        return x + self.n

    @classmethod
    def of_class(cls, x):
        return x + cls.step

    @staticmethod
    def static(x):
        return x + 1

    def __eq__(self, other):
        return type(other) is Adder and other.n == self.n

    __hash__ = None


class Holder:
    """Has something small and something large."""

    def __init__(self, small, large):
        self.small, self.large = small, large

    def length(self, x):
        return len(self.large)


def first_of_pair(pair):
    return pair[0]


def length_of_initret(x, initret):
    return len(initret)


# Those that fail.


class Custom(Exception):
    """Sent by what it was made of, and with what was put on it later."""

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code
        self.note = "from the initializer"


class TwoArguments(Exception):
    """Can be pickled and not unpickled: a classic."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class BadReduce(Exception):
    def __reduce__(self):
        raise RuntimeError("no reduce")


class BadState(Exception):
    """Fails in the client alone."""

    def __init__(self, text, home=None):
        super().__init__(text, home or os.getpid())

    def __reduce__(self):
        return _bad_state, self.args


def _bad_state(text, home):
    if os.getpid() != home:
        raise RuntimeError("not here")
    return BadState(text, home)


class BadBase(BaseException):
    pass


def chained():
    try:
        raise KeyError("inner")
    except KeyError as e:
        raise ValueError("outer") from e


def with_lock():
    e = ValueError("has a lock")
    e.lock = threading.Lock()
    return e


FAILURES = {
    "value": lambda: ValueError("no", 3),
    "nothing": lambda: AssertionError(),
    "key": lambda: KeyError("k"),
    "os": lambda: FileNotFoundError(2, "no such file", "/nowhere"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "custom": lambda: Custom(7, "seven"),
    "subprocess": lambda: subprocess.CalledProcessError(3, ["cmd"], b"out", b"err"),
    "timeout": lambda: multiprocessing.TimeoutError("of the task"),
    "stop": lambda: StopIteration(5),
    "import": lambda: ImportError("no module", name="m", path="p"),
    "big": lambda: ValueError("x" * 1_000_000),
    # Those that can't be sent, or can't be received.
    "two": lambda: TwoArguments("first", "second"),
    "reduce": lambda: BadReduce("first"),
    "state": lambda: BadState("first"),
    "lock": with_lock,
    "local": lambda: type("Local", (Exception,), {})("first"),
    "base": lambda: BadBase("first"),
}


def fail(kind):
    if kind == "chained":
        chained()
    raise FAILURES[kind]()


def fail_if_odd(x):
    if x % 2:
        raise ValueError(x)
    return x


def append_and_fail_if_odd(path, x):
    append(path, x)
    return fail_if_odd(x)


def fail_at(bad, x):
    if x == bad:
        raise ValueError(x)
    return x


# Those that die.


def _exit():
    os._exit(7)


DEATHS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segv": faulthandler._sigsegv,
    "abort": os.abort,
    "_exit": lambda: os._exit(7),
    "exit": lambda: sys.exit(3),
    "exit 0": lambda: os._exit(0),
}


def die(how):
    os.write(2, b"last words\n")  # sys.stderr may be pytest's
    DEATHS[how]()


def die_at(bad, x):
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def die_until(path, times):
    """Dies in its first runs, and tells how many it took."""
    append(path, os.getpid())
    runs = len(lines(path))
    if runs <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return runs


def hang_until(path, times):
    append(path, os.getpid())
    runs = len(lines(path))
    if runs <= times:
        hang_in_python()
    return runs


def append_and_fail(path):
    append(path, os.getpid())
    raise ValueError("its own")


def hang_in_python(x=None):
    while True:
        pass


def hang_in_c(x=None):
    """Holds the interpreter's lock, so that no signal handler of Python's ever runs."""
    ctypes.PyDLL(None).sleep(1000)


def hang_at(bad, x):
    if x == bad:
        hang_in_python()
    return x


def ignore_sigterm_and_hang(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    announce_and_wait(path)


def start_child(path, how):
    """Starts a process of its own, says its number, and ends as it is told."""
    child = subprocess.Popen(["sleep", "1000"])
    append(path, child.pid)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "wait":
        time.sleep(1000)


class DiesWhenLoaded:
    def __reduce__(self):
        return _exit, ()


class FailsWhenLoaded:
    def __reduce__(self):
        return _fail_to_load, (os.getpid(),)


def _fail_to_load(home):
    """In the process that made it, it is no failure."""
    if os.getpid() != home:
        raise RuntimeError("will not load")
    return FailsWhenLoaded()


def give_what_fails_to_load():
    return FailsWhenLoaded()


class FailsWhenDumped:
    def __reduce__(self):
        raise RuntimeError("will not dump")


# Initializers.


def init_append(path):
    append(path, os.getpid())


def init_keep(*args):
    global STATE
    STATE = args


def kept(x=None):
    return STATE


def init_fail(kind="value"):
    fail(kind)


def init_die(how="kill"):
    die(how)


def init_fail_second(path):
    """Works in the first worker only."""
    append(path, os.getpid())
    if len(lines(path)) > 1:
        raise ValueError("second worker")


def use_shared(x):
    """Does something with each of the shared things that initargs brought."""
    lock, rlock, semaphore, event, condition, queue, simple, value, array, end, mapping, listing = STATE
    with lock, rlock, rlock:
        value.value += 1
    with semaphore, condition:
        array[x] += x
        condition.notify_all()
    queue.put(("queue", x))
    simple.put(("simple", x))
    end.send_bytes(b"%d" % x)
    mapping[x] = x * x
    listing.append(x)
    return event.is_set()


# For the state that the initializer returns.


def make_state(tag):
    return {"tag": tag, "seen": 0, "pid": os.getpid()}


def make_socket():
    """State that no pickle takes."""
    return socket.socketpair(), threading.Lock()


def bump(x=None, initret=None):
    initret["seen"] += 1
    return x, initret["tag"], initret["seen"], initret["pid"] == os.getpid()


def bump2(a, b, initret=None):
    return a + b, initret["tag"]


def keyword(x, *, y=0, initret):
    return x + y, initret["tag"]


def got(initret="unset"):
    return initret


def type_of(x=None, initret="unset"):
    return type(initret).__name__


def any_keywords(*args, **kwds):
    return args, sorted(kwds)


class Stateful:
    def __init__(self, n):
        self.n = n

    def method(self, x, initret):
        return x + self.n, initret["tag"]


# What a worker is.


def identity(x=None):
    process = multiprocessing.current_process()
    return {
        "name": process.name.rpartition("-")[0],
        "parent": multiprocessing.parent_process().pid,
        "authkey": bytes(process.authkey),
        "stdin": sys.stdin.read(),
        "cwd": os.getcwd(),
        "main thread": threading.current_thread() is threading.main_thread(),
    }


def add_pid(a, b):
    return os.getpid()


def put(names, queue, i):
    names[i] = i
    queue.put(i)


def die_with_state(initret):
    os.kill(os.getpid(), signal.SIGKILL)


def append_and_hang(path, x):
    append(path, os.getpid())
    hang_in_python()


def nap(seconds):
    time.sleep(seconds)
    return seconds


def append_and_hang_at(path, bad, x):
    append(path, x)
    return hang_at(bad, x)


def die_once(path):
    return die_until(path, 1)


def use_memory(size):
    """Pages that are written, not only asked for."""
    return len(bytearray(b"x") * size)


# For payloads.


class Buffered:
    """Gives its buffer out of band, as arrays do."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Buffered, (pickle.PickleBuffer(self.data) if protocol >= 5 else self.data,)


class Logged:
    """Notes in a file where it is pickled and unpickled."""

    def __init__(self, path, name, weight=b""):
        self.path, self.name, self.weight = path, name, weight

    def __getstate__(self):
        append(self.path, f"dump:{self.name}:{os.getpid()}")
        return self.__dict__.copy()

    def __setstate__(self, state):
        self.__dict__.update(state)
        append(self.path, f"load:{self.name}:{os.getpid()}")

    def __call__(self, x):
        return x + 1

    def method(self, x):
        return x + 1


def add_to(thing, x):
    return thing(x)


def call(function, x):
    return function(x)


def is_own(function):
    return function is is_own


def flags(array):
    return array.flags.writeable


def increment(array, buffer):
    array += 1
    buffer[0] += 1
    return float(array[-1]), buffer[0]


def are_same(a, b):
    return a is b


def twice(n):
    array = ones(n)
    return array, array


def zeros(n):
    return bytes(n)


def ones(n):
    import numpy

    return numpy.ones(n)


def seeded(i):
    import numpy

    return numpy.random.default_rng(i).standard_normal(5_000 + i)


def first_and_last(array):
    return array[0], array[-1]


def keep(value):
    global STATE
    STATE = value
    return kept_digest()


def kept_digest():
    return hashlib.sha256(STATE).hexdigest()
