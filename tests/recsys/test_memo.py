"""What is kept by key stays within bounds, whoever else adds to it."""

import sys
from collections.abc import Iterator
from threading import Thread

import pytest

from recsys.memo import remember


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_the_oldest_goes_first():
    known: dict[str, int] = {}
    for number, key in enumerate("abcbd"):
        remember(known, key, number, 3)
    assert known == {"c": 2, "b": 3, "d": 4}


def test_threads_that_remember_at_once_do_not_fail(switching):
    known: dict[tuple[int, int], int] = {}
    failures: list[RuntimeError] = []

    def add(who: int) -> None:
        try:
            for number in range(40_000):
                remember(known, (who, number), number, 8)
        except RuntimeError as error:
            failures.append(error)

    threads = [Thread(target=add, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert 8 <= len(known) <= 8 + len(threads)
