"""What is kept about people is written down, and the page says what the code does."""

import re
from pathlib import Path

import pytest

from recsys.stores.retention import expiry
from serving.stores.kept import KEPT, NOT_OF_PEOPLE, retention_table
from serving.stores.sqlite import schema, vault

PAGE = (Path(__file__).parents[3] / "docs" / "privacy.md").read_text("utf-8")


def test_the_page_holds_the_table_of_the_code() -> None:
    assert "\n".join(retention_table()) in PAGE


def test_every_table_of_the_files_is_accounted_for() -> None:
    created = [*schema.CREATE_STATEMENTS, *(f"{line} of keys" for line in vault.TABLES), f"{vault._ERASED} of keys"]
    names = [
        f"{'keys of people: ' if line.endswith(' of keys') else ''}{found[1]}"
        for line in created
        if (found := re.match(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", line))
    ]
    assert {name for kept in KEPT for name in kept.tables} | set(NOT_OF_PEOPLE) == set(names)
    assert all(kept.days or kept.until for kept in KEPT)


@pytest.mark.parametrize("table", ["deliveries", "tombstones", "forgotten", "decisions", "events", "audit"])
def test_the_days_are_those_after_which_rows_are_deleted(table: str) -> None:
    at, day = 1_795_000_000_000, 86_400_000
    expired = expiry(at, 30 * day)
    before = {
        "deliveries": expired.deliveries, "tombstones": expired.tombstones, "forgotten": expired.cutoffs,
        "decisions": expired.decisions, "events": expired.events, "audit": expired.audit,
    }[table]  # fmt: skip
    [kept] = [kept for kept in KEPT if table in kept.tables]
    assert kept.days == (at - before) // day
