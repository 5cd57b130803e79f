"""Functions and arguments on their way to a worker: how they are pickled, how large they are, and what can't be sent.

It knows pickles and names; it doesn't know pools, jobs or frames.
"""

from __future__ import annotations

import functools
import pickle
import struct
import sys
import threading
import types
import warnings
from typing import Any, Callable, Optional

from . import _memory as memory
from . import _payload as payload
from .errors import SendError, SizeWarning

NUMBERS = frozenset((int, float, bool, type(None)))
"""Types for which plain pickle is all there is."""

_NAMES = 256  # functions whose pickle, which is a name, is kept
_DEPTH = 6  # how far into an object the reason is looked for why it can't be sent
_PARTS = 2000  # and in how many of its parts

_by_name: dict[Any, Sent] = {}
_by_value: dict[int, Any] = {}  # functions that a worker could not find by their name
_registering = threading.Lock()
_SINGLE = struct.Struct("<BI")  # whether the function is but a name, and its length


def name_of(func: Any) -> str:
    """Return what a function is called in reports and errors."""
    while isinstance(func, functools.partial):
        func = func.func
    name = getattr(func, "__qualname__", None)
    if name is None:
        return type(func).__qualname__
    return str(name)


class Sent:
    """A function, ready to be sent.

    Attributes:
        body: a payload.
        place: where in the arena it lies, None if all of it is in the body.
        size: bytes of the pickle and its buffers.
        named: whether the pickle is but a name, which a worker may keep.
        head: what a task begins with that brings its function along; empty if the function is too large for that.
    """

    __slots__ = ("body", "head", "name", "named", "place", "size")

    def __init__(self, name: str, body: bytes, place: Optional[int], size: int, named: bool) -> None:
        self.name, self.body, self.place, self.size, self.named = name, body, place, size, named
        self.head = b""
        if place is None and len(body) <= payload.INLINE:
            self.head = _SINGLE.pack(named, len(body)) + body


def function(func: Any) -> Sent:
    """Pickle a function with all it holds. Raise SendError, or what its own methods raise."""
    known = _by_name.get(func) if type(func) is types.FunctionType else None
    if known is not None:
        return known
    name = name_of(func)
    if _by_value.get(id(func)) is func:
        return by_value(func)
    named = isinstance(func, (types.FunctionType, type)) or (
        isinstance(func, types.BuiltinFunctionType) and isinstance(func.__self__, (types.ModuleType, type(None)))
    )
    if named:
        try:
            body = b"\0" + pickle.dumps(func, 5)
        except Exception:
            named = False  # a closure, say, which goes by value
        else:
            sent = Sent(name, body, None, len(body), True)
            if type(func) is types.FunctionType:
                if len(_by_name) >= _NAMES:
                    _by_name.clear()
                _by_name[func] = sent
            return sent
    data = dump(func, lambda: f"the function {name}")
    body, place = payload.body(data, memory.arena())
    return Sent(name, body, place, data.size, False)


def by_value(func: Any) -> Sent:
    """Pickle a function by its code, which works for functions that no worker can import.

    Raises:
        ImportError: cloudpickle is not installed.
    """
    import cloudpickle

    modules = []
    for name in _modules(func):
        module = sys.modules.get(name)
        if module is not None and name != "__main__":
            modules.append(module)
    with _registering:
        registered = []
        try:
            for module in modules:
                if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                    cloudpickle.register_pickle_by_value(module)
                    registered.append(module)
            data = payload.dump(func, by_value=True)
        finally:
            for module in registered:
                cloudpickle.unregister_pickle_by_value(module)
    body, place = payload.body(data, memory.arena())
    _by_name.pop(func, None)
    if len(_by_value) >= _NAMES:
        _by_value.clear()
    _by_value[id(func)] = func
    return Sent(name_of(func), body, place, data.size, False)


def _modules(func: Any) -> set[str]:
    """Return the names of the modules whose functions a function is made of."""
    found: set[str] = set()
    waiting: list[Any] = [func]
    seen: set[int] = set()
    while waiting and len(seen) < _PARTS:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, functools.partial):
            waiting += [part.func, *part.args, *part.keywords.values()]
        elif isinstance(part, types.MethodType):
            waiting += [part.__func__, type(part.__self__)]
        elif isinstance(part, (types.FunctionType, type)):
            if part.__module__ and not _is_library(part.__module__):
                found.add(part.__module__)
        elif callable(part):
            waiting.append(type(part))
    return found


def _is_library(name: str) -> bool:
    """Say whether a module is the standard library's, whose code needs no sending."""
    root = name.partition(".")[0]
    names = getattr(sys, "stdlib_module_names", sys.builtin_module_names)
    return root != "__main__" and (root in names or root == "builtins")


def dump(obj: Any, what: Callable[[], str], names: tuple[str, ...] = ()) -> Any:
    """Pickle an object. what says what it is, for the text of an error, and names what its elements are called."""
    try:
        data = payload.dump(obj)
    except SendError:
        raise
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as err:
        path, part, why = unsendable(obj, err)
        for i, name in enumerate(names):
            if path.startswith(f"[{i}]"):
                path = name + path[len(f"[{i}]") :]
        where = f" at {path}, which is {_kind_of(part)}" if path else ""
        raise SendError(f"brine: {what()} can't be sent{where}: {why}") from err
    warn_if_large(obj, what, data.size)
    return data


_ADVICE = "what does not change is best given to the workers once, by initargs"


def warn_if_large(obj: Any, what: Callable[[], str], size: int, advice: str = _ADVICE) -> None:
    """Warn of something that takes very many bytes pickled, and say what can be done about it."""
    limit = sys.modules[__package__].size_warning  # the package's, which users set
    if limit is not None and size > limit:
        _warn(obj, what(), size, advice)


def children(obj: Any) -> list[tuple[str, Any]]:
    """Return the parts of an object that are pickled with it, each with what one writes to get there from the object."""
    if isinstance(obj, dict):
        return [(f"[{_short(k)}]", v) for k, v in list(obj.items())[:_PARTS]]
    if isinstance(obj, (list, tuple)):
        return [(f"[{i}]", v) for i, v in enumerate(obj[:_PARTS])]
    if isinstance(obj, (set, frozenset)):
        return [(f" element {_short(v)}", v) for v in list(obj)[:_PARTS]]
    if isinstance(obj, functools.partial):
        return [(".func", obj.func), (".args", obj.args), (".keywords", obj.keywords)]
    if isinstance(obj, types.MethodType):
        return [(".__self__", obj.__self__)]
    if isinstance(obj, types.FunctionType):
        cells = zip(obj.__code__.co_freevars, obj.__closure__ or ())
        found = [(f"'s variable {name}", _content(cell)) for name, cell in cells]
        if obj.__defaults__:
            found.append((".__defaults__", obj.__defaults__))
        return found
    if isinstance(obj, (type, types.ModuleType)):
        return []
    found = []
    try:
        found += [(f".{k}", v) for k, v in vars(obj).items()]
    except TypeError:
        pass
    for cls in type(obj).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(obj, name):
                found.append((f".{name}", getattr(obj, name)))
    return found


def unsendable(obj: Any, err: BaseException) -> tuple[str, Any, BaseException]:
    """Return the path to the innermost part that can't be sent, the part, and why it can't."""
    path, looked, ancestors = "", 0, {id(obj)}
    for _ in range(_DEPTH):
        for step, part in children(obj):
            looked += 1
            if looked > _PARTS:
                return path, obj, err
            if id(part) in ancestors:
                continue
            try:
                payload.dump(part)
            except Exception as inner:
                path, obj, err = path + step, part, inner
                ancestors.add(id(part))
                break
        else:
            return path, obj, err
    return path, obj, err


def _warn(obj: Any, what: str, size: int, advice: str) -> None:
    """Warn of something very large, and name its three largest parts."""
    parts = []
    for step, part in children(obj):
        for inner, piece in children(part) if step in ("[0]", ".__self__", "[1]") else [("", part)]:
            try:
                parts.append((payload.dump(piece).size, step + inner))
            except Exception:
                continue
    parts.sort(reverse=True)
    largest = ", ".join(f"{path} ({n / 1e6:,.1f} MB)" for n, path in parts[:3])
    text = f"brine: {what} is sent, which takes {size / 1e6:,.1f} MB pickled"
    if largest:
        text += f"; its largest parts are {largest}"
    text += f"; {advice} (see brine.size_warning)"
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("brine"):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, SizeWarning, stacklevel=level)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _kind_of(part: Any) -> str:
    return f"a {type(part).__module__}.{type(part).__qualname__}"
