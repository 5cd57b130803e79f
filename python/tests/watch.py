"""What runs and what is held, as /proc has it: for tests about processes."""

import collections
import os
import re
import threading
import time


def wait_until(condition, seconds=10):
    """Waits until condition() is true, and returns what it returned; after so many seconds it fails."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.01)
    return value


def stat(pid):
    """The fields of /proc/pid/stat behind the name (state, parent, group, session...), None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return None


def alive(pid):
    """Is it there, and no zombie?"""
    fields = stat(pid)
    return fields is not None and fields[0] not in "ZX"


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _processes():
    return {int(name): fields for name in os.listdir("/proc") if name.isdigit() if (fields := stat(name))}


def descendants(pid=None):
    """The processes that descend from this one (or pid), zombies too."""
    children = collections.defaultdict(list)
    for child, fields in _processes().items():
        children[int(fields[1])].append(child)
    found, rest = [], [pid or os.getpid()]
    while rest:
        rest += (more := children[rest.pop()])
        found += more
    return found


def session(sid):
    """The processes of a session, zombies left out."""
    return [pid for pid, fields in _processes().items() if int(fields[3]) == sid and fields[0] not in "ZX"]


def engines(pid=None):
    """The engine of this process (or pid): a list, for there may be none."""
    return [p for p in descendants(pid) if is_engine(p) and alive(p) and int(stat(p)[1]) == (pid or os.getpid())]


def is_engine(pid):
    return re.search(r"(^|/)brine engine\b", cmdline(pid)) is not None


def _stays(pid):
    """Does this process belong to the client for as long as it lives?"""
    line = cmdline(pid)
    return is_engine(pid) or "multiprocessing.forkserver" in line or "multiprocessing.resource_tracker" in line


def held():
    """All that this process holds and that a pool may not leave behind, counted."""
    kinds = collections.Counter()
    for pid in descendants():
        if not _stays(pid):
            kinds["process", pid, cmdline(pid)] += 1
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
            if "/pym-" not in target:  # multiprocessing's heap of Values and Arrays, which it keeps
                kinds["descriptor", re.sub(r"\d+", "#", target)] += 1
        except OSError:  # the one of the listing itself
            pass
    for thread in threading.enumerate():
        if thread.name != "tqdm_monitor":  # which tqdm keeps
            kinds["thread", re.sub(r"\d+", "#", thread.name)] += 1
    for name in os.listdir("/dev/shm"):
        if "brine" in name:  # others have theirs there
            kinds["shared memory", name] += 1
    return kinds
