"""Brine beside other pools of Python: on one machine, in one run, in turn.

    make bench-python                       # all rows
    make bench-python BENCHFLAGS='--short'  # a look: small sizes, one round

The three tables are in Markdown: medians, how many times faster Brine is (the median of the rounds' ratios), and
memory. README.md says what the rows are. Pools that can't be imported are left out, and named.
"""

from __future__ import annotations

import argparse
import glob
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import time
from typing import Any, Callable

import pools
import rows
from pools import POOLS

LIMIT = 180  # seconds for one sample


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", default="", help="rows whose name matches this expression")
    parser.add_argument(
        "--pools",
        default="",
        help="pools whose name matches this expression; brine is always there",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="small sizes, one round")
    parser.add_argument("--json", metavar="FILE", help="write all samples")
    parser.add_argument("--sample", nargs=2, metavar=("ROW", "POOL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sample:
        print(json.dumps(sample(*args.sample, args.short)))
        return 0
    return bench(args)


# One sample, in a process of its own.


def sample(row: str, name: str, short: bool) -> dict[str, float]:
    """Run a row once with a pool, and return the seconds, and the megabytes that all processes together grew by."""
    pool = POOLS[name]()
    before = memory()
    closed = []
    close = pool.close

    def measure_and_close() -> None:
        if not closed:
            closed.append(memory() - before)
            close()

    pool.close = measure_and_close  # type: ignore[method-assign]
    seconds = rows.ROWS[row].run(pool, short)
    pool.close()
    return {"seconds": seconds, "memory": closed[0] / 2**20}


def memory() -> int:
    """Return the memory of this process and all that come from it, shared pages in parts: the sum of their Pss."""
    children: dict[int, list[int]] = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as f:
                pid, rest = f.read().split(" (", 1)
        except OSError:  # it has ended
            continue
        children.setdefault(int(rest.rpartition(") ")[2].split()[1]), []).append(int(pid))
    size, todo = 0, [os.getpid()]
    while todo:
        pid = todo.pop()
        todo.extend(children.get(pid, ()))
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                size += next(int(line.split()[1]) << 10 for line in f if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return size


# All of them.


def bench(args: argparse.Namespace) -> int:
    """Run the rows, and print the tables."""
    there, missing = [], []
    for name, pool in POOLS.items():
        (there if importlib.util.find_spec(pool.module.partition(".")[0]) else missing).append(name)
    wanted = [n for n in there if re.search(args.pools, n) or n.startswith("brine")]
    chosen = [r for r in rows.ROWS if re.search(args.run, r)]
    rounds = 1 if args.short else args.rounds
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}, ",
        end="",
    )
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}, {pools.WORKERS} workers, {rounds} rounds")
    if missing:
        print(f"\nNot importable, and so left out: {', '.join(missing)}.")
    samples: dict[str, dict[str, list[dict[str, float] | None]]] = {}
    errors = []
    for row in chosen:
        samples[row] = {n: [] for n in wanted if not rows.ROWS[row].only or n in rows.ROWS[row].only}
        for i in range(rounds):
            for name, found in samples[row].items():
                progress(f"{row}, round {i + 1}, {name}")
                answer, error = ask(row, name, args.short)
                found.append(answer)
                if error:
                    errors.append(f"{row}, {name}: {error}")
    progress("")
    show(samples, wanted)
    for error in dict.fromkeys(errors):
        print(f"\n- {error}", end="")
    print()
    if args.json:
        with open(args.json, "w") as f:
            json.dump(samples, f, indent=1)
    return 1 if any(None in samples[r][n] for r in samples for n in samples[r] if n.startswith("brine")) else 0


def ask(row: str, name: str, short: bool) -> tuple[dict[str, float] | None, str]:
    """Have a process of its own take a sample; one that fails or hangs costs its own cell."""
    command = [
        sys.executable,
        os.path.abspath(__file__),
        "--sample",
        row,
        name,
        *(["--short"] if short else []),
    ]
    env = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }  # as many cores as workers, for all
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=env,
    ) as process:
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return None, f"no answer within {LIMIT} s"
    if process.returncode != 0:
        lines = err.strip().splitlines()
        return None, lines[-1] if lines else f"exit status {process.returncode}"
    return json.loads(out.splitlines()[-1]), ""


def show(samples: dict[str, dict[str, list[Any]]], names: list[str]) -> None:
    """Print the tables."""

    def median(row: str, name: str, what: str) -> float | None:
        found = [s[what] for s in samples[row].get(name, ()) if s]
        return statistics.median(found) if found else None

    def ratio(row: str, name: str) -> float | None:
        base = POOLS[name].base
        pairs = zip(samples[row].get(name, ()), samples[row].get(base, ()))
        found = [a["seconds"] / b["seconds"] for a, b in pairs if a and b]
        return statistics.median(found) if found and name != base else None

    def figure(row: str, name: str) -> float | None:
        seconds = median(row, name, "seconds")
        return None if seconds is None else seconds * {"ns": 1e9, "µs": 1e6, "ms": 1e3}[rows.ROWS[row].unit]

    peers = [n for n in names if not n.startswith("brine")]
    table("Medians", samples, names, figure, lambda row: rows.ROWS[row].unit)
    table("How many times faster Brine is", samples, peers, ratio)
    table(
        "Memory, what all processes grew by, in MB",
        samples,
        names,
        lambda row, name: median(row, name, "memory"),
    )


def table(
    title: str,
    samples: dict[str, Any],
    names: list[str],
    cell: Callable[[str, str], float | None],
    unit: Callable[[str], str] = lambda row: "",
) -> None:
    """Print a table, one line a row."""
    print(f"\n{title}:\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for row in samples:
        cells = (number(cell(row, name)) for name in names)
        print(f"| {row}{', ' if unit(row) else ''}{unit(row)} | {' | '.join(cells)} |")


def number(x: float | None) -> str:
    """Write a number with three digits that matter."""
    if x is None:
        return ""
    digits = max(0, 2 - len(str(int(abs(x)))) + 1) if abs(x) >= 1 else 3
    return f"{x:.{digits}f}"


def progress(what: str) -> None:
    """Say what is being done, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
