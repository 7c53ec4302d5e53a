"""The first page of docs/safety.md says what runs: its caps are those of the policy file that ships."""

import re
from pathlib import Path
from typing import Final

import pytest

from recsys.policy.checks import load_market
from recsys.policy.schema import AgeRules, Market

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = (ROOT / "docs" / "safety.md").read_text("utf-8").split("## What Sanad promises")[0]
BANDS: Final = ("18+", "16-17", "13-15", "under_13")


@pytest.fixture(scope="module")
def market() -> Market:
    return load_market(ROOT / "policies" / "morocco.yaml")


def cells(start: str) -> list[str]:
    """The cells of the row that begins so, without the first."""
    row = next(line for line in PAGE.split("\n") if line.startswith(f"| {start}"))
    return [cell.strip() for cell in row.strip("|").split("|")[1:]]


def numbers(cell: str) -> list[int]:
    """The caps in a cell; none and never are a cap of 0."""
    return [0] if cell in ("none", "never") else [int(number) for number in re.findall(r"\d+", cell)]


def caps(rules: AgeRules, tier: str, windows: tuple[str, ...], level: int = 0) -> list[int]:
    """The caps of a band at a loop level; one 0 where there is nothing to deliver."""
    base, tightened = rules.windows[tier], rules.levels[level].windows.get(tier) if level else None
    values = [getattr(tightened or base, name) for name in windows]
    return [0] if tier in rules.blocked_tiers or not any(values) else values


@pytest.mark.parametrize(
    ("row", "tier", "windows", "level"),
    [
        ("R2: ", "R2", ("last_20",), 0),
        ("R2 in a session", "R2", ("session", "rolling_24h", "rolling_7d"), 0),
        ("R2 at loop level 1", "R2", ("rolling_24h", "rolling_7d"), 1),
        ("R2 at loop level 2", "R2", ("rolling_24h", "rolling_7d"), 2),
        ("R1: ", "R1", ("rolling_24h", "rolling_7d"), 0),
    ],
)
def test_the_caps_are_those_of_the_policy(
    market: Market, row: str, tier: str, windows: tuple[str, ...], level: int
) -> None:
    expected = [caps(market.ages[band], tier, windows, level) for band in BANDS]
    assert [numbers(cell) for cell in cells(row)] == expected


def test_ages_nights_and_pauses_are_those_of_the_policy(market: Market) -> None:
    assert [cell == "never" for cell in cells("videos that nobody labelled")] == [
        market.ages[band].labelled_only for band in BANDS
    ]
    assert ["choice" in cell for cell in cells("at night")] == [market.ages[band].night.needs_choice for band in BANDS]
    minutes = [market.ages[band].daily_minutes for band in BANDS]
    assert [int(cell.split()[1]) if cell != "none" else None for cell in cells("a pause")] == minutes
    assert f"{market.loop.clean_days} clean days" in " ".join(PAGE.split())
    assert f"minors after {market.loop.clean_days_minor}" in " ".join(PAGE.split())


def test_what_is_open_is_open(market: Market) -> None:
    """Whoever closes a row corrects the page."""
    cards = (market.cards.support, market.cards.crisis, market.cards.link)
    n_helplines, n_cards = (sum(e.verified_at is not None for e in entries) for entries in (market.helplines, cards))
    assert f"{n_helplines} of {len(market.helplines)} helplines and {n_cards} of {len(cards)} card texts" in PAGE
    assert ("no clinician has accepted" in PAGE) == (market.signed_off is None)
    assert f"within {market.review_hours} hours" in PAGE
