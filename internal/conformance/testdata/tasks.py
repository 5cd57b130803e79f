"""What the suite's Python workers run: the verbs of registry_test.go, on bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib

PATTERN = bytes(range(251)) * 300
counter = -1


def begin(what: bytes) -> None:
    """The initializer."""
    global counter
    verb, _, rest = what.partition(b" ")
    if verb == b"fail":
        raise ValueError(rest.decode())
    if verb == b"count":
        counter = os.open(rest, os.O_WRONLY)


def do(x: bytes) -> bytes:
    """Do what an argument says."""
    verb, _, what = x.partition(b" ")
    return VERBS[verb](what)


def marked(mark: bytes, x: bytes) -> bytes:
    """The same, and put a mark before its result."""
    return mark + do(x)


def error(what: bytes) -> bytes:
    """Raise an error of this text."""
    raise ValueError(what.decode())


def leave(what: bytes) -> bytes:
    """End the process with this status."""
    sys.exit(int(what))


def kill(what: bytes) -> bytes:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def hold(gate: bytes) -> bytes:
    """Wait at a gate until it is opened."""
    with open(gate, "rb") as f:
        return f.read()


def late(what: bytes) -> bytes:
    """Fail when a gate was opened."""
    hold(what)
    raise ValueError("late")


def spin(what: bytes) -> bytes:
    """Never end, nor wait."""
    while True:
        pass


def child(what: bytes) -> bytes:
    """Start a process and leave it behind."""
    null = subprocess.DEVNULL
    return b"%d" % subprocess.Popen(["sleep", "1000"], stdin=null, stdout=null, stderr=null).pid


def shell(what: bytes) -> bytes:
    """Return what a script prints."""
    return subprocess.run(["sh", "-c", what], stdout=subprocess.PIPE, check=True).stdout


def large(what: bytes) -> bytes:
    """Return so many bytes with a number before a pattern."""
    number, size = map(int, what.split())
    head = b"%08d" % number
    return head + (PATTERN * (size // len(PATTERN) + 1))[: size - len(head)]


def size(what: bytes) -> bytes:
    """Return what an argument is known by."""
    return b"%d %d" % (len(what), zlib.crc32(what))


def tick(what: bytes) -> bytes:
    """Return what the number stands for, and count it."""
    n = int(what)
    result = large(b"%d %d" % (n, 10_000 if n % 7 == 6 else 8 + n % 9))
    os.pwrite(counter, (n + 1).to_bytes(8, "little"), 0)
    return result


VERBS = {
    b"echo": lambda what: what,
    b"error": error,
    b"exit": leave,
    b"kill": kill,
    b"hold": hold,
    b"late": late,
    b"spin": spin,
    b"child": child,
    b"shell": shell,
    b"large": large,
    b"size": size,
    b"tick": tick,
}
