"""Three hundred SIGKILLs, at any instant, to workers under load: nothing hangs, nothing is wrong, and every failure says why."""

import collections
import contextlib
import itertools
import os
import random
import signal
import threading
import traceback

import pytest
import tasks
import watch

import brine

KILLS = int(os.environ.get("BRINE_KILLS", "300"))
PAYLOAD = bytes(range(256)) * 400  # 100 KB: by the arena; numbers go by the pipe


def right(task, x, value):
    return value == (x if task is tasks.same else x * x)


class Load:
    """Keeps a pool busy from a thread, in every way there is, and judges all that comes."""

    def __init__(self, pool, seed):
        self.pool = pool
        self.random = random.Random(seed)
        self.stop = threading.Event()  # after which it ends with the calls that it has made
        self.outcomes = collections.Counter()
        self.wrong = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def judge(self, get, right):
        try:
            value = get()
        except brine.CrashError as e:
            self.outcomes["crashed"] += 1
            if e.signal != signal.SIGKILL:
                self.wrong.append(e)
        except BaseException:
            self.wrong.append(traceback.format_exc())
        else:
            self.outcomes["right"] += 1
            if not right(value):
                self.wrong.append(value)

    def run(self):
        turns = itertools.cycle([self.singles, self.apply, self.map, self.imap, self.large])
        while not self.stop.is_set():
            next(turns)()

    def singles(self):
        results = [(i, self.pool.apply_async(tasks.square, (i,))) for i in range(30)]
        for i, result in results:
            self.judge(result.get, lambda value, i=i: value == i * i)

    def apply(self):
        for i in range(10):
            self.judge(lambda i=i: self.pool.apply(tasks.square, (i,)), lambda value, i=i: value == i * i)

    def map(self):
        n = self.random.randrange(200)
        self.judge(lambda: self.pool.map(tasks.square, range(n)), lambda v: v == [i * i for i in range(n)])

    def imap(self):
        iterator = self.pool.imap(tasks.square, range(40))
        for i in range(40):
            self.judge(lambda: next(iterator), lambda value, i=i: value == i * i)

    def large(self):
        results = [self.pool.apply_async(tasks.same, (PAYLOAD,)) for _ in range(6)]
        for result in results:
            self.judge(result.get, lambda value: value == PAYLOAD)


@pytest.mark.limit(60)
def test_kills():
    dice, killed, servers = random.Random(5), set(), set(watch.descendants())  # the engine and others that stay
    with brine.Pool(2) as a, brine.Pool(1, retries=1) as b, brine.Pool(2, maxtasksperchild=20) as c:
        loads = [Load(pool, i) for i, pool in enumerate((a, b, c))]
        try:
            while len(killed) < KILLS and not any(load.wrong for load in loads):
                victims = [p for p in watch.descendants() if p not in servers | killed and watch.alive(p)]
                if victims:
                    pid = dice.choice(victims)
                    with contextlib.suppress(ProcessLookupError):  # it may have ended just now, by maxtasksperchild
                        os.kill(pid, signal.SIGKILL)
                        killed.add(pid)
                threading.Event().wait(dice.random() * 0.05)  # any instant
        finally:
            for load in loads:
                load.stop.set()
            watch.wait_until(lambda: not any(load.thread.is_alive() for load in loads))
        assert [load.wrong for load in loads] == [[], [], []]
        assert len(killed) == KILLS
        assert all(load.outcomes["right"] for load in loads) and loads[0].outcomes["crashed"]
        for pool in (a, b, c):
            assert pool.map(tasks.square, range(20), 1) == [i * i for i in range(20)]
