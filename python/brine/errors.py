"""What can go wrong beside a task's own exception.

Exceptions that a task raises arrive as themselves, with the standard library's ``RemoteTraceback`` as their cause. The
classes here are for what the standard library's pool answers with a hang, or not at all.
"""

from __future__ import annotations

import builtins
import concurrent.futures
import multiprocessing
import pickle
import signal as _signal
from typing import Any, Optional

__all__ = [
    "CancelledError",
    "CrashError",
    "EngineError",
    "PoolClosedError",
    "SendError",
    "SizeWarning",
    "TaskTimeoutError",
    "TimeoutError",
]

TimeoutError = multiprocessing.TimeoutError  # what get(timeout) raises; the task goes on


class CrashError(multiprocessing.ProcessError):
    """A task's worker died with it: the task was killed, or it ended its process.

    Attributes:
        pid: process id of the worker.
        exitcode: as in ``multiprocessing.Process``: the exit status, or the signal's number as a negative; None if unknown.
        signal: the signal's number, None if there was none.
        stderr: the end of what the worker wrote to its standard error.
        report: the stacks that it left when it died of a fault, empty if it left none.
        function: name of the function that the task called.
        attempt: how often the task was begun.
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int = 0,
        exitcode: Optional[int] = None,
        stderr: str = "",
        report: str = "",
        function: str = "",
        attempt: int = 1,
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.signal = -exitcode if exitcode is not None and exitcode < 0 else None
        self.stderr = stderr
        self.report = report
        self.function = function
        self.attempt = attempt

    def __reduce__(self) -> Any:
        return _remake, (type(self), self.args, self.__dict__)


class TaskTimeoutError(multiprocessing.TimeoutError, builtins.TimeoutError):
    """A task took longer than its ``timeout=`` and was ended with its worker.

    Attributes:
        stack: where the task was when its time was up, as far as its worker could tell.
        function: name of the function that the task called.
        timeout: seconds that the task had.
        attempt: how often the task was begun.
    """

    def __init__(
        self, message: str, *, stack: str = "", function: str = "", timeout: float = 0.0, attempt: int = 1
    ) -> None:
        super().__init__(message)
        self.stack = stack
        self.function = function
        self.timeout = timeout
        self.attempt = attempt

    def __reduce__(self) -> Any:
        return _remake, (type(self), self.args, self.__dict__)


class CancelledError(concurrent.futures.CancelledError):
    """The task was cancelled with ``AsyncResult.cancel()``."""


class PoolClosedError(multiprocessing.ProcessError, ValueError):
    """The pool was terminated before the task had ended."""


class EngineError(multiprocessing.ProcessError):
    """The engine, which is a child process of this one, could not be started, or has ended."""


class SendError(pickle.PicklingError, TypeError, AttributeError):
    """What was given to a pool can't be sent to a worker; the message says what, where in it, and why."""


class SizeWarning(UserWarning):
    """Something very large is sent; see ``brine.size_warning``."""


def _remake(cls: Any, args: Any, attributes: Any) -> Any:
    exc = cls.__new__(cls, *args)
    exc.args = args
    exc.__dict__.update(attributes)
    return exc


def exit_text(exitcode: Optional[int]) -> str:
    """Say how a process ended, for a sentence that begins with what it was."""
    if exitcode is None:
        return "ended, of what isn't known"
    if exitcode < 0:
        try:
            name = _signal.Signals(-exitcode).name
        except ValueError:
            name = "signal"
        return f"was killed by {name} ({-exitcode})"
    return f"exited with status {exitcode}"
