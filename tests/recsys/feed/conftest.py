"""What tests of several stages of a feed share."""

import pytest


@pytest.fixture(scope="session")
def by_tier(tiny):
    """Item ids by tier; None = unlabelled."""
    found = {}
    for row in tiny.items.iter_rows(named=True):
        found.setdefault(row["risk_tier"], []).append(row["item_id"])
    return found
