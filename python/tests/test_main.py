"""Programs whose functions are in __main__, in all the ways that a program can be started, and how programs end."""

import textwrap
import zipfile

import pytest
import scripts

SOURCE = textwrap.dedent("""
    import multiprocessing
    import sys
    POOL

    def square(x):
        return x * x

    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        with Pool(2) as pool:
            print(pool.map(square, range(4)), pool.apply(lambda: 5))
        print(multiprocessing.get_start_method())
""")


@pytest.fixture
def source(Pool):
    return SOURCE.replace("POOL", f"from {Pool.__module__.partition('.')[0]} import Pool", 1)


def script(source, path):
    (path / "program.py").write_text(source)
    return [path / "program.py"]


def no_suffix(source, path):
    (path / "program").write_text(source)
    return [path / "program"]


def directory(source, path):
    (path / "__main__.py").write_text(source)
    return [path]


def module(source, path):
    (path / "program.py").write_text(source)
    return ["-m", "program"]


def package(source, path):
    (path / "program").mkdir()
    (path / "program" / "__init__.py").write_text("")
    (path / "program" / "__main__.py").write_text(source)
    return ["-m", "program"]


def zipped(source, path):
    with zipfile.ZipFile(path / "program.zip", "w") as z:
        z.writestr("__main__.py", source)
    return [path / "program.zip"]


@pytest.mark.parametrize("form", [script, no_suffix, directory, module, package, zipped])
def test_forms(form, source, method, tmp_path):
    argv = form(source, tmp_path)
    status, out, err = scripts.run(*argv, method, cwd=tmp_path)
    assert (out, err, status) == (f"[0, 1, 4, 9] 5\n{method}\n", "", 0)


def test_command(source, method, tmp_path):
    """Where spawned workers of the stdlib's find no function, and it hangs."""
    assert scripts.run("-c", source, method, cwd=tmp_path) == (0, f"[0, 1, 4, 9] 5\n{method}\n", "")


def test_standard_input(source, method, tmp_path):
    """The stdlib's spawned processes look for a file <stdin>, so nothing can work there; but it must say so."""
    status, out, err = scripts.finish(scripts.start("-", method, cwd=tmp_path, stdin=-1), source)
    if method == "fork":
        assert (out, err, status) == (f"[0, 1, 4, 9] 5\n{method}\n", "", 0)
    else:
        assert status == 1 and "<stdin>" in err


CLASSES = """
    import multiprocessing, sys
    from brine import Pool

    class Point:
        def __init__(self, x):
            self.x = x

        def moved(self, by):
            return Point(self.x + by)

    class Problem(Exception):
        pass

    def fail(x):
        raise Problem(x)

    def x_of(point):
        return point.x

    if __name__ == "__main__":
        with Pool(2, context=multiprocessing.get_context(sys.argv[1])) as pool:
            print(pool.map(x_of, [Point(1), Point(2)]))
            print([type(p) is Point and p.x for p in pool.map(Point(1).moved, range(3))])
            try:
                pool.apply(fail, (1,))
            except Problem as e:
                print(e.args)
"""


@pytest.mark.parametrize("form", [script, directory, module])
def test_classes(form, method, tmp_path):
    """Methods, arguments, results and errors of classes that are in __main__, which is not always in the workers."""
    if form is directory and method != "fork":
        pytest.skip("spawn does not run the __main__.py of a directory in its children; the stdlib's pool hangs there")
    argv = form(textwrap.dedent(CLASSES), tmp_path)
    status, out, err = scripts.run(*argv, method, cwd=tmp_path)
    assert (out, err, status) == ("[1, 2]\n[1, 2, 3]\n(1,)\n", "", 0)


# How programs end that don't close their pools. {end} is run last, in the main block.
ENDING = """
    import multiprocessing, sys, tasks
    from brine import Pool

    def main():
        global pool, result
        multiprocessing.set_start_method(sys.argv[1])
        pool = Pool(2)
        print(pool.map(tasks.square, range(4)), flush=True)
        {end}

    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize(
    "end, want",
    {
        "pass": 0,
        "pool.close()": 0,
        "pool.terminate()": 0,
        "result = pool.map_async(tasks.hang_in_python, range(4))": 0,
        "result = pool.imap(tasks.hang_in_c, range(4))": 0,
        "del globals()['pool']": 0,
        "sys.exit(5)": 5,
        "1 / 0": 1,
        "__import__('os')._exit(6)": 6,
    }.items(),
)
def test_program_ends(end, want, tmp_path):
    status, out, err = scripts.run(scripts.write(tmp_path / "program.py", ENDING.format(end=end)), "fork")
    assert (status, out) == (want, "[0, 1, 4, 9]\n")
    assert err == "" or want == 1 and err.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("end", ["pass", "result = pool.map_async(tasks.hang_in_python, range(4))"])
def test_program_ends_spawned(end, tmp_path):
    status, out, err = scripts.run(scripts.write(tmp_path / "program.py", ENDING.format(end=end)), "spawn")
    assert (status, out, err) == (0, "[0, 1, 4, 9]\n", "")


def test_output_of_workers(method, tmp_path):
    """What workers print is where the program's own output is, also what they have not flushed at their end."""
    program = scripts.write(
        tmp_path / "program.py",
        r"""
        import multiprocessing, sys
        from brine import Pool

        def say(i):
            sys.stdout.write(f"out {i}\n")
            sys.stderr.write(f"err {i}\n")

        if __name__ == "__main__":
            pool = Pool(2, context=multiprocessing.get_context(sys.argv[1]))
            pool.map(say, range(6), 1)
            pool.close()
            pool.join()
        """,
    )
    status, out, err = scripts.run(program, method)
    assert status == 0
    assert sorted(out.splitlines()) == [f"out {i}" for i in range(6)]
    assert sorted(err.splitlines()) == [f"err {i}" for i in range(6)]


def test_functions_made_late(method, tmp_path):
    """Made in __main__, or put into a module, after the pool was: workers don't have them."""
    program = scripts.write(
        tmp_path / "program.py",
        """
        import multiprocessing, sys, types
        from brine import Pool

        if __name__ == "__main__":
            with Pool(2, context=multiprocessing.get_context(sys.argv[1])) as pool:
                def late(x):
                    return x + 1

                module = sys.modules["made"] = types.ModuleType("made")
                exec("def later(x): return x + 2", vars(module))
                print(pool.map(late, range(3)))
                print(pool.map(module.later, range(3)))
        """,
    )
    assert scripts.run(program, method) == (0, "[1, 2, 3]\n[2, 3, 4]\n", "")


def test_default_start_method(tmp_path):
    """A pool without a context takes that of the program."""
    program = scripts.write(
        tmp_path / "program.py",
        """
        import multiprocessing, tasks
        import brine

        if __name__ == "__main__":
            multiprocessing.set_start_method("spawn")
            with brine.Pool(1) as pool:
                print(pool.apply(tasks.identity)["name"])
        """,
    )
    assert scripts.run(program) == (0, "SpawnPoolWorker\n", "")


def test_engine_that_is_not_there(tmp_path):
    """The error says what was looked for."""
    program = scripts.write(tmp_path / "program.py", "import brine\nbrine.Pool(1)\n")
    status, _, err = scripts.run(program, env=scripts.environment(BRINE_ENGINE="/nowhere/brine"))
    assert status == 1
    assert "/nowhere/brine" in err.splitlines()[-1]


def test_import_starts_nothing():
    program = "import brine, os, threading; print(threading.active_count(), os.listdir('/proc/self/task') == [str(os.getpid())])"
    assert scripts.run("-c", program) == (0, "1 True\n", "")


def test_module_names():
    """What is the stdlib's stays the stdlib's."""
    import concurrent.futures
    import multiprocessing
    import multiprocessing.pool
    import pickle

    import brine

    assert brine.ThreadPool is multiprocessing.pool.ThreadPool
    assert brine.TimeoutError is multiprocessing.TimeoutError
    for error, bases in {
        brine.CrashError: (multiprocessing.ProcessError,),
        brine.TaskTimeoutError: (multiprocessing.TimeoutError, TimeoutError),
        brine.CancelledError: (concurrent.futures.CancelledError,),
        brine.PoolClosedError: (ValueError, multiprocessing.ProcessError),
        brine.EngineError: (Exception,),
        brine.SendError: (pickle.PicklingError, TypeError, AttributeError),
        brine.SizeWarning: (Warning,),
    }.items():
        assert all(issubclass(error, base) for base in bases)
