"""What the drop-in must do as the standard library's pool does it: test_dropin.py runs each on both and compares.

A scenario returns something that can be compared, or raises. CALLS get an open pool with two workers, POOLS a function that
makes pools with the start method under test. What Brine does otherwise on purpose is not here but in test_hazards.py.
"""

import functools
import gc
import itertools
import multiprocessing
import os
import pickle
import sys
import threading
import traceback
import warnings
import weakref

import tasks

CALLS = {}
POOLS = {}
BOUND = 200  # of what is taken from an iterator, so that one without an end is a difference and no hang


def on_pool(scenario):
    CALLS[scenario.__name__] = scenario
    return scenario


def on_class(scenario):
    POOLS[scenario.__name__] = scenario
    return scenario


# Making outcomes comparable.


def outcome(scenario, *args):
    """What the scenario returns, or what it raises."""
    try:
        return scenario(*args)
    except Exception as e:
        return raised(e)


def raised(e):
    """What can be told from an exception, save the addresses of objects."""
    own = {k: v for k, v in vars(e).items() if not callable(v)}
    return "raised", type(e), e.args, str(e), own, type(e.__cause__)


def transcript(iterator):
    """All that comes from an iterator, errors too, up to its end."""
    found = []
    for _ in range(BOUND):
        try:
            found.append(next(iterator))
        except StopIteration:
            found.append("end")
            break
        except Exception as e:
            found.append(raised(e)[:4])
    for _ in range(2):  # an end stays an end
        try:
            found.append(next(iterator))
        except StopIteration:
            found.append("end")
    return found


def unordered(found):
    return sorted(found, key=repr)


class Fails:
    """An iterable that has a length, perhaps, and fails at some item."""

    def __init__(self, at):
        self.at = at
        self.items = itertools.count()

    def __iter__(self):
        return self

    def __next__(self):
        if (i := next(self.items)) == self.at:
            raise KeyError("from the iterable", i)
        return i


class FailsWithLength(Fails):
    """At its last item: the stdlib's map waits for ever for the others, if there are others."""

    def __len__(self):
        return self.at + 1


class FailsToBegin:
    def __iter__(self):
        raise KeyError("no iterator")


class Log:
    """Callbacks that note what they were called with, in which process and thread."""

    def __init__(self):
        self.calls = []

    def __getitem__(self, name):
        def callback(x):
            main = threading.current_thread() is threading.main_thread()
            self.calls.append((name, raised(x)[:4] if isinstance(x, Exception) else x, os.getpid(), main))

        return callback


# apply, map and starmap.

for name, call in {
    "apply": lambda p: p.apply(tasks.add, (1, 2)),
    "apply_keywords": lambda p: p.apply(tasks.add, (1,), {"b": 2, "c": 4}),
    "apply_all_by_keyword": lambda p: p.apply(func=tasks.add, args=(1,), kwds={"b": 2}),
    "apply_nothing": lambda p: p.apply(tasks.nothing),
    "apply_list_of_args": lambda p: p.apply(tasks.add, [1, 2, 3, 4]),
    "apply_string_of_args": lambda p: p.apply(tasks.same, "x"),
    "apply_kwds_none": lambda p: p.apply(tasks.add, (1,), None),
    "apply_args_no_iterable": lambda p: p.apply(tasks.add, 5),
    "apply_too_many": lambda p: p.apply(tasks.same, (1, 2)),
    "apply_not_callable": lambda p: p.apply(5, (1, 2)),
    "apply_builtin": lambda p: p.apply(len, ("abc",)),
    "apply_class": lambda p: p.apply(dict, ((("a", 1),),)),
    "apply_exception_class": lambda p: p.apply(ValueError, ("a result",)).args,
    "map": lambda p: p.map(tasks.square, range(50)),
    "map_list": lambda p: p.map(tasks.same, [3, "a", None, (1, [2])]),
    "map_generator": lambda p: p.map(tasks.square, (i for i in range(30))),
    "map_dict": lambda p: p.map(tasks.same, {"b": 1, "a": 2}),
    "map_string": lambda p: p.map(tasks.same, "hello"),
    "map_bytes": lambda p: p.map(tasks.same, b"hello"),
    "map_iterator": lambda p: p.map(tasks.same, iter([2, 1])),
    "map_range_backwards": lambda p: p.map(tasks.same, range(40, 3, -3)),
    "map_empty": lambda p: p.map(tasks.same, []),
    "map_empty_generator": lambda p: p.map(tasks.same, (i for i in ())),
    "map_one": lambda p: p.map(tasks.same, [7]),
    "map_more_than_chunks": lambda p: sum(p.map(tasks.square, range(20_000))),
    "map_by_keyword": lambda p: p.map(func=tasks.same, iterable=[1, 2], chunksize=2),
    "map_not_iterable": lambda p: p.map(tasks.same, 5),
    "map_tuples_stay": lambda p: p.map(tasks.same, [(1, 2), (3, 4)]),
    "map_returns_list": lambda p: type(p.map(tasks.same, (1, 2))),
    "map_partial": lambda p: p.map(functools.partial(tasks.add, 5, c=1), range(5)),
    "map_bound_method": lambda p: p.map(tasks.Adder(3).method, range(5)),
    "map_class_method": lambda p: p.map(tasks.Adder.of_class, range(5)),
    "map_static_method": lambda p: p.map(tasks.Adder.static, range(5)),
    "map_callable": lambda p: p.map(tasks.Adder(4), range(5)),
    "map_method_of_builtin": lambda p: p.map("a-b".split, ["-", "a"]),
    "map_instances": lambda p: p.map(tasks.Adder, range(5)),
    "starmap": lambda p: p.starmap(tasks.add, [(1, 2), (3, 4)]),
    "starmap_many": lambda p: p.starmap(tasks.add, zip(range(100), range(100))),
    "starmap_lists_and_strings": lambda p: p.starmap(tasks.add, [[1, 2], (3,), "a"][:2]),
    "starmap_item_no_iterable": lambda p: raised_type(lambda: p.starmap(tasks.add, [5])),
    "starmap_empty": lambda p: p.starmap(tasks.add, []),
    "starmap_async": lambda p: p.starmap_async(tasks.add, [(1, 2)]).get(),
    "map_async": lambda p: p.map_async(tasks.square, range(5)).get(),
    "map_async_positional": lambda p: p.map_async(tasks.square, range(5), 2, None, None).get(),
    "imap": lambda p: list(p.imap(tasks.square, range(50))),
    "imap_positional_chunksize": lambda p: list(p.imap(tasks.square, range(50), 7)),
    "imap_unordered": lambda p: sorted(p.imap_unordered(tasks.square, range(50))),
    "imap_unordered_chunks": lambda p: sorted(p.imap_unordered(tasks.square, range(50), chunksize=7)),
    "imap_empty": lambda p: transcript(p.imap(tasks.square, [])),
    "imap_empty_chunks": lambda p: transcript(p.imap(tasks.square, [], 3)),
    "imap_is_its_iterator": lambda p: [iter(it) is it for it in (p.imap(tasks.same, [1]), p.imap(tasks.same, [1], 2))],
    "imap_not_iterable": lambda p: transcript(p.imap(tasks.square, 5)),
    "imap_not_iterable_chunks": lambda p: transcript(p.imap(tasks.square, 5, 2)),
    "imap_fails_to_begin": lambda p: transcript(p.imap(tasks.square, FailsToBegin())),
    "imap_chunksize_0": lambda p: p.imap(tasks.same, [1], 0),
    "imap_unordered_chunksize_0": lambda p: p.imap_unordered(tasks.same, [1], chunksize=0),
    "imap_next": lambda p: p.imap(tasks.same, [7]).next(),
    "imap_next_timeout": lambda p: p.imap(tasks.same, [7]).next(timeout=20),
    "imap_next_positional_timeout": lambda p: p.imap_unordered(tasks.same, [7]).next(20),
    "map_fails": lambda p: p.map(tasks.fail_if_odd, range(0, 20, 19)),
    "map_fails_in_length": lambda p: p.map(tasks.same, Fails(3)),
    "map_async_fails_in_length": lambda p: p.map_async(tasks.same, Fails(3)),
    "map_fails_with_length": lambda p: p.map(tasks.same, FailsWithLength(3), 1),
    "map_fails_with_length_chunks": lambda p: p.map(tasks.same, FailsWithLength(3), 2),
    "map_fails_to_begin": lambda p: p.map(tasks.same, FailsToBegin()),
    "starmap_fails_with_length": lambda p: p.starmap(tasks.same, FailsWithLength(0), 1),
    "map_dumps_fails": lambda p: p.map(tasks.same, [tasks.FailsWhenDumped()]),
    "map_dumps_fails_late": lambda p: p.map(tasks.same, [1, 2, 3, tasks.FailsWhenDumped()], 1),
    "apply_dumps_fails": lambda p: p.apply(tasks.same, (tasks.FailsWhenDumped(),)),
    "function_dumps_fails": lambda p: p.map(functools.partial(tasks.add, tasks.FailsWhenDumped()), [1, 2]),
    "pickled": lambda p: pickle.dumps(p),
    "repr": lambda p: repr(p).rpartition("Pool")[2],
    "positional_too_many": lambda p: raised_type(lambda: p.map(tasks.same, [1], 1, 2)),
}.items():
    CALLS[name] = call


def raised_type(call):
    try:
        return call()
    except Exception as e:
        return type(e)


for size in (1, 2, 7, 49, 50, 51, 1000):
    CALLS[f"map_chunksize_{size}"] = lambda p, size=size: p.map(tasks.square, range(50), size)
    CALLS[f"starmap_chunksize_{size}"] = lambda p, size=size: p.starmap(tasks.add, [(i, i) for i in range(50)], size)

for kind in ("value", "nothing", "key", "os", "unicode", "custom", "subprocess", "timeout", "import", "big", "chained"):
    CALLS[f"apply_raises_{kind}"] = lambda p, kind=kind: p.apply(tasks.fail, (kind,))
    CALLS[f"map_raises_{kind}"] = lambda p, kind=kind: p.map(tasks.fail, [kind] * 3)
    CALLS[f"imap_raises_{kind}"] = lambda p, kind=kind: transcript(p.imap(tasks.fail, [kind] * 3))

for size in (1, 2, 4):
    # Failing at 7, chunks of 1, 2 and 4 give 7, 6 and 4 results, the error of the iterable as it is, and the end.
    CALLS[f"imap_fails_at_7_chunksize_{size}"] = lambda p, size=size: transcript(p.imap(tasks.same, Fails(7), size))
CALLS["imap_unordered_fails_at_7"] = lambda p: unordered(transcript(p.imap_unordered(tasks.same, Fails(7))))
CALLS["imap_raises"] = lambda p: transcript(p.imap(tasks.fail_if_odd, range(9)))
CALLS["imap_unordered_raises"] = lambda p: unordered(transcript(p.imap_unordered(tasks.fail_if_odd, range(9))))


@on_pool
def traceback_of_the_worker(pool):
    """The text that is printed has the worker's own lines, and the caller's below."""
    try:
        pool.map(tasks.fail, ["chained"])
    except ValueError as e:
        text = "".join(traceback.format_exception(type(e), e, e.__traceback__))
        cause = str(e.__cause__)
        return [
            "multiprocessing.pool.RemoteTraceback:" in text,
            "direct cause of the following exception" in text,
            'raise ValueError("outer") from e' in cause,
            "KeyError: 'inner'" in cause,
            cause.startswith('\n"""\nTraceback') or cause.startswith('\n"""\nKeyError'),
            cause.rstrip().endswith('ValueError: outer\n"""'),
        ]


@on_pool
def one_error_is_one_object(pool):
    """get() twice gives the same thing."""
    good, bad = pool.apply_async(tasks.same, ([1],)), pool.apply_async(tasks.fail, ("value",))
    errors = []
    for _ in range(2):
        try:
            bad.get()
        except ValueError as e:
            errors.append(e)
    return good.get() is good.get(), errors[0] is errors[1]


@on_pool
def states_of_a_result(pool, path=None):
    gate = threading.Event()
    result = pool.apply_async(tasks.same, (1,), callback=lambda x: gate.wait())
    before = [result.ready(), raised_type(result.successful), result.wait(0.01), raised_type(lambda: result.get(0.01))]
    gate.set()
    after = [result.wait(), result.ready(), result.successful(), result.get(0), result.get(timeout=None)]
    bad = pool.apply_async(tasks.fail, ("value",))
    bad.wait()
    return before, after, bad.ready(), bad.successful()


@on_pool
def callbacks_get_values(pool):
    log = Log()
    calls = [
        pool.apply_async(tasks.same, (1,), {}, log["apply"], log["error"]),
        pool.apply_async(tasks.fail, ("value",), callback=log["apply"], error_callback=log["error of apply"]),
        pool.map_async(tasks.same, range(20), 3, log["map"], log["error"]),
        pool.map_async(tasks.fail_if_odd, [0, 3], 1, log["map"], log["error of map"]),
        pool.starmap_async(tasks.add, [(1, 2)], callback=log["starmap"]),
        pool.starmap_async(tasks.add, [("a", 1)], error_callback=log["error of starmap"]),
    ]
    for call in calls:
        call.wait()
    return unordered(log.calls)


@on_pool
def callback_of_empty_map(pool):
    """That of an empty map isn't called, and the result is there at once."""
    log = Log()
    result = pool.map_async(tasks.same, [], callback=log["empty"])
    return result.ready(), result.get(), log.calls


@on_pool
def callback_is_before_ready(pool):
    result, seen = [], threading.Event()
    ready = []

    def callback(x):
        seen.wait()
        ready.append(result[0].ready())

    result.append(pool.apply_async(tasks.same, (1,), callback=callback))
    seen.set()
    result[0].wait()
    return ready


@on_pool
def callback_submits(pool):
    """A chain: each callback makes the next call."""
    done, values = threading.Event(), []

    def callback(x):
        values.append(x)
        if x < 5:
            pool.apply_async(tasks.add, (x, 1), callback=callback)
        else:
            done.set()

    pool.apply_async(tasks.same, (0,), callback=callback)
    done.wait()
    return values


@on_pool
def get_and_next_time_out(pool):
    slow = pool.apply_async(tasks.wait_for, ("/proc/self/nothing",))
    iterator = pool.imap(tasks.wait_for, ["/proc/self/nothing"])
    found = [raised(e)[1] for e in (caught(lambda: slow.get(0.01)), caught(lambda: iterator.next(0.01)))]
    return found, slow.ready()


def caught(call):
    try:
        return call()
    except Exception as e:
        return e


@on_pool
def unpicklable_results(pool):
    found = []
    for name in ("lambda", "lock", "generator", "int"):
        e = caught(lambda: pool.apply(tasks.give, (name,)))
        found.append((type(e), isinstance(getattr(e, "exc", None), str), isinstance(getattr(e, "value", None), str)))
    found.append(type(caught(lambda: pool.map(tasks.give, ["int", "lock"]))))
    found.append([type(caught(lambda: next(it))) for it in [pool.imap(tasks.give, ["lock", "int"])] for _ in range(2)])
    return found, pool.map(tasks.same, range(4))


@on_pool
def one_chunk_is_one_pickle(pool):
    """What is in a chunk twice is sent once, and is the same object there."""
    items = [0]
    return pool.map(tasks.extend, [items, items], chunksize=2), items


@on_pool
def many_threads(pool):
    found = {}

    def run(n):
        found[n] = [pool.map(tasks.square, range(n)), [pool.apply(tasks.add, (n, i)) for i in range(20)]]

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return sorted(found.items())


@on_pool
def arguments_and_results_are_let_go(pool):
    arguments = [tasks.Kept([i]) for i in range(3)]
    gone = [weakref.ref(x) for x in arguments]
    pool.map(len, arguments)
    pool.apply(len, (arguments[0],))
    list(pool.imap(len, arguments))
    del arguments
    for _ in range(200):
        gc.collect()
        if all(ref() is None for ref in gone):
            return "gone"
        threading.Event().wait(0.01)
    return "kept"


# Pools: how they are made, and how they end.


@on_class
def bad_arguments(Pool):
    return [
        outcome(lambda kw=kw: Pool(**kw))
        for kw in (
            {"processes": 0},
            {"processes": -1},
            {"initializer": 5},
            {"maxtasksperchild": 0},
            {"maxtasksperchild": -1},
            {"maxtasksperchild": 1.5},
            {"maxtasksperchild": "1"},
        )
        # The stdlib looks at maxtasksperchild since 3.10: before, the workers fail, again and again.
        if sys.version_info >= (3, 10) or "maxtasksperchild" not in kw
    ]


@on_class
def positional_arguments(Pool):
    with Pool(1, tasks.init_keep, (1, 2), 2) as pool:
        return pool.apply(tasks.kept), pool.apply(tasks.pid) == pool.apply(tasks.pid)


@on_class
def processes_none(Pool):
    with Pool() as pool:
        return len(multiprocessing.active_children()), pool.map(tasks.same, range(3))


@on_class
def workers_as_the_parent_sees_them(Pool):
    with Pool(2):
        return sorted((p.name.rpartition("-")[0], p.daemon, p.is_alive()) for p in multiprocessing.active_children())


@on_class
def workers_as_they_see_themselves(Pool):
    with Pool(2) as pool:
        return pool.map(tasks.identity, range(4), 1)  # save that they are daemons, which may have no children


@on_class
def initializer_runs_in_an_idle_pool(Pool, path):
    pool = Pool(3, tasks.init_append, (path,))
    pool.close()
    pool.join()
    return len(set(tasks.lines(path)))


@on_class
def maxtasksperchild_counts_chunks(Pool):
    """The processes of five calls, named in the order of their coming."""

    def names(pids):
        return [sorted(set(pids), key=pids.index).index(p) for p in pids]

    with Pool(1, maxtasksperchild=2) as pool:
        single = names([pool.apply(tasks.pid) for _ in range(5)])
        whole = names(pool.map(tasks.pid, range(30), 10))
    return single, whole


@on_class
def boundaries_of_chunks(Pool):
    """With a new worker for each chunk, the process of an item tells its chunk."""

    def sizes(pids):
        return [len(list(group)) for _, group in itertools.groupby(pids)]

    calls = {
        "17": lambda pool: pool.map(tasks.pid, range(17)),
        "9, no length": lambda pool: pool.map(tasks.pid, iter(range(9))),
        "8": lambda pool: pool.map(tasks.pid, range(8)),
        "5 by 2": lambda pool: pool.map(tasks.pid, range(5), 2),
        "3 by 10": lambda pool: pool.map(tasks.pid, range(3), 10),
        "4 by 3, starmap": lambda pool: pool.starmap(tasks.add_pid, zip(range(4), range(4)), 3),
        "8 by 3, imap": lambda pool: list(pool.imap(tasks.pid, range(8), 3)),
    }
    found = {}
    for name, call in calls.items():
        with Pool(2, maxtasksperchild=1) as pool:
            found[name] = sizes(call(pool))
    return found


@on_class
def early_close_of_short_lived_workers(Pool):
    pool = Pool(2, maxtasksperchild=1)
    results = [pool.apply_async(tasks.square, (i,)) for i in range(12)]
    pool.close()
    pool.join()
    return [r.get() for r in results]


@on_class
def in_order_of_submission(Pool):
    with Pool(1) as pool:
        results = [pool.apply_async(tasks.counted) for _ in range(20)]
        results.append(pool.map_async(tasks.counted, range(3)))
        results.append(pool.apply_async(tasks.counted))
        return [r.get() for r in results]


@on_class
def map_waits_for_all(Pool, path):
    """The first error is raised, after everything else has run."""
    with Pool(1) as pool:
        error = outcome(lambda: pool.map(functools.partial(tasks.append_and_fail_if_odd, path), range(8), 1))
    return error, tasks.lines(path)


@on_class
def imap_runs_without_being_asked(Pool, path):
    """All of it is pulled and run before anybody takes a result."""
    pool = Pool(2)
    iterator = pool.imap(tasks.square, (i for i in range(1000)))
    pool.close()
    pool.join()
    return sum(iterator)


@on_class
def closed(Pool):
    pool = Pool(2)
    before = pool.map_async(tasks.square, range(10))
    joined = outcome(pool.join)
    pool.close()
    pool.close()
    refused = refusals(pool)
    pool.join()
    pool.join()
    pool.terminate()
    return joined, refused, before.get(), repr(pool).rpartition("Pool")[2]


@on_class
def terminated(Pool):
    pool = Pool(2)
    pool.map_async(tasks.hang_in_python, range(1000))
    pool.terminate()
    pool.terminate()
    refused = refusals(pool)
    pool.join()
    pool.close()
    return refused, repr(pool).rpartition("Pool")[2]


@on_class
def left_by_with(Pool):
    with Pool(2) as pool:
        inside = pool.__class__ is not None and pool.apply(tasks.same, (1,))
    return inside, refusals(pool), pool.join()


@on_class
def left_by_an_error(Pool):
    with Pool(1) as pool:
        pool.apply(tasks.fail, ("key",))


@on_class
def entered_twice(Pool):
    with Pool(1) as pool, pool as again:
        return again is pool


def refusals(pool):
    calls = {
        "apply": lambda: pool.apply(tasks.same, (1,)),
        "apply_async": lambda: pool.apply_async(tasks.same, (1,)),
        "map": lambda: pool.map(tasks.same, [1]),
        "map_empty": lambda: pool.map(tasks.same, []),
        "map_async": lambda: pool.map_async(tasks.same, [1]),
        "starmap": lambda: pool.starmap(tasks.same, [(1,)]),
        "starmap_async": lambda: pool.starmap_async(tasks.same, [(1,)]),
        "imap": lambda: pool.imap(tasks.same, [1]),
        "imap_chunks": lambda: pool.imap(tasks.same, [1], 2),
        "imap_unordered": lambda: pool.imap_unordered(tasks.same, [1]),
        "enter": lambda: pool.__enter__(),
    }
    return {name: outcome(call) for name, call in calls.items()}


@on_class
def resource_warning(Pool):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        pool = Pool(1)
        pool.apply(tasks.same, (1,))
        del pool
        gc.collect()
    return [str(w.message).partition("<")[0] for w in seen if w.category is ResourceWarning]


@on_class
def no_resource_warning(Pool):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        for end in ("close", "terminate"):
            pool = Pool(1)
            getattr(pool, end)()
            pool.join()
            del pool
        gc.collect()
    return [str(w.message) for w in seen if w.category is ResourceWarning]


@on_class
def two_pools(Pool):
    with Pool(1, tasks.init_keep, ("a",)) as a, Pool(1, tasks.init_keep, ("b",)) as b:
        return [p.apply(tasks.kept) for p in (a, b, a)]


@on_class
def shared_things_in_initargs(Pool, ctx):
    """Whatever of a context may be given to a process may be given to workers, and to those that replace them."""
    with ctx.Manager() as manager:
        end, other = ctx.Pipe()
        # One that is used in a worker that is killed would stay locked; so the pools are closed.
        shared = (
            ctx.Lock(),
            ctx.RLock(),
            ctx.Semaphore(2),
            ctx.Event(),
            ctx.Condition(),
            ctx.Queue(),
            ctx.SimpleQueue(),
            ctx.Value("i", 0),
            ctx.Array("i", 10),
            end,
            manager.dict(),
            manager.list(),
        )
        shared[3].set()
        pool = Pool(2, tasks.init_keep, shared, maxtasksperchild=2)
        events = pool.map(tasks.use_shared, range(8), 1)
        pool.close()
        pool.join()
        queue, simple, value, array, mapping, listing = *shared[5:9], *shared[10:]
        return [
            events,
            sorted(queue.get() for _ in range(8)),
            sorted(simple.get() for _ in range(8)),
            value.value,
            list(array),
            sorted(int(other.recv_bytes()) for _ in range(8)),
            sorted(mapping.items()),
            sorted(listing),
            *[x.close() for x in (queue, simple, end, other) if hasattr(x, "close")],
            queue.join_thread(),
        ]


@on_class
def manager_proxies_as_arguments(Pool, ctx):
    with ctx.Manager() as manager, Pool(2) as pool:
        names, queue = manager.dict(), manager.Queue()
        pool.starmap(tasks.put, [(names, queue, i) for i in range(6)])
        return sorted(names.items()), sorted(queue.get() for _ in range(6))
