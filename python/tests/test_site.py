"""What `brine run` puts first on PYTHONPATH: `site/sitecustomize.py`, with a stub in brine's place."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parent.parent / "site"

# A brine whose Pool says what it was made with, and which wants the standard library's Pool for itself.
STUB = """
import multiprocessing.pool
from multiprocessing.pool import Pool as Stock
assert Stock.__module__ == "multiprocessing.pool", Stock

class Pool:
    def __init__(self, *args, context=None, **more):
        self.made = (args, context and context.get_start_method(), more)

def _report_at_exit():
    import os, sys
    print("the bill" if os.environ["BRINE_REPORT"] == f"in {os.getpid()} {{}}" else os.environ, file=sys.stderr)
"""


@pytest.fixture
def run(tmp_path):
    """Runs a program as brine run does, and gives its output."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "brine.py").write_text(STUB)

    def run(program, *path, **env):
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(program))
        path = os.pathsep.join(map(str, (SITE, stub, *path)))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BRINE", "PYTHON"))}
        return subprocess.run(
            [sys.executable, script],
            env={**inherited, "PYTHONPATH": path, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def output(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


NAMES = {
    "multiprocessing.Pool": ("import multiprocessing", "multiprocessing.Pool"),
    "from multiprocessing": ("from multiprocessing import Pool", "Pool"),
    "multiprocessing.pool.Pool": ("import multiprocessing.pool", "multiprocessing.pool.Pool"),
    "from multiprocessing.pool": ("from multiprocessing.pool import Pool", "Pool"),
    "star": ("from multiprocessing.pool import *", "Pool"),
    "spawn context": ("import multiprocessing", "multiprocessing.get_context('spawn').Pool"),
    "fork context": ("from multiprocessing import context", "context._concrete_contexts['fork'].Pool"),
    "managers": ("from multiprocessing import managers, pool", "managers.pool.Pool"),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_way_to_a_pool_leads_to_ours(run, name):
    header, pool = NAMES[name]
    done = run(f"{header}\np = {pool}(3, print, (1,), 7)\nprint(type(p).__module__, p.made[0])")
    assert output(done) == ["brine (3, <built-in function print>, (1,), 7)"]


def test_contexts_say_which_they_are_and_keywords_pass(run):
    done = run("""
        import multiprocessing
        for m in "fork", "spawn", "forkserver":
            print(*multiprocessing.get_context(m).Pool(1, expect_initret=True).made[1:])
        multiprocessing.set_start_method("forkserver", force=True)
        print(multiprocessing.Pool(processes=2).made)
    """)
    assert output(done) == [
        "fork {'expect_initret': True}",
        "spawn {'expect_initret': True}",
        "forkserver {'expect_initret': True}",
        "((2, None, (), None), 'forkserver', {})",
    ]


def test_thread_pools_are_the_standard_librarys(run):
    done = run("""
        from multiprocessing.pool import ThreadPool
        from multiprocessing import dummy, get_context
        for p in ThreadPool(2), dummy.Pool(2):
            with p:
                print(type(p).__module__, type(p).__mro__[1].__module__, p.map(abs, [-1, 2]), list(p.imap(abs, [-3])))
    """)
    assert output(done) == ["multiprocessing.pool multiprocessing.pool [1, 2] [3]"] * 2


def test_a_program_may_put_its_own_in_place(run):
    done = run("""
        import multiprocessing.pool
        from unittest import mock
        with mock.patch("multiprocessing.pool.Pool", 5):
            print(multiprocessing.pool.Pool)
        print(multiprocessing.pool.Pool.__module__)
    """)
    assert output(done) == ["5", "brine"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_have_it_too(run, method):
    done = run(f"""
        import multiprocessing

        def child():
            import multiprocessing.pool
            print(type(multiprocessing.Pool()).__module__, multiprocessing.pool.Pool.__module__, flush=True)

        if __name__ == "__main__":
            multiprocessing.set_start_method({method!r})
            p = multiprocessing.Process(target=child)
            p.start()
            p.join()
    """)
    assert output(done) == ["brine brine"]


def test_children_of_subprocess_have_it_too(run):
    done = run("""
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "import multiprocessing as m; print(type(m.Pool()).__module__)"])
    """)
    assert output(done) == ["brine"]


def test_nothing_is_imported_before_it_is_needed(run):
    done = run("""
        import sys
        print([m for m in ("brine", "multiprocessing", "importlib.util") if m in sys.modules])
        import multiprocessing.pool
        print([m for m in ("brine",) if m in sys.modules])
    """)
    assert output(done) == ["[]", "[]"]


def test_what_was_imported_before_is_replaced(run, tmp_path):
    done = run("""
        import runpy, sys
        for name in [m for m in sys.modules if m.startswith("multiprocessing")]:
            del sys.modules[name]
        sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ReplaceAfterImport"]
        import multiprocessing.pool
        print(multiprocessing.pool.Pool.__module__)
        del sys.modules["sitecustomize"]
        import sitecustomize
        print(multiprocessing.pool.Pool.__module__, type(multiprocessing.Pool()).__module__)
    """)
    assert output(done) == ["multiprocessing.pool", "brine brine"]


def test_the_users_sitecustomize_is_loaded(run, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('own', __name__, __file__)\nvalue = 3\n")
    done = run("import sitecustomize; print(sitecustomize.value)", own)
    assert output(done) == [f"own sitecustomize {own / 'sitecustomize.py'}", "3"]


def test_a_users_sitecustomize_that_fails_harms_nothing(run, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("1 / 0\n")
    done = run("import multiprocessing; print(type(multiprocessing.Pool()).__module__)", own)
    assert output(done) == ["brine"]
    assert "ZeroDivisionError" in done.stderr


FORKS = """
    import multiprocessing, os, subprocess, sys

    def child():
        import brine

    if __name__ == "__main__":
        multiprocessing.Pool()
        subprocess.run([sys.executable, "-c", "import brine"])
        if os.fork() == 0:
            sys.exit()
        os.wait()
        for m in "fork", "spawn":
            p = multiprocessing.get_context(m).Process(target=child)
            p.start()
            p.join()
"""


def test_the_first_process_alone_reports(run):
    done = run(FORKS, BRINE_REPORT="{}")
    assert output(done) == []
    assert done.stderr == "the bill\n"


def test_no_report_unless_asked_for(run):
    assert run(FORKS).stderr == ""


def test_a_report_that_fails_leaves_the_exit_status(run):
    done = run("import brine; brine._report_at_exit = None; raise SystemExit(3)", BRINE_REPORT="{}")
    assert done.returncode == 3
    assert done.stderr == "brine: no report: TypeError: 'NoneType' object is not callable\n"
