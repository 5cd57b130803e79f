"""Time limits of tasks: at the moment when one is over, where the task is goes to the pool as a stuck frame.

This module knows clocks and stacks. What is done about a stuck task, the pool knows.
"""

from __future__ import annotations

import _thread
import os
import sys
import time
from typing import Any

from . import _wire as wire
from ._outbox import Outbox

_MOST = 64 << 10


class Limit:
    """The time limit of one task after the other.

    A thread sleeps until the first deadline that it has heard of, and looks then what the deadline is now: so it need not
    be woken for each task.
    """

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._main = _thread.get_ident()
        self._task = (0, 0, 0)  # chunk, index and deadline; a deadline of 0 is none
        self._until = 0  # when the thread wakes up, 0 for not by itself
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._started = False

    def start(self, chunk: int, index: int, deadline: int) -> None:
        """Begin a task's time, which is over at deadline on the clock of time.monotonic_ns."""
        self._task = (chunk, index, deadline)
        until = self._until
        if 0 < until <= deadline:
            return
        if not self._started:
            self._started = True
            self._until = deadline
            _thread.start_new_thread(self._watch, ())
            return
        self._until = deadline
        try:
            self._wake.release()
        except RuntimeError:
            pass  # it is awake

    def stop(self) -> None:
        """End the task's time."""
        self._task = (0, 0, 0)

    def _watch(self) -> None:
        while True:
            deadline = self._task[2]
            self._until = deadline
            if not deadline:
                if not self._task[2]:  # set since, it would have been seen that we wake up
                    self._wake.acquire()
                continue
            left = deadline - time.monotonic_ns()
            if left > 0:
                self._wake.acquire(timeout=left / 1e9)
                continue
            task = self._task
            if task[2] == deadline:
                self._report(task)
                if self._task is task:
                    self._task = (0, 0, 0)

    def _report(self, task: tuple[int, int, int]) -> None:
        out = self._out
        while self._task is task:
            if not out.claim():
                time.sleep(0.0002)  # the task is about to begin, or has just ended
                continue
            try:
                if self._task is task:
                    stacks = stacks_of(self._main).encode("utf-8", "backslashreplace")[:_MOST]
                    out.write(wire.frame(wire.STUCK, stacks, chunk=task[0], first=task[1]))
            except OSError:
                pass  # the pipe is broken, as the owner will find
            finally:
                out.release()
            return


_HERE = os.path.dirname(os.path.abspath(__file__))


def stacks_of(first: int) -> str:
    """Return the stacks of all threads as text, that of the thread first before the others."""
    import threading
    import traceback

    frames: dict[int, Any] = dict(sys._current_frames())
    names = {t.ident: t.name for t in threading.enumerate()}
    me = _thread.get_ident()
    parts = []
    for ident in sorted(frames, key=lambda i: i != first):
        if ident == me or (ident not in names and ident != first):
            continue
        if ident == first:
            # What the task does, and not how it came to run.
            own = [f for f, _ in traceback.walk_stack(frames[ident])]
            ours = next((i for i, f in enumerate(own) if os.path.dirname(f.f_code.co_filename) == _HERE), len(own))
            stack = traceback.StackSummary.extract((f, f.f_lineno) for f in reversed(own[:ours]))
            parts.append("Task (most recent call last):\n")
            parts += stack.format()
        else:
            parts.append(f"Thread {names.get(ident, ident)} (most recent call last):\n")
            parts += traceback.format_stack(frames[ident])
        parts.append("\n")
    return "".join(parts)
