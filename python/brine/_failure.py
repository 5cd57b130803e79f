"""How a task ended without a result, as the engine tells it, and the exception that this becomes."""

from __future__ import annotations

import multiprocessing
import pickle
import struct
from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]
from typing import Any, NamedTuple, Optional

from . import _wire as wire
from .errors import CancelledError, CrashError, PoolClosedError, TaskTimeoutError, exit_text

ERRED = 0
CRASHED = 3
TIMED_OUT = 4
CANCELLED = 5
UNSENT = 6
UNREAD = 7
REFUSED = 8
NONE = 255  # of a pool that could be opened

_STDERR_LINES = 20  # in the text of an exception; its attribute has all that was kept


class Failure(NamedTuple):
    """What a failed frame says."""

    cause: int
    attempt: int
    message: bytes  # an encoded error if the cause is ERRED
    stack: str
    workers: tuple[int, ...]  # that the task ended

    @classmethod
    def parse(cls, view: Any) -> Failure:
        """Read the payload of a failed frame."""
        if len(view) < 5:
            raise wire.ProtocolError("a failed frame is too short")
        cause, attempt = struct.unpack_from("<BI", view)
        message, at = wire.take_bytes(view, 5)
        stack, at = wire.take_text(view, at)
        count, at = wire.take_u32(view, at)
        numbers, _ = wire.take(view, at, 4 * count)
        return cls(cause, attempt, message, stack, struct.unpack(f"<{count}I", numbers))


class RemoteError(multiprocessing.ProcessError):
    """A task raised an exception that can't be brought here: the text says which, and why not.

    Attributes:
        type: qualified name of the exception's class.
        message: its text.
    """

    def __init__(self, type: str, message: str, why: str) -> None:
        super().__init__(type, message, why)
        self.type, self.message, self.why = type, message, why

    def __str__(self) -> str:
        return f"{self.type}: {self.message} (the exception itself could not be brought here: {self.why})"


class LoadFailure(Exception):
    """The worker could not load the function. No user sees it: the function is sent by value, or the cause raised."""


def caused(exc: BaseException, trace: str) -> BaseException:
    """Return the exception with its traceback in the worker as its cause."""
    exc.__cause__ = RemoteTraceback(f'\n"""\n{trace}"""')
    return exc


def remote_exception(body: Any) -> BaseException:
    """Return the exception that an encoded error stands for."""
    kind, message, concrete = wire.decode_error(body)
    exc: Optional[BaseException] = None
    trace, why = "", "it can't be pickled and loaded again"
    if concrete is not None:
        try:
            exc, trace = pickle.loads(concrete)
        except Exception as err:
            why = f"loading it raised {type(err).__name__}: {err}"
    if kind == wire.FUNCTION_NOT_LOADED:
        failure = LoadFailure()
        failure.__cause__ = exc
        return failure
    if not isinstance(exc, BaseException):
        exc = RemoteError(kind, message, why)
    return caused(exc, trace) if trace else exc


def exception(name: str, failure: Failure, workers: dict[int, Any], timeout: float) -> BaseException:
    """Return the exception of a task of the function of that name. workers are those that have been."""
    cause = failure.cause
    if cause == ERRED:
        return remote_exception(failure.message)
    message = failure.message.decode("utf-8", "replace")
    dead = [workers[n] for n in failure.workers if n in workers]
    if cause == TIMED_OUT:
        text = f"brine: {name} took longer than its {timeout:g} s and was ended with its worker"
        stack = failure.stack or (dead[-1].report if dead else "")
        if stack:
            text += "\nIt was here:\n" + stack.rstrip()
        return TaskTimeoutError(text, stack=stack, function=name, timeout=timeout, attempt=failure.attempt)
    if cause == CANCELLED:
        return CancelledError(f"brine: {name} was cancelled")
    if cause == REFUSED:
        return PoolClosedError(f"brine: {name} was not finished: {message or 'the pool was terminated'}")
    if cause == CRASHED and dead:
        return crash(name, dead[-1], failure.attempt)
    return CrashError(f"brine: {name} failed: {message}", function=name, attempt=failure.attempt)


def crash(name: str, worker: Any, attempt: int = 1) -> CrashError:
    """Return the exception of a task that its worker died with."""
    text = f"brine: the worker (process {worker.pid}) that ran {name} {exit_text(worker.exitcode)}"
    if attempt > 1:
        text += f", in attempt {attempt}"
    if worker.reason:
        text += f"; it was ended because {worker.reason}"
    if worker.report.strip():
        text += "\nIts last words:\n" + worker.report.rstrip()
    if worker.stderr.strip():
        lines = worker.stderr.rstrip().splitlines()[-_STDERR_LINES:]
        text += "\nThe end of its standard error:\n" + "\n".join(lines)
    return CrashError(
        text,
        pid=worker.pid,
        exitcode=worker.exitcode,
        stderr=worker.stderr,
        report=worker.report,
        function=name,
        attempt=attempt,
    )
