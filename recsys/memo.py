"""Values that are kept by key, of which the oldest leaves where they are many; several threads may add some at once."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def remember(known: dict[K, V], key: K, value: V, most: int) -> None:
    """Keep a value, and `most` of them, of which the oldest goes first."""
    while len(known) >= most:
        for oldest in list(known)[:1]:  # a list is made at once: an iterator fails when another thread adds a value
            known.pop(oldest, None)
    known[key] = value
