"""The worker's arena, where large results lie until the client has no use for them any more.

This module knows leases: a place is free when its number is in the word of its slot, which the other side writes. It
doesn't know what a result is.
"""

from __future__ import annotations

import mmap
from collections import deque
from typing import Any, Optional

from . import _payload as payload
from ._arena import Arena
from ._outbox import JOURNAL_SIZE, size_of
from ._wire import PLACE

SLOTS = 4096
LEASES_SIZE = 4 * SLOTS
_LOOK = 64  # how many places are looked at each time that one is wanted


class Lent:
    """The arena behind the journal of the shared memory at memory, with the leases at the beginning of that at leases."""

    def __init__(self, memory: int, leases: int) -> None:
        size_of(leases, LEASES_SIZE)
        self._arena = Arena(memory, JOURNAL_SIZE, size_of(memory, JOURNAL_SIZE))
        m = mmap.mmap(leases, LEASES_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(m).cast("I")
        self._numbers: list[int] = []  # by slot, of the last lease
        self._vacant: list[int] = []
        self._held: deque[tuple[int, int]] = deque()  # slots and offsets

    def store(self, data: Any) -> Optional[tuple[int, bytes]]:
        """Store a payload. Return its length and the place, as in an item, or None if there is no room."""
        if self._arena.size == self._arena.base:
            return None
        self._collect(_LOOK)
        place = payload.store(data, self._arena)
        if place is None:
            self._collect(len(self._held))
            place = payload.store(data, self._arena)
            if place is None:
                return None
        off, length = place
        slot = self._slot()
        if slot < 0:
            self._arena.free(off)
            return None
        number = self._numbers[slot] = (self._numbers[slot] + 1) & 0xFFFFFFFF
        self._held.append((slot, off))
        return length, PLACE.pack(off, slot, number)

    def _slot(self) -> int:
        if not self._vacant:
            if len(self._numbers) < SLOTS:
                self._numbers.append(0)
                return len(self._numbers) - 1
            self._collect(len(self._held))
        return self._vacant.pop() if self._vacant else -1

    def _collect(self, most: int) -> None:
        """Take back what the other side has let go of, of the places that were not looked at for longest."""
        held = self._held
        for _ in range(min(most, len(held))):
            slot, off = held.popleft()
            if self._words[slot] == self._numbers[slot]:
                self._vacant.append(slot)
                self._arena.free(off)
            else:
                held.append((slot, off))
