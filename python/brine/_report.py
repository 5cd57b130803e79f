"""The bill as text: who pickled what, how often, how much, how long."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from ._account import CLASSES

_bills: list[dict[str, Any]] = []  # of pools that are over, if they are wanted at the end


def write_report(stats: dict[str, Any], file: TextIO) -> None:
    """Write what ``Pool.stats()`` returned as a table."""
    lines = ["function                       what         dumps     bytes       s      loads     bytes       s"]
    for name, classes in sorted(stats["client"].items()):
        for kind in CLASSES:
            if kind not in classes:
                continue
            cells = []
            for direction in ("dumps", "loads"):
                line = classes[kind].get(direction)
                if line is None:
                    cells.append(f"{'':>7} {'':>9} {'':>7}")
                else:
                    cells.append(f"{line['count']:>7,} {_size(line['bytes']):>9} {line['nanoseconds'] / 1e9:>7.3f}")
            lines.append(f"{name[:30]:<30} {kind:<11} {cells[0]}    {cells[1]}")
    file.write("What this process pickled and unpickled:\n" + "\n".join(lines) + "\n")
    engine = stats["engine"]
    if engine:
        file.write(_engine_text(engine))


def keep_for_the_end(stats: dict[str, Any]) -> None:
    """Keep the account of a pool that is over, if `brine run --report` asked for it in this process."""
    if os.environ.get("BRINE_REPORT") == f"in {os.getpid()}":
        _bills.append(stats)


def report_at_exit() -> None:
    """Print the accounts that were kept on standard error."""
    for i, stats in enumerate(_bills, 1):
        sys.stderr.write(f"\nPool {i} of {len(_bills)}\n")
        write_report(stats, sys.stderr)


def _engine_text(engine: dict[str, Any]) -> str:
    counts = engine.get("counts", {})
    text = ", ".join(f"{n:,} {what}" for what, n in counts.items())
    return f"The engine: {text}\n" if text else ""


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:,.0f} {unit}" if unit == "B" else f"{n:,.1f} {unit}"
        n /= 1000
    return f"{n:,.1f} GB"
