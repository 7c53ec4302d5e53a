"""
Real servers of tests, each started once in a session, on a free port, with its files in a folder that goes away.

In CI they must be there (`TESTS_NEED_SERVERS`, which `.ci/run` sets); elsewhere a test without its server is skipped.
"""

import os
from typing import NoReturn

import pytest


def missing(sentence: str) -> NoReturn:
    """End a test whose server is not installed: with a failure where servers must be there."""
    if os.environ.get("TESTS_NEED_SERVERS"):
        pytest.fail(f"{sentence}; TESTS_NEED_SERVERS says that it must be there")
    pytest.skip(sentence)
