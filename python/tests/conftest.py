"""Fixtures of the Python tests: the pool, start methods, a guard against hanging, and what may not be left behind."""

import faulthandler
import gc
import importlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import time

import pytest
import watch

METHODS = ("fork", "spawn", "forkserver")
LIMIT = 30  # seconds for one test, if its mark `limit` doesn't say otherwise


class Hang(BaseException):
    """The time for a test is up. No Exception, so that what waits in the test doesn't take it for an answer."""


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): the time that the test may take")
    config.addinivalue_line("filterwarnings", "ignore:.*use of fork.*:DeprecationWarning")
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        config.real_stderr = os.fdopen(os.dup(2), "w")


def pytest_unconfigure(config):
    config.real_stderr.close()


def _hung(signum, frame):
    raise Hang("the test takes too long")


@pytest.fixture(autouse=True)
def guard(request):
    """Ends a test that hangs: by an exception, and if that doesn't help by ending everything."""
    mark = request.node.get_closest_marker("limit")
    limit = mark.args[0] if mark else LIMIT
    faulthandler.dump_traceback_later(limit + 15, exit=True, file=request.config.real_stderr)
    before = signal.signal(signal.SIGALRM, _hung)
    signal.alarm(limit)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def Pool():
    """The class to test. BRINE_TEST_POOL=multiprocessing.pool:Pool tests the tests."""
    module, _, name = os.environ.get("BRINE_TEST_POOL", "brine:Pool").partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.fixture(scope="session")
def stdlib_servers():
    """Starts what the standard library starts once for a process and keeps."""
    multiprocessing.resource_tracker.ensure_running()
    multiprocessing.forkserver.ensure_running()


@pytest.fixture(autouse=True)
def leaves_nothing(guard, stdlib_servers, Pool):
    """After each test no process, descriptor, thread or shared memory is left, save the engine and what belongs to it."""
    if not watch.engines():  # so that the engine is there before and after
        with Pool(1) as pool:
            pool.apply(len, (bytes(1 << 20),))
        pool.join()
    gc.collect()
    before = watch.held()
    yield
    end = time.monotonic() + 3
    while True:  # who was terminated and not joined may take a moment
        gc.collect()
        left = watch.held() - before
        if not left or time.monotonic() > end:
            break
        time.sleep(0.02)
    leavings = [what[0] for kind, *what in left if kind == "process"]
    for pid in [*(watch.engines() if leavings else []), *leavings]:  # so that one failure stays one
        os.kill(pid, signal.SIGKILL)
    assert not left


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


@pytest.fixture
def ctx(method):
    """The context of each start method in turn."""
    return multiprocessing.get_context(method)


@pytest.fixture
def pool(Pool):
    """An open pool of two workers."""
    pool = Pool(2)
    yield pool
    pool.terminate()
    pool.join()
