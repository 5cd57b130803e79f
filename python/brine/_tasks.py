"""Runs the tasks of chunks: from items of a frame to results in the outbox.

This module knows payloads, modes and statuses, and how to spend little on each of many tiny tasks. It doesn't know where
chunks come from.
"""

from __future__ import annotations

import os
import pickle
import struct
import time
from functools import partial
from itertools import starmap
from typing import Any, Callable, Optional

from . import _faults as faults
from . import _payload as payload
from . import _wire as wire
from ._lent import Lent
from ._limit import Limit
from ._outbox import CURRENT, JOURNAL_SIZE, STARTED, Outbox
from ._pickle import Dumper, Payload
from ._stored import detach
from ._wire import ProtocolError

SMALL = 4096
"""Results of more bytes go through the arena, if it has room."""
_CHEAP = 10_000  # nanoseconds of a task below which only some are timed
_EVERY = 64  # how many cheap tasks there are to a timed one
_FUNCTIONS = 256  # functions that are kept by the bytes of their names
_ROOM = JOURNAL_SIZE - SMALL
_ERRED = wire.TASK_ERROR << wire.STATUS_SHIFT
_NAMED = 1

_head = struct.Struct("<QB")  # the word of an item and the form of its payload
_single = struct.Struct("<BI")
_lane = struct.Struct("<QBI")  # a word and the head of a task without bound arguments
_loads = pickle.loads
_now = time.monotonic_ns

_FUNCTION = "loading the function"
_ARGUMENT = "loading the argument"


class Bound:
    """A mode and a function, sent once, which is loaded when the first task needs it."""

    def __init__(self, body: bytes) -> None:
        if not body or not wire.MODE_CALL <= body[0] <= wire.MODE_OUTCOMES:
            raise ProtocolError("bound arguments of no mode that there is")
        self.mode = body[0]
        self.body: Optional[bytes] = body
        self.call: Any = None
        self.fault: Optional[bytes] = None  # the encoded error, if it could not be loaded


class Tasks:
    """Runs tasks and publishes their results.

    Attributes:
        attention: not empty when something else than running tasks is to be done, soon.
        cancelled: id of the chunk whose tasks are not to be begun any more.
        initret: what the initializer returned, as keywords for functions.
    """

    def __init__(self, out: Outbox, lent: Lent, arguments: int, arena: int) -> None:
        self.out = out
        self.attention = out.attention
        self.cancelled = 0
        self.initret: dict[str, Any] = {}
        self._lent = lent
        self._arguments = arguments
        self._arguments_size = os.fstat(arguments).st_size
        self._arena = arena
        self._arena_size = os.fstat(arena).st_size if arena >= 0 else 0
        self._limit = Limit(out)
        self._functions: dict[bytes, Any] = {}
        self._dumper = Dumper()
        self._mappings: list[Any] = []  # of the running task's arguments
        self._mark = 0  # the end of what is accounted for
        self._bound_ns = 0  # spent on loading functions, not yet accounted for
        self._run_ns = 0  # what the last timed task took

    def item(self, view: memoryview, off: int) -> tuple[Any, int]:
        """Return the body of an argument item and the offset behind the item."""
        word, off = wire.take_u64(view, off)
        n = word & wire.LENGTH_MASK
        if word >> wire.STATUS_SHIFT:
            raise ProtocolError("an argument with a status")
        if not word & wire.IN_ARENA:
            return wire.take(view, off, n)
        raw, end = wire.take(view, off, wire.PLACE.size)
        at, _, _ = wire.PLACE.unpack(raw)
        if n == 0 or at > self._arguments_size or n > self._arguments_size - at:
            raise ProtocolError(f"an argument of {n} bytes at {at} of {self._arguments_size}")
        body = bytearray(n)
        rest = memoryview(body)
        while rest:
            got = os.preadv(self._arguments, [rest], at)
            if not got:
                raise ProtocolError("shared memory ends before its size")
            rest = rest[got:]
            at += got
        return memoryview(body), end

    def load(self, body: Any, mapped: bool = False) -> Any:
        """Return the object of a payload. With mapped, what stays in its place is noted in the running task's mappings."""
        mappings = self._mappings if mapped else None
        return payload.load(body, self._arena, self._arena_size, None, mappings, mapped)

    def load_kept(self, body: Any) -> Any:
        """Return the object of a payload whose place in the arena stays as it is for as long as this process lives."""
        return payload.load(body, self._arena, self._arena_size)

    def run(self, view: memoryview, chunk: int, count: int, timeout: int, bound: Optional[Bound]) -> None:
        """Run the tasks of a chunk, whose items are at the beginning of view."""
        out = self.out
        if count == 0:
            return
        if bound is not None and bound.body is not None:
            self._load_bound(bound)
        out.begin(chunk)
        self._mark = _now()
        i = off = 0
        fast = bound is not None and bound.fault is None and bound.mode <= wire.MODE_STAR and not timeout
        last = count - 1
        while i < count:
            if self.attention:
                self._attend()
                if self.cancelled == chunk:
                    self._skip(view, off, chunk, i, count)
                    break
            if fast and 0 < i < last and self._run_ns < _CHEAP:
                i, off = self._stretch(view, off, chunk, i, min(i + _EVERY - 1, last), bound)
                out.arm()  # the next task may be a long one
                if self.attention:
                    continue
            off = self._one(view, off, chunk, i, timeout, bound)
            i += 1
            if i < count:
                if _now() >= out.due:
                    out.flush()
                else:
                    out.arm()
        else:
            if off != len(view):
                raise ProtocolError(f"{len(view) - off} bytes behind the tasks of chunk {chunk}")
        out.end()

    def run_single(self, view: memoryview, chunk: int) -> bool:
        """Run a chunk of one task without bound arguments and write its result. Return False if run has to do it.

        This is what a caller waits for who calls a function and needs its result: run takes half as long again.
        """
        out = self.out
        size = len(view)
        if size < _lane.size or out.frame or self.initret:
            return False
        word, _, at = _lane.unpack_from(view)
        at += _lane.size
        if word + 8 != size or at >= size or view[at]:
            return False
        call = self._functions.get(bytes(view[_lane.size : at]))
        if call is None:
            return False
        start = _now()
        try:
            args, kwds = _loads(view[at + 1 :])
        except Exception:
            return False  # and again, out of the ordinary
        words = out.words
        words[CURRENT] = chunk
        loaded = _now()
        token = out.token
        token.append(False)
        try:
            result = call(*args, **kwds)
        except Exception as e:
            out.take_up()
            args = kwds = None
            self._fail(chunk, 0, e)
            out.end()
            return True
        try:
            token.pop()
        except IndexError:
            out.rejoin()
        ran = _now()
        args = kwds = None
        dumper = self._dumper
        parts = dumper.parts
        ready: Optional[Payload] = None
        try:
            dumper.dump(result)
        except Exception:
            self._renew()
        else:
            dumper.clear()
            data = parts.pop()
            if not parts and not dumper.buffers and len(data) < SMALL:
                out.publish_alone(chunk, data, ran - loaded, loaded - start, _now() - ran)
                return True
            ready = Payload([*parts, data], dumper.buffers[:])
            self._renew()
        word, body = self._encode(result, ready)
        result = ready = None
        self._answer(chunk, 0, word, body)
        out.end()
        return True

    def _attend(self) -> None:
        """Give another thread its turn."""
        while self.attention:
            self.attention.pop()
        self.out.put_down()
        time.sleep(0)
        self.out.take_up()

    def _skip(self, view: memoryview, off: int, chunk: int, i: int, count: int) -> None:
        while i < count:
            _, off = self.item(view, off)
            self.out.publish(chunk, i, wire.CANCELLED << wire.STATUS_SHIFT, b"")
            i += 1

    def _load_bound(self, bound: Bound) -> None:
        start = _now()
        body, bound.body = bound.body, None
        assert body is not None
        try:
            bound.call = self._with_initret(self.load(memoryview(body)[1:]))
        except Exception as e:
            bound.fault = faults.encode(e, _FUNCTION, wire.FUNCTION_NOT_LOADED)
        self._bound_ns += _now() - start

    def _with_initret(self, call: Any) -> Any:
        return partial(call, **self.initret) if self.initret else call

    def _stretch(self, view: memoryview, off: int, chunk: int, i: int, stop: int, bound: Any) -> tuple[int, int]:
        """Run tasks from the i-th to the one before stop, or before one that is out of the ordinary.

        This is what each of many tiny tasks costs, hence the local names, and the repetitions of Outbox.publish.
        """
        out = self.out
        out.open(chunk, i)
        pos, count, frame = out.pos, out.count, out.frame
        memory, words, attention = out.memory, out.words, self.attention
        put_down, take_up = out.token.append, out.token.pop
        dumper = self._dumper
        dump, clear, parts, buffers = dumper.dump, dumper.clear, dumper.parts, dumper.buffers
        take_part = parts.pop
        loads, unpack, pack = _loads, _head.unpack_from, _head.pack_into
        call, mode = bound.call, bound.mode
        size = len(view) - 8
        x = y = None
        while i < stop and not attention:
            if off >= size:
                break
            n, form = unpack(view, off)
            end = off + 8 + n
            if form or not n or end > size + 8:
                break
            try:
                x = loads(view[off + 9 : end])
            except Exception:
                break  # and again, out of the ordinary
            off = end
            put_down(False)
            try:
                if mode == 2:
                    y = call(x)
                elif mode == 3:
                    y = call(*x)
                else:
                    args, kwds = x
                    y = call(*args, **kwds)
            except Exception as e:
                if not out.take_up():
                    out.pos, out.count = pos, count
                x = y = args = kwds = None
                self._fail(chunk, i, e)
                out.open(chunk, i + 1)
                pos, count, frame = out.pos, out.count, out.frame
                i += 1
                continue
            try:
                written = take_up()
            except IndexError:
                written = out.rejoin()
            if written:
                out.open(chunk, i)
                pos, count, frame = out.pos, out.count, out.frame
            try:
                dump(y)
            except Exception:
                ready = None
            else:
                clear()
                data = take_part()
                n = len(data)
                if not parts and not buffers and n < SMALL and pos < _ROOM - n:
                    pack(memory, pos, n + 1, 0)
                    at = pos + 9
                    pos = at + n
                    memory[at:pos] = data
                    count += 1
                    words[frame >> 3] = count << 32 | (((pos + 7) & -8) - frame - 32)
                    i += 1
                    continue
                ready = Payload([*parts, data], buffers[:])
            out.pos, out.count = pos, count
            self._renew()
            n, data = self._encode(y, ready)
            y = ready = None
            out.publish(chunk, i, n, data)
            out.open(chunk, i + 1)
            pos, count, frame = out.pos, out.count, out.frame
            dumper = self._dumper
            dump, clear, parts, buffers = dumper.dump, dumper.clear, dumper.parts, dumper.buffers
            take_part = parts.pop
            i += 1
        out.pos, out.count = pos, count
        return i, off

    def _renew(self) -> None:
        """Use another pickler, for the last one failed, or holds the memory of something large."""
        self._dumper = Dumper()

    def _one(self, view: memoryview, off: int, chunk: int, i: int, timeout: int, bound: Optional[Bound]) -> int:
        """Run the i-th task, whatever it is. Return the offset behind its item."""
        out = self.out
        start = _now()
        body, off = self.item(view, off)
        if bound is not None and bound.fault is not None:
            self._answer(chunk, i, _ERRED | len(bound.fault), bound.fault)
            self._account(start, start, start)
            return off
        error: Optional[BaseException] = None
        x: Any = None
        call: Any = None
        try:
            if bound is None:
                mode = wire.MODE_CALL
                call, x = self._load_single(body)
            else:
                mode, call = bound.mode, bound.call
                x = self.load(body, True)
        except _NotLoaded as e:
            self._answer(chunk, i, _ERRED | len(e.body), e.body)
            self._account(start, start, start)
            return off
        except Exception as e:
            self._fail(chunk, i, e, _ARGUMENT)
            self._account(start, start, start)
            return off
        loaded = _now()
        if timeout:
            out.words[STARTED] = loaded
            self._limit.start(chunk, i, loaded + timeout)
        out.put_down()
        result: Any = None
        try:
            if mode == wire.MODE_CALL:
                args, kwds = x
                if bound is None and self.initret:
                    kwds = {**self.initret, **kwds}
                result = call(*args, **kwds)
            elif mode == wire.MODE_ITEM:
                result = call(x)
            elif mode == wire.MODE_STAR:
                result = call(*x)
            elif mode == wire.MODE_LIST:
                result = list(map(call, x))
            elif mode == wire.MODE_STAR_LIST:
                result = list(starmap(call, x))
            else:
                result = _outcomes(call, x)
        except Exception as e:
            error = e
        out.take_up()
        ran = _now()
        x = call = args = kwds = None
        freed = _now()  # what it takes to free the argument is the task's, and not its result's
        status = _ERRED if error is not None else 0
        if timeout:
            self._limit.stop()
            if ran - loaded >= timeout:
                status, result = wire.EXPIRED << wire.STATUS_SHIFT, None
        if error is not None:
            data = faults.encode(error)
            error, word = None, status | len(data)
        elif status:
            word, data = status, b""
        else:
            ready: Optional[Payload] = None
            try:
                ready = payload.dump(result, by_value=None)
            except Exception:
                if mode == wire.MODE_OUTCOMES:
                    result = _sendable_outcomes(result)
            word, data = self._encode(result, ready)
            result = ready = None
        self._answer(chunk, i, word, data)
        self._account(start, loaded, freed)
        return off

    def _load_single(self, body: Any) -> tuple[Any, Any]:
        """Return the function and (args, kwds) of a task without bound arguments."""
        if len(body) < _single.size:
            raise ProtocolError(f"a task of {len(body)} bytes")
        flags, n = _single.unpack_from(body)
        at = _single.size + n
        if at > len(body):
            raise ProtocolError(f"a function of {n} bytes in {len(body)}")
        name = bytes(body[_single.size : at])
        call = self._functions.get(name)
        if call is None:
            try:
                call = self.load(name)
            except Exception as e:
                raise _NotLoaded(faults.encode(e, _FUNCTION, wire.FUNCTION_NOT_LOADED)) from None
            if flags & _NAMED:
                if len(self._functions) >= _FUNCTIONS:
                    self._functions.clear()
                self._functions[name] = call
        if at < len(body) and body[at] == payload.PLAIN:
            return call, _loads(body[at + 1 :])
        return call, self.load(body[at:], True)

    def _encode(self, result: Any, ready: Optional[Payload]) -> tuple[int, bytes]:
        """Return the word and the rest of the item of what a task returned.

        ready is its pickle, or None if there is none because the first attempt failed.
        """
        try:
            if ready is None:
                ready = payload.dump(result, by_value=None)
            if ready.size >= SMALL:
                place = self._lent.store(ready)
                if place is not None:
                    return place[0] | wire.IN_ARENA, place[1]
                if ready.size > wire.MAX_PAYLOAD - 1024:
                    raise ValueError(
                        f"brine: {ready.size} bytes are too many for a pipe, and there is no room in memory"
                    )
            body = payload.inline(ready)
        except Exception as e:
            body = faults.encode(faults.unsendable_result(e, result))
            return _ERRED | len(body), body
        return len(body), body

    def _fail(self, chunk: int, i: int, error: BaseException, doing: str = "") -> None:
        body = faults.encode(error, doing)
        del error
        self._answer(chunk, i, _ERRED | len(body), body)

    def _answer(self, chunk: int, i: int, word: int, body: bytes) -> None:
        if self._mappings:
            detach(self._mappings)  # before the place can be used again
        self.out.publish(chunk, i, word, body)

    def _account(self, start: int, loaded: int, ran: int) -> None:
        """Account for all the time since the last account, in the proportions of the last task: others were not timed."""
        end = _now()
        self._run_ns = ran - loaded
        span, whole = end - self._mark, end - start or 1
        decode, encode = span * (loaded - start) // whole, span * (end - ran) // whole
        run = span - decode - encode
        self._mark = end
        if self.out.frame:
            self.out.account(run, decode, encode, self._bound_ns)
            self._bound_ns = 0


class _NotLoaded(Exception):
    """A function that could not be loaded, with the encoded error."""

    def __init__(self, body: bytes) -> None:
        self.body = body


def _outcomes(call: Callable[[Any], Any], items: Any) -> list[tuple[bool, Any]]:
    """Call a function with each item, and return what became of each call."""
    found: list[tuple[bool, Any]] = []
    append = found.append
    for item in items:
        try:
            append((True, call(item)))
        except Exception as e:
            append((False, _outcome(e)))
    return found


def _outcome(e: BaseException) -> tuple[Any, str]:
    """Return an exception, or its text if it can't be sent, and its traceback."""
    trace = faults.text(e)
    if e.__class__.__module__ != "builtins" and faults.sendable(e, e.__class__) is None:
        return f"{wire.type_name(e.__class__)}: {wire.describe(e)}", trace
    return e, trace


def _sendable_outcomes(found: list[tuple[bool, Any]]) -> list[tuple[bool, Any]]:
    """Return outcomes where what can't be pickled has become an error of its own."""
    sendable = []
    for ok, value in found:
        try:
            payload.dump(value, by_value=None)
        except Exception as e:
            if ok:
                value = faults.unsendable_result(e, value)
                sendable.append((False, (value, faults.text(value))))
            else:
                sendable.append((False, (faults.unsendable_result(e, value[0]), value[1])))
        else:
            sendable.append((ok, value))
    return sendable
