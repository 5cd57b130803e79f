"""Ctrl-C and SIGKILL, to a program that uses a pool: what it prints, and that nothing of it is left."""

import os
import pty
import signal
import sys

import pytest
import scripts
import tasks
import watch

# Says that it works by a file, and then works for ever.
PROGRAM = """
    import functools, multiprocessing, sys, tasks
    import brine

    def main(method, path, way):
        with brine.Pool(2, context=multiprocessing.get_context(method)) as pool:
            call = functools.partial(tasks.append_and_hang, path)
            if way == "map":
                pool.map(call, range(4), 1)
            elif way == "apply":
                pool.apply_async(tasks.append_and_hang, (path, 0))
                pool.apply(tasks.append_and_hang, (path, 1))
            elif way == "imap":
                for x in pool.imap(call, range(100)):
                    print(x)
            elif way == "join":
                pool.map_async(call, range(4), 1)
                pool.close()
                pool.join()

    if __name__ == "__main__":
        main(*sys.argv[1:])
"""


def begin(tmp_path, method, way, **more):
    """Starts the program; returns it with all its processes when both workers work."""
    path = tmp_path / "pids"
    process = scripts.start(scripts.write(tmp_path / "program.py", PROGRAM), method, path, way, **more)
    watch.wait_until(lambda: len(tasks.lines(path)) == 2, 20)
    return process, watch.descendants(process.pid)


def gone(pids):
    watch.wait_until(lambda: not any(watch.alive(pid) for pid in pids))


@pytest.mark.parametrize("way", ["map", "apply", "imap", "join"])
def test_interrupt(way, tmp_path):
    """As a terminal sends it: to the whole group."""
    process, below = begin(tmp_path, "fork", way)
    os.killpg(process.pid, signal.SIGINT)
    status, out, err = scripts.finish(process)
    assert (status, out) == (-signal.SIGINT, "")
    assert err.count("Traceback") == 1 and err.endswith("KeyboardInterrupt\n")
    gone(below)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_interrupt_by_method(method, tmp_path):
    process, below = begin(tmp_path, method, "map")
    os.killpg(process.pid, signal.SIGINT)
    status, _, err = scripts.finish(process)
    assert status == -signal.SIGINT
    # The stdlib's own fork server says KeyboardInterrupt too, where it is in the group.
    assert err.count("KeyboardInterrupt") == 1 or method == "forkserver"
    gone(below)


def test_interrupt_of_every_process(tmp_path):
    """Also sent to the workers, which lead groups of their own, it leaves the word to the program."""
    process, below = begin(tmp_path, "fork", "map")
    for pid in [*below, process.pid]:
        os.kill(pid, signal.SIGINT)
    status, _, err = scripts.finish(process)
    assert status == -signal.SIGINT and err.count("Traceback") == 1
    gone(below)


def test_interrupt_on_a_terminal(tmp_path):
    """The key itself, on a terminal that the program has as its own."""
    path, program = tmp_path / "pids", scripts.write(tmp_path / "program.py", PROGRAM)
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.execve(sys.executable, ["python", str(program), "fork", str(path), "map"], scripts.environment())
        finally:
            os._exit(127)
    with os.fdopen(terminal, "rb", buffering=0) as end:
        watch.wait_until(lambda: len(tasks.lines(path)) == 2, 20)
        below = watch.descendants(pid)
        os.write(terminal, b"\x03")
        seen = b""
        try:
            while more := end.read(4096):
                seen += more
        except OSError:  # what a terminal's other side says for its end
            pass
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT
    assert seen.count(b"Traceback") == 1 and seen.rstrip().endswith(b"KeyboardInterrupt")
    gone(below)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_program_killed(method, tmp_path):
    """No engine and no worker is left, busy as they are."""
    process, below = begin(tmp_path, method, "map")
    assert watch.engines(process.pid)
    process.kill()
    process.communicate()
    gone(below)


def test_program_terminated(tmp_path):
    process, below = begin(tmp_path, "fork", "map")
    process.terminate()
    process.communicate()
    gone(below)


def test_handled_interrupt(tmp_path):
    """A program that catches it goes on with its pool."""
    program = scripts.write(
        tmp_path / "program.py",
        """
        import functools, sys, tasks
        import brine

        pool = brine.Pool(2)
        try:
            pool.map(functools.partial(tasks.append_and_hang, sys.argv[1]), range(2), 1)
        except KeyboardInterrupt:
            print("caught", flush=True)
        pool.terminate()
        pool.join()
        with brine.Pool(2) as pool:
            print(pool.map(tasks.square, range(3)))
        """,
    )
    path = tmp_path / "pids"
    process = scripts.start(program, path)
    watch.wait_until(lambda: len(tasks.lines(path)) == 2, 20)
    os.killpg(process.pid, signal.SIGINT)
    assert scripts.finish(process) == (0, "caught\n[0, 1, 4]\n", "")
