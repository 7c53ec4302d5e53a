"""
Helplines and the texts of cards: who verified them, and when that goes stale.

A helpline that nobody verified in the last `stale_days` is hidden. A card's text is never hidden: what is missing is
said to the operator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from recsys.policy.schema import Card, Helpline, Market
from recsys.types import JsonObject

CARD_NAMES: Final = ("support", "crisis", "link")
Standing = Literal["verified", "stale", "not yet", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Who verified a helpline or the text of a card, on which day, and what that is worth today."""

    id: str
    kind: Literal["helpline", "card"]
    verified_at: date | None
    verified_by: str | None
    standing: Standing
    days_left: int  # until it goes stale; 0 for what is not verified


def verifications(market: Market, today: date) -> tuple[Verification, ...]:
    """All helplines of a market, then its cards."""
    cards = [(name, getattr(market.cards, name)) for name in CARD_NAMES]
    return (
        *(_verification("helpline", line.id, line, market.stale_days, today) for line in market.helplines),
        *(_verification("card", f"card.{name}", card, market.stale_days, today) for name, card in cards),
    )


def _verification(
    kind: Literal["helpline", "card"], name: str, entry: Helpline | Card, stale_days: int, today: date
) -> Verification:
    standing = _standing(entry, stale_days, today)
    days = 0 if entry.verified_at is None else (today - entry.verified_at).days
    return Verification(
        id=name,
        kind=kind,
        verified_at=entry.verified_at,
        verified_by=entry.verified_by,
        standing=standing,
        days_left=stale_days - days if standing == "verified" else 0,
    )


def _standing(entry: Helpline | Card, stale_days: int, today: date) -> Standing:
    if entry.verified_at is None or not (entry.verified_by or "").strip():
        return "never"
    if entry.verified_at > today:
        return "not yet"  # a date still to come verifies nothing
    return "verified" if (today - entry.verified_at).days <= stale_days else "stale"


def summary(entries: Sequence[Verification]) -> str:
    """How many helplines and card texts count as verified, in one line."""
    of_kind = {kind: [entry.standing for entry in entries if entry.kind == kind] for kind in ("helpline", "card")}
    n_lines, n_texts = (standings.count("verified") for standings in of_kind.values())
    alone = "" if n_lines else " (cards show their text alone)"
    n_all_lines, n_all_texts = (len(standings) for standings in of_kind.values())
    return f"{n_lines} of {n_all_lines} helplines verified{alone}, {n_texts} of {n_all_texts} card texts"


def shown_helplines(market: Market, today: date) -> list[JsonObject]:
    """The helplines that somebody verified in the last `stale_days`, as cards list them."""
    return [_entry(line) for line in market.helplines if _standing(line, market.stale_days, today) == "verified"]


def _entry(line: Helpline) -> JsonObject:
    return {
        "id": line.id,
        "name": dict(line.name),
        "contact": line.contact,
        "hours": line.hours,
        "languages": list(line.languages),
        "for": line.purpose,
    }
