"""What the workers are given to do. A module of its own, so that every pool can send its functions by name.

A function with `initret` gets what was given to the worker when it started: from Brine as that keyword, from the other
pools by one of the wrappers at the end.
"""

from __future__ import annotations

import array
from collections import defaultdict
from typing import Any


def nop(x: Any) -> Any:
    """Return what came: an empty task, and for large things an echo."""
    return x


def total(array: Any) -> float:
    """Look at one element of each page."""
    return float(array[::512].sum())


def look_up(n: int, initret: Any = None) -> Any:
    """Look something up in what the worker was given."""
    return initret[n]


def add_up(numbers: list[int], initret: Any = None) -> int:
    """Add numbers to those in fixed data: what seed 003's task does."""
    return sum(initret[n] + n for n in numbers)


class Converter:
    """Seed 000's: it holds the binary digits of many numbers."""

    def __init__(self, size: int) -> None:
        self.digits = {n: format(n, "b").encode() for n in range(size)}

    def convert(self, n: int) -> array.array[int]:
        """Return the digits of a number."""
        return array.array("B", self.digits[n])


# mpire's numerical computation.


def filter_image(image: Any, kernel: Any) -> Any:
    """Filter an image, and return every fifth point in both directions."""
    from scipy.signal import convolve2d

    return convolve2d(image, kernel)[::5, ::5]


def filter_state(kernel: Any, initret: Any = None) -> Any:
    """Filter the image that the worker was given."""
    return filter_image(initret, kernel)


# mpire's stateful computation.


class Prefixes:
    """Counts the prefixes of the words of all documents that it is shown."""

    def __init__(self) -> None:
        self.count: defaultdict[bytes, int] = defaultdict(int)

    def update(self, document: list[bytes]) -> None:
        """Count a document."""
        for word in document:
            for i in range(1, len(word)):
                self.count[word[:i]] += 1

    def popular(self) -> set[bytes]:
        """Return the prefixes that came more than three times."""
        return {prefix for prefix, n in self.count.items() if n > 3}


def count_document(document: list[bytes], initret: Any = None) -> None:
    """Count a document in the worker's own Prefixes."""
    initret.update(document)


def count_in_manager(counter_and_document: Any) -> None:
    """Count a document in a Prefixes that a manager process has."""
    counter, document = counter_and_document
    counter.update(document)


def count_until_end(queue: Any) -> Prefixes:
    """Make a worker's Prefixes, whose popular ones go to the queue when the worker ends."""
    from multiprocessing import util

    prefixes = Prefixes()
    util.Finalize(None, lambda: queue.put(prefixes.popular()), exitpriority=20)
    return prefixes


# mpire's expensive initialization. The model is a stand-in for Keras: inflating its file is what takes time.


class Model:
    """A network of two dense layers and the pictures it is tried on, read from a compressed file."""

    def __init__(self, path: str) -> None:
        import numpy as np

        with np.load(path) as file:
            self.first, self.second, self.pictures = (
                file["first"],
                file["second"],
                file["pictures"],
            )

    def predict(self) -> Any:
        """Return the class of each picture."""
        import numpy as np

        return (np.maximum(self.pictures @ self.first, 0) @ self.second).argmax(axis=1)


def predict_loading(path: str, n: int) -> Any:
    """Load the model, and predict: the way that is published for pools without worker state."""
    return Model(path).predict() + n


def predict(n: int, initret: Any = None) -> Any:
    """Predict with the worker's model."""
    return initret.predict() + n


# Ways to hand worker state to pools that don't do it.

_state: Any = None


def keep(make: Any, *args: Any) -> None:
    """Initialize a worker: make its state and keep it in a global."""
    global _state
    _state = make(*args)


def with_global(function: Any, x: Any) -> Any:
    """Call a function with the global."""
    return function(x, initret=_state)


def with_shared(function: Any, shared: Any, x: Any) -> Any:
    """Call a function with what mpire hands to all tasks."""
    return function(x, initret=shared)


def with_worker_state(function: Any, state: dict[str, Any], x: Any) -> Any:
    """Call a function with what mpire's worker_init left in the worker's dictionary."""
    return function(x, initret=state["state"])
