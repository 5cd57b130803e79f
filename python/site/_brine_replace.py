"""How what Brine puts first on a program's path gets into modules that the program hasn't imported yet.

It is shared by the modules of this name: `sitecustomize` of `brine run`, and that of `brine trace`.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False  # typing would be most of the start-up
if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Callable


class ReplaceAfterImport:
    """Finds the modules of a table where they are, and has them changed as soon as they are loaded."""

    def __init__(self, table: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self._table = table

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self._table:
            return None
        finders: list[Any] = list(sys.meta_path)
        for finder in finders[finders.index(self) + 1 :]:  # only those: there may be another one of us
            spec: ModuleSpec | None = finder.find_spec(name, path, target)
            if spec is not None:
                change_when_loaded(spec, self._table[name])
                return spec
        return None


def change_when_loaded(spec: ModuleSpec, replace: Callable[[ModuleType], None]) -> None:
    """Has replace called with the module of spec, as soon as it is loaded."""
    loader: Any = spec.loader
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        load(module)
        replace(module)

    loader.exec_module = exec_module


def install(table: Mapping[str, Callable[[ModuleType], None]]) -> None:
    """Changes modules, by their names, in what will be imported, and in what has been, by a .pth file say."""
    sys.meta_path.insert(0, ReplaceAfterImport(table))
    for name, replace in table.items():
        module = sys.modules.get(name)
        if module is not None:
            replace(module)


def load_next(here: str) -> None:
    """Loads the sitecustomize that the one in a directory hides, if there is one further on, and leaves its place to it."""
    path = [os.path.abspath(p) for p in sys.path]
    further = path[path.index(here) + 1 :] if here in path else path
    spec = PathFinder.find_spec("sitecustomize", further)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec  # not at the top: most programs don't come here

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)
