"""The command `brine` of an installed package, and `python -m brine`: runs the program that came with it."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Become the bundled program, or in a checkout the one that BRINE_ENGINE names."""
    bundled = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_bin", "brine")
    program = bundled if os.path.exists(bundled) else os.environ.get("BRINE_ENGINE")
    if not program:
        sys.exit(
            f"brine: there is no program at {bundled}: install the package with pip, which builds it, "
            "or name one by BRINE_ENGINE"
        )
    try:
        os.execv(program, ["brine", *sys.argv[1:]])
    except OSError as e:
        sys.exit(f"brine: {program} can't be run: {e.strerror}")


if __name__ == "__main__":
    main()
