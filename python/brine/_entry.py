"""Where a worker's process begins: what is pickled for it, and loaded in it, names these.

A fresh interpreter imports this and what a worker needs, and nothing of the client.
"""

from __future__ import annotations

import array
from multiprocessing import context, reduction
from typing import Any


class Inherited:
    """The worker's descriptors, as an argument of its process.

    With fork they are inherited under their numbers. With spawn and forkserver, pickling this, which happens while the
    process is being started, passes them on.
    """

    def __init__(self, **fds: int) -> None:
        self.fds = fds

    def __getstate__(self) -> dict[str, Any]:
        context.assert_spawning(self)
        return {name: reduction.DupFd(fd) for name, fd in self.fds.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.fds = {name: fd.detach() for name, fd in state.items()}


def fill(typecode: str, data: Any) -> array.array[Any]:
    """Return the array that was sent as a buffer, which is copied once less than the bytes of the array's own pickle."""
    filled = array.array(typecode)
    filled.frombytes(data)
    return filled


_handed: dict[int, Any] = {}  # in a worker: arguments of the initializer that came with the process, by position


def initialize(initializer: Any, initargs: tuple[Any, ...]) -> Any:
    """Call an initializer of which some arguments came with the process."""
    args = list(initargs)
    for i, arg in _handed.items():
        args[i] = arg
    return initializer(*args)


def run(inherited: Inherited, handed: Any, expect_initret: bool, depth: int) -> None:
    """Be a worker: the target of its process."""
    from . import _worker

    initializer, initargs = None, ()
    if isinstance(handed, dict):
        _handed.update(handed)
    elif handed is not None:
        initializer, initargs = handed
    _worker.main(inherited, initializer=initializer, initargs=initargs, expect_initret=expect_initret, depth=depth)
