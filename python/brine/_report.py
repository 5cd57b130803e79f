"""The bill as text, as JSON, as a page or as a timeline. The engine's program writes them, for Go and Python alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Optional

from ._account import Account, bill
from .errors import EngineError

_kept: list[tuple[Account, Optional[bytes]]] = []  # of pools that are over, if they are wanted at the end

WANTED = "BRINE_REPORT"
"""The variable by which `brine run` has the process that it names in it write its pools' bills at its end."""


def render(bills: list[dict[str, Any]], *flags: str) -> str:
    """Return what the program makes of bills: text, or what flags ask for."""
    from ._engine import find

    document = {"version": 1, "program": sys.argv, "source": "run", "bills": bills}
    done = subprocess.run(
        [find(), "bill", *flags, "-"], input=json.dumps(document), capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        why = done.stderr.strip() or f"the status is {done.returncode}"
        raise EngineError(why if why.startswith("brine: ") else f"brine: the bill could not be written: {why}")
    return done.stdout


def is_wanted() -> bool:
    """Say whether `brine run` wants the bills of this process's pools."""
    return os.environ.get(WANTED, "").startswith(f"in {os.getpid()} ")


def keep_for_the_end(account: Account, engine: Optional[bytes]) -> None:
    """Keep the account of a pool that is over, if `brine run --report` asked for it in this process."""
    if is_wanted():
        _kept.append((account, engine))


def report_at_exit() -> None:
    """Write the accounts that were kept, as the variable says: text on standard error, and files."""
    wanted = json.loads(os.environ[WANTED].split(" ", 2)[2])
    bills = [bill(*kept) for kept in _kept]
    if not bills:
        sys.stderr.write("brine: the program made no pool\n")
    if wanted.pop("text") and bills:
        sys.stderr.write("\n" + render(bills, "--text"))
    if wanted:
        sys.stderr.write(render(bills, *[f"--{name}={path}" for name, path in wanted.items()]))
