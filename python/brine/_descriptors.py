"""Descriptors that must not leak into processes which this one forks.

Every descriptor of the package is in one table. A child that is forked, by whom ever, closes them all but those that it was
forked for: were it to keep the writing end of somebody's pipe, the pipe would have no end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable

lock = threading.RLock()  # held while descriptors are received or made and not in the table yet, and during a fork
_owned: set[int] = set()
_spared = threading.local()
_after: list[Callable[[], None]] = []


def own(fds: Iterable[int]) -> None:
    """Put descriptors into the table."""
    with lock:
        _owned.update(fds)


def close(*fds: int) -> None:
    """Close descriptors of the table and take them out. Those that are not in it are left alone."""
    with lock:
        for fd in fds:
            if fd in _owned:
                _owned.discard(fd)
                os.close(fd)


def spare(fds: Iterable[int]) -> None:
    """Say what a child that this thread forks next keeps; nothing, to end that."""
    _spared.fds = frozenset(fds)


def after_fork(call: Callable[[], None]) -> None:
    """Have something called in every forked child, after its descriptors were closed."""
    _after.append(call)


def _before() -> None:
    lock.acquire()


def _in_parent() -> None:
    lock.release()


def _in_child() -> None:
    global lock
    lock = threading.RLock()
    spared: frozenset[int] = getattr(_spared, "fds", frozenset())
    for fd in _owned:
        if fd not in spared:
            try:
                os.close(fd)
            except OSError:
                pass
    _owned.clear()
    for call in _after:
        call()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
