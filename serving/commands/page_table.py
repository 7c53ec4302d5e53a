"""A page as text for a terminal: a table of its items, its shortfall, and what the windows still admit."""

from collections.abc import Mapping
from typing import Final

from rich.table import Table

from recsys.console import isolated
from recsys.messages import FeedItem, FeedResponse
from recsys.policy.schema import Market
from recsys.types import Fields

_PLACE: Final = 13  # cells of a column, as the three below
_REASON: Final = 18
_TIER: Final = (4, 14)  # on a narrow terminal the family is left out
_WIDE: Final = 110  # cells of a terminal that has room for the family
_MIN_TITLE: Final = 16
_SHORT_REASONS: Final[Mapping[str, str]] = {
    "local_region": "your region",
    "local_neighbour": "a region near you",
    "local_country": "your country",
    "local_speech": "your dialect",
    "similar_people": "people like you",
    "similar_content": "like what you like",
    "popular": "valued around you",
    "fresh": "new",
    "followed_creator": "you follow them",
    "supportive": "support and skills",
    "exploration": "something to try",
    "related": "like what you saw",
    "search": "matches the search",
    "listed": "from the list",
    "safe": "the safe list",
}
_LOSSES: Final[Mapping[str, str]] = {
    "hidden": "taken down",
    "tier": "of a tier that this person is never shown",
    "unlabelled": "without a label, and minors only get labelled videos",
    "age": "for older people",
    "seen": "shown in the last 30 days",
    "excluded": "excluded by the request",
    "muted": "muted by this person",
    "language": "in a language this person does not read",
    "surface": "not of this surface",
    "duplicate": "a copy of a video on the page",
    "creator_spacing": "by a creator who already has a share of these 20",
    "pause": "kept for after the pause",
    "busy": "left out: too many pages were asked for at once",
    "ledger": "missing: the ledger did not answer, and this is the safe list",
}


def page_table(page: FeedResponse, catalogue: Mapping[str, Fields], market: Market, width: int) -> Table:
    """
    The items of a page, one line each, `width` cells in all (at least 80).

    The first reason of each, shortened and in English; people get whole sentences in their own language.
    """
    tier = _TIER[width >= _WIDE]
    columns = {"": 2, "creator": 7, "from": _PLACE, "speech": 8, "tier": tier, "why": _REASON}
    for_title = max(_MIN_TITLE, width - sum(columns.values()) - len(columns))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name, cells in {"": 2, "title": for_title, **columns}.items():
        table.add_column(name, width=cells, no_wrap=True, justify="left" if name else "right")
    for item in page.items:
        fields = catalogue.get(item.item_id, {})
        table.add_row(
            str(item.position),
            isolated(str(fields.get("title") or item.item_id), for_title),
            isolated(item.creator_id, columns["creator"]),
            place(fields, market),
            str(fields.get("dialect") or item.language or "?"),
            item.tier if tier < _TIER[1] else tier_of(item),
            next((_SHORT_REASONS.get(reason.code, reason.code) for reason in item.reasons), ""),
        )
    return table


def place(fields: Fields, market: Market) -> str:
    """Where an item's creator is: the region's name at home, the country's code abroad."""
    region, country = fields.get("region"), fields.get("country")
    if isinstance(region, str) and region in market.regions:
        return market.regions[region].name["en"]
    return str(country or region or "unknown")


def tier_of(item: FeedItem) -> str:
    """The tier, with the family of a risky one."""
    return item.tier if item.family is None else f"{item.tier} {item.family.replace('_', ' ')}"


def summary_line(page: FeedResponse) -> str:
    """One line: how many items of each tier, and how many are local or supportive."""
    tiers = [f"{sum(item.tier == tier for item in page.items)} {tier}" for tier in ("R0", "R1", "R2")]
    near = sum(item.locality.match in ("region", "neighbour", "country", "dialect") for item in page.items)
    supportive = sum(item.tier == "R0" and bool(item.topics) for item in page.items)
    return f"{len(page.items)} videos: {', '.join(tiers)}; {near} local, {supportive} supportive."


def shortfall_lines(page: FeedResponse) -> list[str]:
    """Why a page is short; nothing when it is full."""
    if not page.shortfall.missing:
        return []
    most_first = sorted(page.shortfall.because.items(), key=lambda reason: -reason[1])
    return [
        f"The page is {page.shortfall.missing} short, and nothing is relaxed to fill it. Left out:",
        *(f"  {count:>5,}  {_loss_text(reason)}" for reason, count in most_first if count),
    ]


def remaining_line(page: FeedResponse, counter: str) -> str:
    """What the windows of a counter still admit."""
    left = page.safety.remaining.get(counter, {})
    names = {"last_20": "in any 20", "session": "this session", "rolling_24h": "in 24 h", "rolling_7d": "in 7 days"}
    return f"{counter} left: " + ", ".join(f"{left[name]} {text}" for name, text in names.items() if name in left)


def _loss_text(reason: str) -> str:
    kind, _, counter = reason.partition(":")
    if kind == "cap":
        return f"above a cap on {counter}"
    if kind == "gap":
        return f"too soon after the last {counter}"
    return _LOSSES.get(kind, f"for the reason {reason}")
