"""Where in the program something is pickled, what it is called, and whether it is the same object as before."""

from __future__ import annotations

import os
import sys
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from weakref import ref

TYPE_CHECKING = False  # typing would be most of the start-up
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Optional

STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
PACKAGES = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
OWN, LIBRARY, MACHINERY, HIDDEN = range(4)  # files: the user's, of packages, of multiprocessing, and what is in neither

_files: dict[str, tuple[int, str]] = {}  # what each is, and its absolute path


def _classify(name: str) -> tuple[int, str]:
    if name.startswith("<"):
        return (OWN if name in ("<stdin>", "<string>") else HIDDEN), name
    path = os.path.abspath(name)
    if any(p in path for p in PACKAGES):
        return LIBRARY, path
    if path.startswith((STANDARD + "multiprocessing" + os.sep, STANDARD + "concurrent" + os.sep)):
        return MACHINERY, path
    if path.startswith((STANDARD, HERE)):
        return HIDDEN, path
    return OWN, path


def where(frame: Optional[FrameType], roles: dict[str, int]) -> tuple[str, int, Optional[FrameType]]:
    """Return the place in the user's program, as file:line, that led to a frame.

    It is the innermost in a file of the user's own or, if there is none, of an installed package. A function of
    multiprocessing that is among roles comes before that: it runs in a thread, or in a worker, without a place in the
    program. Then its role is returned, which is 0 otherwise, and its frame.
    """
    library = ""
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        kind, path = _files.get(name) or _files.setdefault(name, _classify(name))
        if kind == OWN and (name != "<string>" or frame.f_globals.get("__name__") == "__main__"):  # a proxy's methods
            return f"{path}:{frame.f_lineno}", 0, None
        if kind == MACHINERY:
            role = roles.get(code.co_name)
            if role:
                return library, role, frame
        elif kind == LIBRARY and not library:
            library = f"{path}:{frame.f_lineno}"
        frame = frame.f_back
    return library, 0, None


def site() -> str:
    """Return the place in the user's program that led to the caller's caller."""
    return where(sys._getframe(2), {})[0]


def name_of(func: Any) -> str:
    """Return what a function is called, as brine.Pool does, but without running code of the user's."""
    while type(func) is partial:
        func = func.func
    if type(func) is MethodType:
        func = func.__func__
    if type(func) in (FunctionType, BuiltinFunctionType) or issubclass(type(func), type):
        return str(func.__qualname__)
    return type(func).__qualname__


# Whether an object is the one that was pickled before: its address doesn't tell, for that is used again.

_ATOMS = (int, str, float, bool, bytes, complex, type(None), FunctionType, BuiltinFunctionType, type)
_PLAIN = frozenset(_ATOMS[:7])
_MOST = 10_000  # objects that are known
_KEPT = 64  # of them, containers that are kept alive
_SMALL = 256  # parts of one
BY_ADDRESS = 1 << 63  # of a number: that it is only the object's address

_numbers: dict[int, tuple[Any, int]] = {}  # by address: a weak reference, or the container itself
_kept: list[int] = []
_last = 0


def number(obj: Any) -> int:
    """Return a number that the same object has each time, and no other has; 0 for what is not to be told apart.

    What can't be referred to weakly is kept alive if that can make no difference, because it is but a few plain values.
    The number of another container is its address, with the bit BY_ADDRESS.
    """
    global _last
    kind = type(obj)
    if kind in _ATOMS or issubclass(kind, type):
        return 0
    address = id(obj)
    known = _numbers.get(address)
    if known is not None and (known[0] is obj or (type(known[0]) is ref and known[0]() is obj)):
        return known[1]
    if kind in (list, dict, set, bytearray):
        if not _plain(obj, [_SMALL]):
            return address | BY_ADDRESS
        held = obj
        _kept.append(address)
        if len(_kept) > _KEPT:
            _numbers.pop(_kept.pop(0), None)
    else:
        try:
            held = ref(obj)
        except TypeError:
            return 0
    if len(_numbers) >= _MOST:
        _forget()
    _last += 1
    _numbers[address] = (held, _last)
    return _last


def _plain(obj: Any, budget: list[int]) -> bool:
    budget[0] -= 1
    if budget[0] < 0:
        return False
    kind = type(obj)
    if kind in _PLAIN:
        return kind not in (bytes, str) or len(obj) < 4096
    if kind is dict:
        return len(obj) <= budget[0] and all(_plain(k, budget) and _plain(v, budget) for k, v in list(obj.items()))
    if kind in (list, tuple, set):
        return len(obj) <= budget[0] and all(_plain(v, budget) for v in list(obj))
    return kind is bytearray and len(obj) < 4096


def _forget() -> None:
    for address, (held, _) in list(_numbers.items()):
        if type(held) is not ref or held() is None:
            del _numbers[address]
    if len(_numbers) >= _MOST:
        _numbers.clear()
    _kept.clear()


FUNCTION, SELF, ARGUMENT = range(3)  # what an object is in a task
_FIRST = 4  # elements of a chunk, or arguments, that are looked at


def objects_of(func: Any, arguments: Any, deep: bool) -> tuple[tuple[int, int, int, int], ...]:
    """Return the numbers of the objects in a task that could be the same in others.

    Each with what it is: the function, what that is bound to, or an argument with its index; with deep, for the arguments
    of several calls, also what is in one that is a tuple, with the index there.
    """
    found = []
    if type(func) is MethodType:
        found.append((number(func.__self__), SELF, -1, -1))
    else:
        found.append((number(func), FUNCTION, -1, -1))
    for i, argument in enumerate(arguments[:_FIRST]):
        if deep and type(argument) is tuple:
            found += [(number(a), ARGUMENT, i, j) for j, a in enumerate(argument[:_FIRST])]
        else:
            found.append((number(argument), ARGUMENT, i, -1))
    return tuple(o for o in found if o[0])
