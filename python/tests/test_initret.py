"""expect_initret: what the initializer returned comes to each call as `initret`. The rules are those of python/cpython pull 9627."""

import multiprocessing

import pytest
import tasks

import brine

STATE = {"initializer": tasks.make_state, "initargs": ("T",), "expect_initret": True}


def boom():
    yield 1
    raise KeyError("from the iterable")


def tags(found):
    return [(x, tag) for x, tag, *_ in found]


def initret_given(pool):
    kwds = {"y": 2}
    return pool.apply(tasks.keyword, (1,), kwds), kwds


# Each rule: what is called, and what must come.
VALUES = {
    "apply": (lambda p: p.apply(tasks.bump, (1,))[:2], (1, "T")),
    "apply, kwds are left as they were": (initret_given, ((3, "T"), {"y": 2})),
    "apply_async": (lambda p: p.apply_async(tasks.bump, (1,), {}, lambda v: None).get()[1], "T"),
    "map": (lambda p: tags(p.map(tasks.bump, range(5))), [(i, "T") for i in range(5)]),
    "map, chunks": (lambda p: tags(p.map(tasks.bump, range(50), chunksize=7)), [(i, "T") for i in range(50)]),
    "map, empty": (lambda p: p.map(tasks.bump, []), []),
    "map_async": (lambda p: tags(p.map_async(tasks.bump, range(3)).get()), [(i, "T") for i in range(3)]),
    "starmap": (lambda p: p.starmap(tasks.bump2, [(1, 2), (3, 4)]), [(3, "T"), (7, "T")]),
    "starmap_async": (lambda p: p.starmap_async(tasks.bump2, [(1, 2)]).get(), [(3, "T")]),
    "imap": (lambda p: tags(p.imap(tasks.bump, range(3))), [(i, "T") for i in range(3)]),
    "imap, chunks": (lambda p: tags(p.imap(tasks.bump, range(9), chunksize=4)), [(i, "T") for i in range(9)]),
    "imap_unordered": (lambda p: sorted(tags(p.imap_unordered(tasks.bump, range(9)))), [(i, "T") for i in range(9)]),
    "imap_unordered, chunks": (
        lambda p: sorted(tags(p.imap_unordered(tasks.bump, range(9), chunksize=2))),
        [(i, "T") for i in range(9)],
    ),
    "made in the worker": (lambda p: p.apply(tasks.bump)[3], True),
    "a bound method": (lambda p: p.map(tasks.Stateful(10).method, [1, 2]), [(11, "T"), (12, "T")]),
    "no other keyword is added": (lambda p: p.apply(tasks.any_keywords, (1,), {"a": 2}), ((1,), ["a", "initret"])),
}

ERRORS = {
    "an exception of the iterable is itself": (lambda p: p.map(tasks.bump, boom(), 1), KeyError),
    "that of an imap too": (lambda p: list(p.imap(tasks.bump, boom())), KeyError),
    "that of an imap in chunks too": (lambda p: list(p.imap_unordered(tasks.bump, boom(), 2)), KeyError),
    "a function that takes no initret": (lambda p: p.apply(tasks.same, (1,)), TypeError),
    "a builtin": (lambda p: p.map(len, ["a"]), TypeError),
    "initret given twice": (lambda p: p.apply(tasks.keyword, (1,), {"initret": 3}), TypeError),
}


@pytest.fixture
def pool():
    with brine.Pool(1, **STATE) as pool:
        yield pool


@pytest.mark.parametrize("call, want", VALUES.values(), ids=VALUES)
def test_values(call, want, pool):
    assert call(pool) == want


@pytest.mark.parametrize("call, error", ERRORS.values(), ids=ERRORS)
def test_errors(call, error, pool):
    with pytest.raises(error):
        call(pool)
    assert pool.apply(tasks.bump, (1,))[:2] == (1, "T")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_all_rules(method):
    with brine.Pool(1, context=multiprocessing.get_context(method), **STATE) as pool:
        assert {name: call(pool) for name, (call, _) in VALUES.items()} == {n: want for n, (_, want) in VALUES.items()}
        for call, error in ERRORS.values():
            with pytest.raises(error):
                call(pool)


def test_one_object_in_one_worker(pool):
    """What a task changes in it stays."""
    seen = [pool.apply(tasks.bump)[2] for _ in range(3)]
    seen += [n for _, _, n, _ in pool.map(tasks.bump, range(4), 2)]
    assert seen == list(range(1, 8))


def test_one_each(tmp_path):
    with brine.Pool(3, **STATE) as pool:
        assert {(tag, own) for _, tag, _, own in pool.map(tasks.bump, range(60), 1)} == {("T", True)}


def test_replaced_worker_runs_the_initializer_again():
    with brine.Pool(1, maxtasksperchild=1, **STATE) as pool:
        assert [pool.apply(tasks.bump)[2] for _ in range(3)] == [1, 1, 1]


def test_worker_that_died_is_replaced_with_state():
    with brine.Pool(1, **STATE) as pool:
        with pytest.raises(brine.CrashError):
            pool.apply(tasks.die_with_state, ())
        assert pool.apply(tasks.bump)[1:3] == ("T", 1)


def test_without_initializer():
    with pytest.raises(ValueError, match="initializer can't be None if expect_initret is True"):
        brine.Pool(1, expect_initret=True)


def test_none_is_handed_over():
    with brine.Pool(1, initializer=tasks.nothing, expect_initret=True) as pool:
        assert pool.apply(tasks.got) is None


def test_off_by_default():
    with brine.Pool(1, initializer=tasks.make_state, initargs=("T",)) as pool:
        assert pool.map(tasks.same, [1, 2]) == [1, 2]
        assert pool.apply(tasks.got) == "unset"


def test_keyword_only():
    """The fourth positional argument is maxtasksperchild, as ever."""
    with brine.Pool(1, tasks.make_state, ("T",), 10) as pool:
        assert pool.apply(tasks.got) == "unset"
    with pytest.raises(TypeError):
        brine.Pool(1, tasks.make_state, ("T",), None, None, True)


def test_need_not_be_picklable(ctx):
    """It never travels."""
    with brine.Pool(2, initializer=tasks.make_socket, expect_initret=True, context=ctx) as pool:
        assert pool.map(tasks.type_of, range(4), 1) == ["tuple"] * 4


def test_lambda_as_initializer():
    with brine.Pool(1, initializer=lambda n: {"n": n}, initargs=(3,), expect_initret=True) as pool:
        assert pool.apply(tasks.got) == {"n": 3}


def test_initializer_that_raises():
    with pytest.raises(ValueError, match="no"):
        brine.Pool(2, initializer=tasks.init_fail, expect_initret=True)
