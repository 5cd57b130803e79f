"""Runs programs that a test writes, each in a session of its own, of which nothing may be left."""

import os
import signal
import subprocess
import sys
import textwrap

import watch

HERE = os.path.dirname(os.path.abspath(__file__))


def environment(**more):
    """That of this process, with the way to what it imports."""
    path = [HERE, *(p for p in sys.path if p)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1", **more}


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


def start(*argv, **more):
    """Starts Python with arguments, in a new session, with pipes for its standard output and error."""
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    more.setdefault("env", environment())
    return subprocess.Popen([sys.executable, *map(str, argv)], start_new_session=True, text=True, **more)


def finish(process, stdin=None):
    """Waits for its end, and makes sure that nothing of it is left; returns exit status, output and error."""
    try:
        out, err = process.communicate(stdin, timeout=25)
        # The stdlib's resource tracker and fork server end by themselves, a moment later.
        watch.wait_until(lambda: not watch.session(process.pid), 5)
        return process.returncode, out, err
    finally:
        for pid in watch.session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def run(*argv, **more):
    return finish(start(*argv, **more))
