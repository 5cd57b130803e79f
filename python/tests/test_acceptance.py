"""The programs that any pool must pass, where there are any: BRINE_ACCEPTANCE names the directory that holds them."""

import os
import subprocess
import sys

import pytest
import scripts

DIRECTORY = os.environ.get("BRINE_ACCEPTANCE", "")
METHODS = ("fork", "spawn", "forkserver")

pytestmark = [
    pytest.mark.skipif(not DIRECTORY, reason="BRINE_ACCEPTANCE is not set"),
    pytest.mark.limit(300),
]


def accept(program, *argv):
    """Runs a program on brine:Pool; returns what it printed, and fails with it."""
    path = os.path.join(DIRECTORY, program)
    done = subprocess.run(
        [sys.executable, path, "brine:Pool", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=scripts.environment(),
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("method", METHODS)
def test_suite_of_cpython(method):
    accept("cpython_pool_suite.py", *"--groups pool,extra,main --leaks-fail -v -j 2 --start-method".split(), method)


def test_suite_of_cpython_in_a_manager():
    accept("cpython_pool_suite.py", *"--types manager --leaks-fail -v -j 2".split())


@pytest.mark.parametrize("method", METHODS)
def test_bound_method(method):
    accept("seeds/seed000_bound_method.py", "--cache", "1024", "--iter", "2000", "--start-method", method)


@pytest.mark.parametrize("method", METHODS)
def test_initret(method):
    out = accept("seeds/seed001_initret.py", *"--records 500 --ints 2000 --bits 8 --start-method".split(), method)
    assert "rules: 21 of 21" in out


@pytest.mark.parametrize("method", METHODS)
def test_what_is_pickled(method):
    accept("seeds/seed002_what_is_pickled.py", "--items", "20", "--init-mb", "1", "--start-method", method)


@pytest.mark.parametrize("method", METHODS)
def test_fixed_data(method):
    accept("seeds/seed003_fixed_data.py", "--max-ints", "100000", "--start-method", method)


@pytest.mark.parametrize("method", METHODS)
def test_closures(method):
    out = accept("seeds/seed004_closures.py", "--start-method", method)
    assert "silent" not in out.splitlines()[-1]
