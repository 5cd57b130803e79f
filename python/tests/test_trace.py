"""`brine trace`: programs that use the standard library's pools, queues and pipes, and the bill of what they pickled."""

import collections
import glob
import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import scripts
import watch

METHODS = ("fork", "spawn", "forkserver")
BRINE = os.environ.get("BRINE_ENGINE", "brine")


class Traced:
    """A program under `brine trace`, in a session of its own, with a directory of its own for temporary files."""

    def __init__(self, tmp_path, text, *argv, **more):
        self.tmp = tmp_path
        self.temporary = tmp_path / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.json = tmp_path / "bill.json"
        self.script = scripts.write(tmp_path / "program.py", text)
        self.env = scripts.environment(TMPDIR=str(self.temporary), PYTHONPATH="")
        command = [BRINE, "trace", f"--json={self.json}", "--python", sys.executable, str(self.script), *argv]
        self.process = subprocess.Popen(
            command,
            env=self.env,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **more,
        )

    def collectors(self):
        """The collector's process, and that which starts it."""
        mark = f'"root":{self.process.pid},'.encode()
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as f:
                    if mark in f.read():
                        found.append(int(path.split("/")[2]))
            except OSError:
                pass
        return found

    def finish(self):
        try:
            code, out, err = scripts.finish(self.process)
            watch.wait_until(lambda: not self.collectors(), 10)
            assert not glob.glob(str(self.temporary / "brine-trace-*"))
        finally:
            for pid in self.collectors():
                os.kill(pid, signal.SIGKILL)
        bill = None
        if self.json.exists() and self.json.stat().st_size:
            (bill,) = json.loads(self.json.read_text())["bills"]
        return SimpleNamespace(code=code, out=out, err=err, bill=bill)


@pytest.fixture
def trace(tmp_path):
    def run(text, *argv, **more):
        return Traced(tmp_path, text, *argv, **more).finish()

    return run


@pytest.fixture
def start(tmp_path):
    def start(text, *argv, **more):
        return Traced(tmp_path, text, *argv, **more)

    return start


def lines(bill, **wanted):
    return [x for x in bill["lines"] if all(x.get(k) == v for k, v in wanted.items())]


def encodes(bill, **wanted):
    return sum(x["encode"]["count"] for x in lines(bill, **wanted))


def assert_adds_up(bill):
    """Every byte that was pickled is on one line, over all and in each process."""
    for way in "encode", "decode":
        for p in bill["processes"]:
            assert sum(x[way]["bytes"] for x in p["lines"]) == p[way]["bytes"], p["name"]
        assert sum(x[way]["bytes"] for x in bill["lines"]) == sum(p[way]["bytes"] for p in bill["processes"])
    assert all(x["function"] for x in bill["lines"]), bill["lines"]


# What a pool sends. The function object says itself how often it was pickled.

COUNTED = """
    import multiprocessing, os, sys

    class Func:
        def __init__(self):
            self.weight = b"y" * 10000
        def __call__(self, x):
            return x + 1
        def __reduce__(self):
            os.write(1, b"+")
            return Func, (), self.__dict__

    if __name__ == "__main__":
        method, call = sys.argv[1:]
        with multiprocessing.get_context(method).Pool(4) as pool:
            f, xs = Func(), range(100)
            got = eval(call)
"""
CALLS = {
    "pool.map(f, xs)": 15,
    "pool.map(f, xs, 1)": 100,
    "pool.starmap(f, [(x,) for x in xs])": 15,
    "pool.map_async(f, xs, 50).get()": 2,
    "list(pool.imap(f, xs))": 100,
    "list(pool.imap_unordered(f, xs, 10))": 10,
    "[r.get() for r in [pool.apply_async(f, (x,)) for x in xs]]": 100,
    "pool.apply(f, (1,))": 1,
}


@pytest.mark.parametrize("call", CALLS)
def test_function_is_counted_as_often_as_it_is_pickled(trace, call, method):
    if method != "fork" and not call.startswith("pool.map(f"):
        pytest.skip("the same with each start method")
    done = trace(COUNTED, method, call)
    assert done.code == 0, done.err
    assert done.out == "+" * CALLS[call]  # and by nobody a second time
    assert_adds_up(done.bill)
    (line,) = lines(done.bill, **{"class": "function", "function": "Func"})
    assert line["encode"]["count"] == line["decode"]["count"] == CALLS[call]
    assert line["encode"]["max_path"] == ".weight"
    assert line["site"] == "<string>:1" or line["site"].startswith("program.py:")
    tasks = 1 if "apply(" in call else 100
    assert done.bill["counts"]["done"] == sum(p["tasks"] for p in done.bill["processes"]) == tasks
    if CALLS[call] > 1:
        (repeat,) = done.bill["repeats"]
        assert (repeat["class"], repeat["path"], repeat["count"]) == ("function", "", CALLS[call])


EVERYTHING = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    def double(x):
        return x + x

    def child(queue, pipe, simple):
        while (x := queue.get()) is not None:
            pipe.send(x)  # send
            simple.put([x])  # simple

    if __name__ == "__main__":
        context = multiprocessing.get_context("fork")
        queue, simple = context.Queue(), context.SimpleQueue()
        here, there = context.Pipe()
        process = context.Process(target=child, args=(queue, there, simple), name="my child")
        process.start()
        for x in ("a", None):
            queue.put(x)  # put
        print(here.recv(), simple.get())
        process.join()
        with context.Manager() as manager:
            d = manager.dict()
            d.update(x=1)  # update
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            print(executor.submit(double, 3).result())  # submit
            print(list(executor.map(double, [1, 2])))  # executor's map
            print(list(executor.map(double, [1, 2, 3], chunksize=2)))  # its chunks
        with context.Pool(1) as pool:
            print(pool.map(double, [1]))  # map
            print(pool.apply(double, "x"))  # apply
"""


def test_sites(trace):
    done = trace(EVERYTHING)
    assert done.code == 0, done.err
    assert done.out.splitlines() == ["a ['a']", "6", "[2, 4]", "[2, 4, 6]", "[2]", "xx"]
    assert_adds_up(done.bill)
    places = {f"program.py:{i}": row.partition("  # ")[2] for i, row in enumerate(EVERYTHING.splitlines(), 1)}
    found = {(x["function"], x["class"], places.get(x.get("site"))): x for x in done.bill["lines"]}
    for *key, count in [
        ("Connection.send", "message", "send", 1),
        ("SimpleQueue.put", "message", "simple", 1),
        ("Queue.put", "message", "put", 2),
        ("DictProxy.update", "message", "update", 1),
        ("double", "function", "submit", 1),
        ("double", "argument", "executor's map", 2),
        ("double", "result", "its chunks", 2),
        ("double", "function", "map", 1),
        ("double", "result", "apply", 1),
    ]:
        line = found[tuple(key)]
        assert line["encode"]["count"] == line["decode"]["count"] == count, key
    names = collections.Counter(p["name"].rstrip("0123456789") for p in done.bill["processes"])
    assert names == {"parent": 1, "my child": 1, "SyncManager-": 1, "ForkProcess-": 2, "ForkPoolWorker-": 1}
    assert "ProcessPoolExecutor" in done.bill["instead"]


def test_initializers(trace, method):
    done = trace(
        """
        import multiprocessing, sys

        def initialize(data):
            pass

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            with context.Pool(3, initialize, (b"z" * 5000,)) as pool:
                pool.map(abs, range(3), 1)
                pool.close()
                pool.join()
        """,
        method,
    )
    assert done.code == 0, done.err
    assert_adds_up(done.bill)
    found = lines(done.bill, **{"class": "initializer"})
    if method == "fork":
        assert not found
        return
    (line,) = found
    assert (line["function"], line["site"], line["encode"]["count"]) == ("initialize", "program.py:9", 3)
    assert 5000 < line["encode"]["max"] < 5200
    assert "once in place of 3" in done.bill["instead"]


# What changes.


def test_function_that_changes_within_a_call(trace):
    done = trace("""
        import multiprocessing

        class Model:
            def __init__(self):
                self.limit, self.table = 1, list(range(500))
            def run(self, x):
                return x

        def items():
            for x in range(4):
                model.limit = 7 if x == 2 else model.limit
                yield x

        if __name__ == "__main__":
            model = Model()
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(sum(pool.imap(model.run, items())))
    """)
    assert done.out == "6\n", done.err
    (change,) = done.bill["changes"]
    assert change["path"] == ".__self__.limit"
    assert change["text"] == "1, then 7, within one call"
    assert (change["count"], change["versions"], change["site"]) == (4, 2, "program.py:18")
    assert any(
        a.startswith("The .__self__.limit in the function of Model.run at program.py:18 changed")
        for a in done.bill["advice"]
    )


ARGUMENT = """
    import multiprocessing

    def f(x, config):
        return 1

    if __name__ == "__main__":
        config = {config}
        with multiprocessing.get_context("fork").Pool(1) as pool:
            for i in range(4):
                {change}
                pool.apply(f, (i, config))
"""
CHANGES = {
    "a small dictionary": ("{'limit': 0, 'more': []}", "config['limit'] = i // 2", "[1]['limit']", "0, then 1"),
    "a large one": ("{'limit': 0, 'more': list(range(1000))}", "config['limit'] = i // 2", "[1]['limit']", "0, then 1"),
    "what is added": ("{'more': [1]}", "config['x'] = 'new' if i else config.pop('y', 0)", None, None),
    "the same": ("{'limit': 0}", "pass", None, None),
    "new ones": ("None", "config = {'limit': i}", None, None),
    "new large ones": ("None", "config = [i] * 1000", None, None),
    "new objects": ("None", "config = multiprocessing.ProcessError(i)", None, None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_argument_that_changes(trace, name):
    config, change, path, text = CHANGES[name]
    done = trace(ARGUMENT.format(config=config, change=change))
    assert done.code == 0, done.err
    found = [(c["path"], c["text"]) for c in done.bill.get("changes", [])]
    if name == "what is added":
        path, text = "[1]['x']", '0, then "new"'
    assert found == ([(path, text)] if path else [])


# The program's own output, status and end.

ENDS = {
    "exit status": "sys.exit(7)",
    "message": "sys.exit('enough')",
    "exception": "1 / 0",
    "os._exit": "sys.stdout.flush(); os._exit(5)",
    "end": "",
    "SIGTERM": "sys.stdout.flush(); os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)",
    "SIGINT": "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)",
}


@pytest.mark.parametrize("end", ENDS)
def test_output_and_status_are_the_programs(trace, end, tmp_path):
    text = f"""
        import multiprocessing, os, signal, sys, time

        def child(x):
            os.write(1, b"child\\n")
            return bytes([x]) * 3

        if __name__ == "__main__":
            pool = multiprocessing.get_context("fork").Pool(1)
            sys.stdout.buffer.write(b"".join(pool.map(child, [1, 2, 100])) + b"\\n")
            pool.close()
            pool.join()
            print("error", file=sys.stderr, flush=True)
            {ENDS[end]}
    """
    script = scripts.write(tmp_path / "program.py", text)
    code, out, err = scripts.run(script)
    done = trace(text)
    assert (done.code, done.out) == (code, out)
    assert done.err.startswith(err.split("\n")[0])
    assert encodes(done.bill, function="child", **{"class": "argument"}) == 3
    assert "program.py: 3 tasks done" in done.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_signals_from_outside(start, number):
    t = start("""
        import multiprocessing, os, time

        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(1) as pool:
                one = pool.apply(abs, (-1,))
                print(one, flush=True)
                time.sleep(30)  # and not in the pool's code, which can lose a KeyboardInterrupt
    """)
    assert t.process.stdout.readline() == "1\n"
    os.kill(t.process.pid, number)
    if number == signal.SIGKILL:
        for pid in watch.session(t.process.pid):  # the workers, which would wait for ever
            os.kill(pid, signal.SIGKILL)
    done = t.finish()
    assert done.code == -number
    assert encodes(done.bill, function="abs", **{"class": "function"}) == 1
    assert "program.py: 1 task done" in done.err


def test_no_process_between(start):
    t = start("""
        import os
        print(os.getpid())
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("no children")
    """)
    done = t.finish()
    assert done.out.split("\n") == [str(t.process.pid), "no children", ""]
    assert (
        done.err
        == f"brine: {t.script} pickled nothing: it started no process by multiprocessing, and sent none anything.\n"
    )


SURVIVES = """
    import multiprocessing, os, signal, sys

    if __name__ == "__main__":
        {before}
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(abs, range(3)), flush=True)
            os.read(int(sys.argv[1]), 1)
            print(pool.map(abs, range(3)))
        sys.exit(3)
"""


@pytest.mark.parametrize("before", ["pass", "signal.signal(signal.SIGPIPE, signal.SIG_DFL)"])
def test_collector_that_dies(start, before):
    r, w = os.pipe()
    t = start(SURVIVES.format(before=before), str(r), pass_fds=(r,))
    os.close(r)
    assert t.process.stdout.readline() == "[0, 1, 2]\n"
    for pid in t.collectors():
        os.kill(pid, signal.SIGKILL)
    watch.wait_until(lambda: not t.collectors())
    os.write(w, b"x")
    os.close(w)
    done = t.finish()
    assert (done.code, done.out) == (3, "[0, 1, 2]\n")
    assert done.bill is None
    assert done.err
    assert all(line.startswith("brine: ") for line in done.err.splitlines()), done.err


def test_threads_and_handlers_of_signals(trace):
    done = trace("""
        import itertools, signal, threading
        from multiprocessing.connection import Pipe

        sent = itertools.count()

        def send(times):
            here, there = Pipe()
            for _ in range(times):
                here.send("x" * 1000)
                next(sent)
                there.recv()

        def handler(*_):
            send(1)
            signal.setitimer(signal.ITIMER_REAL, 0.001)  # the next only now: handlers may interrupt handlers

        if __name__ == "__main__":
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            threads = [threading.Thread(target=send, args=(300,)) for _ in range(3)]
            for t in threads:
                t.start()
            send(500)
            for t in threads:
                t.join()
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            print(next(sent))
    """)
    assert done.code == 0, done.err
    assert encodes(done.bill, function="Connection.send") == int(done.out) > 1400
    assert_adds_up(done.bill)


def test_handler_that_raises(trace):
    done = trace("""
        import multiprocessing, signal

        class Alarm(Exception):
            pass

        def handler(*_):
            raise Alarm

        if __name__ == "__main__":
            signal.signal(signal.SIGALRM, handler)
            sent = raised = 0
            while raised < 30:
                here, there = multiprocessing.Pipe()
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.005)
                    while True:
                        here.send(bytes(100000))
                        sent += 1
                        there.recv()
                except Alarm:
                    raised += 1
            print(sent)
    """)
    assert done.code == 0, done.err
    assert done.err.count("brine: ") == 0, done.err
    assert int(done.out) <= encodes(done.bill, function="Connection.send") <= int(done.out) + 30


def test_descriptors_that_the_program_closes(trace):
    done = trace("""
        import multiprocessing, os

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            a, b = context.Pipe()
            a.send(1)
            os.closerange(3, 100)
            files = [open(f"file{i}", "w+b") for i in range(20)]  # where the sockets were
            a, b = context.Pipe()
            a.send(2)
            print(b.recv(), [os.path.getsize(f.name) for f in files if os.path.getsize(f.name)])
            os.closerange(3, 100)
            os._exit(0)
    """)
    assert done.code == 0, done.err
    assert encodes(done.bill, function="Connection.send") == 2


# Processes of processes.


def test_processes_of_processes(trace):
    done = trace("""
        import multiprocessing, os, subprocess, sys

        def child():
            with multiprocessing.get_context("fork").Pool(1) as pool:
                pool.map(abs, [1])

        if __name__ == "__main__":
            process = multiprocessing.get_context("spawn").Process(target=child)
            process.start()
            process.join()
            code = "from multiprocessing import Pipe; a, b = Pipe(); a.send('x'); print(b.recv())"
            subprocess.run([sys.executable, "-c", code])
            if os.fork() == 0:
                sys.exit()  # runs what is registered with atexit
            os.wait()
            a, b = multiprocessing.Pipe()
            a.send(1)
            print(b.recv())
    """)
    assert (done.code, done.out) == (0, "x\n1\n"), done.err
    assert_adds_up(done.bill)
    names = collections.Counter(p["name"].rstrip("0123456789:") for p in done.bill["processes"])
    assert names == {"parent": 1, "SpawnProcess-": 1, "ForkPoolWorker-": 1, "process": 1}
    assert encodes(done.bill, function="abs", **{"class": "function"}) == 1
    assert [x["site"] for x in lines(done.bill, function="Connection.send")] == ["<string>:1", "program.py:18"]


def test_worker_that_dies(trace):
    done = trace("""
        import os
        from concurrent.futures import ProcessPoolExecutor

        if __name__ == "__main__":
            with ProcessPoolExecutor(1) as executor:
                try:
                    executor.submit(os._exit, 3).result()
                except Exception as e:
                    print(type(e).__name__)
    """)
    assert done.out == "BrokenProcessPool\n", done.err
    assert done.bill["counts"]["deaths"] == 1
    (died,) = [e for e in done.bill["events"] if e["kind"] == "died"]
    assert died["text"] in ("exit status 3", "")
    (chunk,) = done.bill["chunks"]
    assert chunk["lost"] == "the worker ended before it answered"


def test_chunks(trace, method):
    done = trace(COUNTED, method, "pool.map(f, xs)")
    workers = {p["pid"] for p in done.bill["processes"][1:]}
    (parent,) = {c["parent"] for c in done.bill["chunks"]}
    assert parent == done.bill["processes"][0]["pid"]
    assert len(done.bill["chunks"]) == 15
    assert sum(c["tasks"] for c in done.bill["chunks"]) == 100
    for c in done.bill["chunks"]:
        assert c["worker"] in workers
        at = c["encode"]["begin_ns"]
        for name in "encode", "send", "decode", "run", "reencode", "back":
            assert c[name]["begin_ns"] >= at >= 0, name
            at = c[name]["begin_ns"] + c[name]["ns"]
        assert at <= done.bill["elapsed_ns"]


@pytest.mark.skipif("BRINE_ACCEPTANCE" not in os.environ, reason="BRINE_ACCEPTANCE is not set")
def test_acceptance(method, tmp_path):
    program = os.path.join(os.environ["BRINE_ACCEPTANCE"], "seeds", "seed002_what_is_pickled.py")
    name = tmp_path / "bill.json"
    done = subprocess.run(
        [BRINE, "trace", f"--json={name}", "--python", sys.executable, program, "multiprocessing:Pool"]
        + ["--init-mb", "1", "--start-method", method],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (bill,) = json.loads(name.read_text())["bills"]
    assert_adds_up(bill)
    says = [int(row.split("func")[1].split()[0]) for row in done.stdout.splitlines() if " func " in row and "->" in row]
    found = sorted((x["site"], x["encode"]["count"]) for x in lines(bill, function="Func", **{"class": "function"}))
    assert [n for _, n in found] == says
    assert says[2:4] == [15, 100]
