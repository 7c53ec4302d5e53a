"""Several processes give what one gives, in the same order."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import DataError, StageError
from recsys.processes import in_processes


def doubled(values: Sequence[int]) -> list[int]:
    return [2 * value for value in values]


@settings(max_examples=10)
@given(st.lists(st.integers(), max_size=60), st.integers(1, 7), st.integers(1, 3))
def test_they_give_what_one_gives(values: list[int], chunk: int, n: int) -> None:
    found = list(in_processes(doubled, values, chunk, n))
    assert found == [doubled(values[start : start + chunk]) for start in range(0, len(values), chunk)]


def test_work_is_done_by_others_and_not_worth_it_for_few() -> None:
    def who(values: Sequence[int]) -> int:
        return os.getpid()

    assert os.getpid() not in set(in_processes(who, range(100), 1, 2))
    assert set(in_processes(who, range(7), 1, 2)) == {os.getpid()}


def test_what_they_raise_is_raised_here() -> None:
    def refuse(values: Sequence[int]) -> None:
        if 50 in values:
            raise DataError("found 50, expected less")

    with pytest.raises(DataError, match="found 50"):
        list(in_processes(refuse, range(100), 1, 2))


def test_one_that_is_killed_is_said_and_not_waited_for() -> None:
    def end(values: Sequence[int]) -> None:
        if 50 in values:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(StageError, match="memory"):
        list(in_processes(end, range(100), 1, 2))


INTERRUPTED = """
import os, time
from recsys.processes import in_processes

def work(values):
    os.write(1, b"at work\\n")
    time.sleep(0.2)
    return values

list(in_processes(work, range(1000), 1, 2))
"""


def test_an_interrupt_ends_all_of_them() -> None:
    """Ctrl-C goes to every process of a terminal. One that died of it took its part with it, and the other waited."""
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline() == b"at work\n"
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert said.count(b"KeyboardInterrupt") == 1  # nothing of the others
