"""The pools, each with one face: what the rows of peers.py need, in the way that its own documentation shows.

`open(make, *args)` starts the workers, each of which has what make(*args) returns as its state; `state(f, xs)` runs
f(x, initret=state) for each x. For rows where something is given once, make is tasks.nop and args the thing.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterable
from typing import Any, Callable

import tasks

WORKERS = 2


class Pool:
    """A pool as the standard library's, of which Brine's differs by expect_initret."""

    module = "multiprocessing"
    method = "fork"
    base = "brine"  # what its figures are held against

    def __init__(self) -> None:
        self.library = importlib.import_module(self.module)
        self.pool: Any = None

    def open(self, make: Callable[..., Any] | None = None, *args: Any) -> None:
        """Start the workers."""
        context = importlib.import_module("multiprocessing").get_context(self.method)
        init = {} if make is None else {"initializer": tasks.keep, "initargs": (make, *args)}
        self.pool = context.Pool(WORKERS, **init)

    def call(self, f: Callable[..., Any], *args: Any) -> Any:
        """Run one task."""
        return self.pool.apply(f, args)

    def map(self, f: Callable[[Any], Any], xs: Iterable[Any]) -> list[Any]:
        """Run a task for each x, one at a time."""
        return self.pool.map(f, xs, 1)

    def state(self, f: Callable[..., Any], xs: Iterable[Any]) -> list[Any]:
        """Run a task that uses the worker's state for each x, one at a time."""
        return self.map(functools.partial(tasks.with_global, f), xs)

    def close(self) -> None:
        """End the workers, which have nothing to do any more, and wait for them."""
        self.pool.close()
        self.pool.join()


class Spawn(Pool):
    """The standard library's, with fresh interpreters."""

    method = "spawn"
    base = "brine-spawn"


class Brine(Pool):
    """Ours."""

    module = "brine"

    def open(self, make: Callable[..., Any] | None = None, *args: Any) -> None:
        context = importlib.import_module("multiprocessing").get_context(self.method)
        init = {} if make is None else {"initializer": make, "initargs": args, "expect_initret": True}
        self.pool = self.library.Pool(WORKERS, context=context, **init)

    def state(self, f: Callable[..., Any], xs: Iterable[Any]) -> list[Any]:
        return self.map(f, xs)


class BrineSpawn(Brine):
    """Ours, with fresh interpreters."""

    method = "spawn"
    base = "brine-spawn"


class Executor(Pool):
    """concurrent.futures.ProcessPoolExecutor."""

    module = "concurrent.futures"

    def open(self, make: Callable[..., Any] | None = None, *args: Any) -> None:
        context = importlib.import_module("multiprocessing").get_context(self.method)
        init = {} if make is None else {"initializer": tasks.keep, "initargs": (make, *args)}
        self.pool = self.library.ProcessPoolExecutor(WORKERS, mp_context=context, **init)

    def call(self, f: Callable[..., Any], *args: Any) -> Any:
        return self.pool.submit(f, *args).result()

    def map(self, f: Callable[[Any], Any], xs: Iterable[Any]) -> list[Any]:
        return list(self.pool.map(f, xs))

    def close(self) -> None:
        self.pool.shutdown()


class Pebble(Pool):
    """pebble.ProcessPool."""

    module = "pebble"

    def open(self, make: Callable[..., Any] | None = None, *args: Any) -> None:
        init = {} if make is None else {"initializer": tasks.keep, "initargs": (make, *args)}
        self.pool = self.library.ProcessPool(WORKERS, **init)

    def call(self, f: Callable[..., Any], *args: Any) -> Any:
        return self.pool.schedule(f, args=args).result()

    def map(self, f: Callable[[Any], Any], xs: Iterable[Any]) -> list[Any]:
        return list(self.pool.map(f, xs, chunksize=1).result())


class Mpire(Pool):
    """mpire.WorkerPool. Its shared objects are the way to give something once; other state is made by worker_init."""

    module = "mpire"

    def open(self, make: Callable[..., Any] | None = None, *args: Any) -> None:
        self.given = make is tasks.nop
        self.init = None if make is None or self.given else functools.partial(_fill, make, args)
        more = {"shared_objects": args[0]} if self.given else {"use_worker_state": self.init is not None}
        self.pool = self.library.WorkerPool(WORKERS, start_method=self.method, keep_alive=True, **more)

    def call(self, f: Callable[..., Any], *args: Any) -> Any:
        return self.pool.apply(f, args)

    def map(self, f: Callable[[Any], Any], xs: Iterable[Any]) -> list[Any]:
        single = [(x,) for x in xs]  # or it would unpack lists and slice arrays
        return self.pool.map(
            f,
            single,
            chunk_size=1,
            worker_init=self.init,
            concatenate_numpy_output=False,
        )

    def state(self, f: Callable[..., Any], xs: Iterable[Any]) -> list[Any]:
        return self.map(
            functools.partial(tasks.with_shared if self.given else tasks.with_worker_state, f),
            xs,
        )

    def close(self) -> None:
        self.pool.stop_and_join()


def _fill(make: Callable[..., Any], args: Any, state: dict[str, Any]) -> None:
    state["state"] = make(*args)


class Joblib(Pool):
    """joblib.Parallel with loky, which has no worker state: what is given once is an argument, an array memory-mapped."""

    module = "joblib"
    base = "brine-spawn"

    def open(self, make: Callable[..., Any] | None = None, *args: Any) -> None:
        self.make, self.args = make, args
        self.pool = self.library.Parallel(n_jobs=WORKERS, batch_size=1)
        self.pool.__enter__()

    def call(self, f: Callable[..., Any], *args: Any) -> Any:
        return self.pool([self.library.delayed(f)(*args)])[0]

    def map(self, f: Callable[[Any], Any], xs: Iterable[Any]) -> list[Any]:
        return self.pool(self.library.delayed(f)(x) for x in xs)

    def state(self, f: Callable[..., Any], xs: Iterable[Any]) -> list[Any]:
        if self.make is tasks.nop:
            return self.pool(self.library.delayed(f)(x, self.args[0]) for x in xs)
        return self.pool(self.library.delayed(_made)(f, x, self.make, self.args) for x in xs)

    def close(self) -> None:
        self.pool.__exit__(None, None, None)
        importlib.import_module("joblib.externals.loky").get_reusable_executor().shutdown()


def _made(f: Callable[..., Any], x: Any, make: Callable[..., Any], args: Any) -> Any:
    if tasks._state is None:
        tasks.keep(make, *args)
    return f(x, initret=tasks._state)


class Ray(Pool):
    """Ray on this machine: remote functions, objects that are put once, actors for other state."""

    module = "ray"
    base = "brine-spawn"

    def open(self, make: Callable[..., Any] | None = None, *args: Any) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        ray = self.library
        ray.init(
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        self.given = ray.put(args[0]) if make is tasks.nop else None
        self.remote = functools.lru_cache(None)(ray.remote)
        self.actors = []
        if make is not None and self.given is None:
            self.actors = [ray.remote(Actor).remote(make, args) for _ in range(WORKERS)]

    def call(self, f: Callable[..., Any], *args: Any) -> Any:
        return self.library.get(self.remote(f).remote(*args))

    def map(self, f: Callable[[Any], Any], xs: Iterable[Any]) -> list[Any]:
        put: dict[int, Any] = {}  # an array that comes again is put once, as Ray's users do
        refs = []
        for x in xs:
            if hasattr(x, "nbytes") and id(x) not in put:
                put[id(x)] = self.library.put(x)
            refs.append(put.get(id(x), x))
        return self.library.get([self.remote(f).remote(x) for x in refs])

    def state(self, f: Callable[..., Any], xs: Iterable[Any]) -> list[Any]:
        if self.given is not None:
            return self.library.get([self.remote(f).remote(x, self.given) for x in xs])
        pool = importlib.import_module("ray.util").ActorPool(self.actors)
        return list(pool.map(lambda actor, x: actor.run.remote(f, x), list(xs)))

    def close(self) -> None:
        self.library.shutdown()


class Actor:
    """A process of Ray's with state."""

    def __init__(self, make: Callable[..., Any], args: Any) -> None:
        self.made = make(*args)

    def run(self, f: Callable[..., Any], x: Any) -> Any:
        """Run a task."""
        return f(x, initret=self.made)

    def get(self, method: str) -> Any:
        """Return what a method of the state returns."""
        return getattr(self.made, method)()


# In the order of the table's columns.
POOLS: dict[str, type[Pool]] = {
    "brine": Brine,
    "brine-spawn": BrineSpawn,
    "mp-fork": Pool,
    "mp-spawn": Spawn,
    "futures": Executor,
    "mpire": Mpire,
    "pebble": Pebble,
    "joblib": Joblib,
    "ray": Ray,
}
