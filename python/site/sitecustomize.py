"""What `brine run` puts first on the path of the programs that it starts: Brine's Pool in place of the stdlib's.

Every Python process that inherits the environment imports this module at start-up, before the program: the first one,
those that spawn and forkserver start, and those of `subprocess`. So it is cheap, and imports neither multiprocessing
nor brine, but waits for the program to do it.

Replaced are `multiprocessing.Pool`, the `Pool` of every context, and `multiprocessing.pool.Pool`. Everything else is
the stdlib's, `multiprocessing.pool.ThreadPool` included.
"""

from __future__ import annotations

import os
import sys

from _brine_replace import install, load_next

TYPE_CHECKING = False  # typing would be most of the start-up
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable

HERE = os.path.dirname(os.path.abspath(__file__))


def brine_pool() -> Any:
    """Brine's Pool, or None while brine itself is being imported and hasn't got it yet."""
    import brine

    return getattr(brine, "Pool", None)


def replace_in_context(module: ModuleType) -> None:
    """Has every context make Brine's pools: in `multiprocessing.context`, from which multiprocessing takes `Pool`."""

    def Pool(
        self: Any,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Any = (),
        maxtasksperchild: int | None = None,
        **more: Any,
    ) -> Any:
        """Returns a pool of processes: Brine's, which takes all keywords of `brine.Pool`."""
        return brine_pool()(processes, initializer, initargs, maxtasksperchild, context=self.get_context(), **more)

    Pool.__module__ = module.__name__
    Pool.__qualname__ = "BaseContext.Pool"
    module.BaseContext.Pool = Pool  # type: ignore[attr-defined]
    package = sys.modules.get("multiprocessing")
    if package is not None and "Pool" in vars(package):  # imported before this module was
        package.Pool = module._default_context.Pool  # type: ignore[attr-defined]


def replace_in_pool(module: ModuleType) -> None:
    """Makes `multiprocessing.pool.Pool` Brine's for everybody but that module's own code, and brine.

    A property of the module's class comes before what the module's dictionary has, but only for those who look from
    outside: the functions of the module, ThreadPool's among them, go on with the dictionary's.
    """
    original = vars(module)["Pool"]

    class PoolModule(type(module)):  # type: ignore[misc]
        @property
        def Pool(self) -> Any:
            asking = sys._getframe(1).f_globals.get("__name__", "")
            if asking == "brine" or asking.startswith("brine."):
                return original
            return replaced[0] if replaced else brine_pool() or original

        @Pool.setter
        def Pool(self, value: Any) -> None:
            replaced[:] = [] if value is original else [value]  # mock.patch puts back what it found in the dictionary

        @Pool.deleter
        def Pool(self) -> None:
            replaced.clear()

    replaced: list[Any] = []  # by the program itself, as tests do
    module.__class__ = PoolModule


REPLACE = {"multiprocessing.context": replace_in_context, "multiprocessing.pool": replace_in_pool}


def report_at_exit() -> None:
    """Has the pools' bills written when this process ends, if it is the one that `brine run` started with a flag for them.

    The variable has what is wanted, and then names the process too: so its children know that it isn't meant for them, and
    its pools that their bills are to be kept for the end.
    """
    wanted = os.environ.get("BRINE_REPORT", "")
    if not wanted.startswith("{"):
        return
    import atexit

    first = os.getpid()
    os.environ["BRINE_REPORT"] = f"in {first} {wanted}"

    def report() -> None:
        if os.getpid() != first:  # a child that was forked by hand
            return
        try:
            import brine

            brine._report_at_exit()
        except Exception as e:  # the program has ended well, and that is what its exit status has to say
            text = str(e).replace("brine: ", "", 1)
            sys.stderr.write(f"brine: no report: {type(e).__name__}: {text}\n")

    atexit.register(report)


if sys.version_info >= (3, 9) and sys.implementation.name == "cpython":
    install(REPLACE)
    report_at_exit()
else:
    sys.stderr.write(
        "brine: multiprocessing.Pool stays as it is: Brine needs CPython 3.9 or newer, and this is "
        f"{sys.implementation.name} {sys.version.split()[0]}\n"
    )
load_next(HERE)
