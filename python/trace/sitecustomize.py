"""What `brine trace` puts first on the path of the programs that it starts: an ear at multiprocessing's picklers.

Every Python process that inherits the environment imports this module at start-up, before the program. It replaces
nothing: pools, queues and pipes are the standard library's, and each object is pickled once, as it would be anyway.
"""

from __future__ import annotations

import os
import sys

from _brine_replace import install, load_next

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def listen(module: ModuleType) -> None:
    """Has a module of multiprocessing tell what it pickles. If it isn't as expected, it stays as it is."""
    try:
        from _brine_trace import REPLACE  # now that it is needed

        REPLACE[module.__name__](module)
    except Exception as e:
        _brine_wire.wire.stop(e)


if sys.version_info >= (3, 9) and sys.implementation.name == "cpython":
    import _brine_wire

    if _brine_wire.begin():
        install(dict.fromkeys(_brine_wire.MODULES, listen))
else:
    sys.stderr.write(
        "brine: not traced: that needs CPython 3.9 or newer, and this is "
        f"{sys.implementation.name} {sys.version.split()[0]}\n"
    )
load_next(os.path.dirname(os.path.abspath(__file__)))
