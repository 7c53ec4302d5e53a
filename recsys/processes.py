"""Work on many values in several processes, which share what is loaded already."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Final, TypeVar, cast

from recsys.errors import StageError

T = TypeVar("T")
R = TypeVar("R")

_MIN_EACH: Final = 4  # chunks for a process: for fewer it is not worth starting one
_WORK: list[Callable[..., object]] = []
"""What a process that was forked does with a chunk: it holds an engine, which no message could."""


def in_processes(
    work: Callable[[Sequence[T]], R], values: Sequence[T], chunk: int, n_processes: int | None = None
) -> Iterator[R]:
    """
    `work` of each chunk of values, in order. What `work` raises is raised here; StageError where a process was killed.

    Processes are copies of this one as it is now (Linux); by default as many as it may use processors. They have none
    of its threads: `work` must need no lock that one may hold. What `work` changes is lost. Where nothing is gained,
    this process does all.
    """
    chunks = [values[start : start + chunk] for start in range(0, len(values), chunk)]
    n = min(n_processes or _n_processors(), len(chunks) // _MIN_EACH)
    if n < 2:
        yield from map(work, chunks)
        return
    _WORK.append(work)
    pool = ProcessPoolExecutor(n, multiprocessing.get_context("fork"))
    try:
        with _interrupts_held():
            results = pool.map(_do, chunks)  # starts the processes
        yield from cast("Iterator[R]", results)
    except BrokenProcessPool as error:
        raise StageError("found a process killed, as when memory runs out; free some, and try again") from error
    finally:
        pool.shutdown(cancel_futures=True)
        _WORK.pop()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """
    Ctrl-C reaches every process of a terminal. Those that are started here never see it: they keep the mask of signals
    under which they start, and the process that started them ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _n_processors() -> int:
    """How many this process may use; 1 where it cannot be copied."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _do(values: Sequence[object]) -> object:
    return _WORK[-1](values)
