"""A progress bar for maps: tqdm's where it is installed, a plain line otherwise."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, Optional

_EVERY = 0.1  # seconds between two lines on a terminal
_EVERY_IN_A_FILE = 10.0  # where each line stays
_WIDTH = 30


class Progress:
    """The bar of one call, on standard error. add and close may be called from any thread."""

    def __init__(self, name: str, total: Optional[int]) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._bar: Any = None
        try:
            from tqdm.auto import tqdm
        except Exception:
            self._name, self._total, self._done = name, total, 0
            self._file = sys.stderr
            self._terminal = self._file is not None and self._file.isatty()
            self._began = time.monotonic()
            self._shown = self._began if not self._terminal else 0.0
        else:
            self._bar = tqdm(total=total, desc=name, unit="")

    def add(self, count: int) -> None:
        """Say that so many more elements are done."""
        with self._lock:
            if self._closed:
                return
            if self._bar is not None:
                self._bar.update(count)
                return
            self._done += count
            now = time.monotonic()
            if now - self._shown >= (_EVERY if self._terminal else _EVERY_IN_A_FILE):
                self._shown = now
                self._show(now, "\r" if self._terminal else "\n")

    def close(self) -> None:
        """Show where it ended."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._bar is not None:
                self._bar.close()
            else:
                self._show(time.monotonic(), "\n")

    def _show(self, now: float, end: str) -> None:
        if self._file is None:
            return
        rate = self._done / max(now - self._began, 1e-9)
        if self._total:
            part = min(1.0, self._done / self._total)
            bar = "#" * int(part * _WIDTH)
            left = (self._total - self._done) / rate if rate else 0.0
            text = f"{self._name}: {part:4.0%} |{bar:<{_WIDTH}}| {self._done}/{self._total} [{rate:,.0f}/s, {left:.0f} s left]"
        else:
            text = f"{self._name}: {self._done} [{rate:,.0f}/s]"
        try:
            self._file.write(f"{text:<78}{end}")
            self._file.flush()
        except (OSError, ValueError):
            self._file = None  # it was closed; the map goes on
