"""What `brine explain` runs: imports an object by its name and prints the explanation."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback
import types
from typing import Any, NoReturn


def main() -> None:
    """Explain the object that the arguments name, which the program brine has checked."""
    kind, where, name, depth, breadth, call, as_json = sys.argv[1:]
    sys.argv = [where]
    module = _script(where) if kind == "script" else _module(where)
    obj: Any = module
    done = where
    for part in name.split("."):
        try:
            obj = getattr(obj, part)
        except AttributeError:
            _fail(f"{done} has no {part!r}")
        done += (":" if done == where else ".") + part
    if call == "true":
        if not callable(obj):
            _fail(f"{done} is a {type(obj).__qualname__}, which can't be called")
        try:
            obj = obj()
        except Exception:
            _fail(f"calling {done} failed", traceback.format_exc())
    from . import explain
    from .errors import EngineError

    try:
        explanation = explain(obj, depth=int(depth), breadth=int(breadth))
    except EngineError as err:
        _fail(str(err).removeprefix("brine: ") if hasattr(str, "removeprefix") else str(err))
    try:
        print(json.dumps(explanation.to_dict(), indent=2) if as_json == "true" else explanation, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read it has seen enough


def _module(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as err:
        # It may be one that the module imports, which is another matter.
        if err.name is not None and (name == err.name or name.startswith(err.name + ".")):
            _fail(f"there is no module {name!r}")
        _fail(f"importing {name} failed", traceback.format_exc())
    except Exception:
        _fail(f"importing {name} failed", traceback.format_exc())


def _script(path: str) -> types.ModuleType:
    """Load a script as multiprocessing's spawned processes do: without what is for the main program alone."""
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    module = types.ModuleType("__mp_main__")
    sys.modules["__mp_main__"] = module
    try:
        content = runpy.run_path(path, run_name="__mp_main__")
    except Exception:
        _fail(f"running {path} failed", traceback.format_exc())
    module.__dict__.update(content)
    # In the program all that is called __main__, and that is what is sent.
    for value in content.values():
        _rename(value)
    module.__name__ = "__main__"
    sys.modules["__main__"] = module
    return module


def _rename(value: Any) -> None:
    """Make a function, or a class with all in it, one of __main__."""
    value = getattr(value, "__func__", value)  # of a class method
    if isinstance(value, (type, types.FunctionType)) and value.__module__ == "__mp_main__":
        value.__module__ = "__main__"
        if isinstance(value, type):
            for inner in list(vars(value).values()):
                _rename(inner)


def _fail(what: str, trace: str = "") -> NoReturn:
    sys.stderr.write(trace)
    sys.exit(f"brine: {what}")


if __name__ == "__main__":
    main()
