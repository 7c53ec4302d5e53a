"""A page as text for a terminal: a table of its items, its shortfall, and what the windows still admit."""

from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.table import Table

from recsys.console import isolated_lines
from recsys.feed.response import UNKNOWN
from recsys.messages import FeedItem, FeedResponse
from recsys.policy.schema import Market
from recsys.types import Fields

_FIXED: Final = (2, 1, 9, 4)  # cells of the number, the star, the speech and the tier
_TITLE_LINES: Final = 3
_WHY_LINES: Final = 4
_WHY_SHARE: Final = 0.42  # of the cells that the title and the reason have together
_LOCAL: Final[Mapping[str, str]] = {
    "region": "your region",
    "neighbour": "a region next to yours",
    "country": "your country",
    "dialect": "in your dialect",
}
"""How an item is near to the person, by the match of its locality."""
_SHORT_REASONS: Final[Mapping[str, str]] = {
    "similar_people": "people like you valued it",
    "similar_content": "like what you liked",
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
    "published": "not published yet",
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
LANGUAGE_NAMES: Final[Mapping[str, str]] = {
    "ar": "Arabic", "ary": "Darija", "ary-Latn": "Darija in Latin letters", "zgh": "Tamazight", "fr": "French",
    "zgh-Latn": "Tamazight in Latin letters", "en": "English", "arz": "Egyptian", "ars": "Najdi", "afb": "Gulf",
    "rif": "Tarifit", "shi": "Tashelhit", "tzm": "Tamazight",
}  # fmt: skip
_COUNTRY_NAMES: Final[Mapping[str, str]] = {
    "MA": "Morocco", "FR": "France", "EG": "Egypt", "SA": "Saudi Arabia", "AE": "the Emirates", "BE": "Belgium",
    "US": "the United States", "ES": "Spain", "NL": "the Netherlands", "IT": "Italy", "DE": "Germany", "DZ": "Algeria",
    "TN": "Tunisia", "GB": "Britain", "CA": "Canada",
}  # fmt: skip


def page_table(page: FeedResponse, catalogue: Mapping[str, Fields], market: Market, out: Console) -> Table:
    """
    The items of a page as wide as `out` (at least 80 cells), in English: a star marks what is local to the person. A
    title has its English below, where `gloss` is among the fields of the item.

    The reason is shortened; people get whole sentences in their own language.
    """
    for_text = out.width - sum(_FIXED) - len(_FIXED) - 1
    for_why = int(for_text * _WHY_SHARE)
    for_title = for_text - for_why
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    widths = (_FIXED[0], _FIXED[1], for_title, for_why, *_FIXED[2:])
    for name, cells in zip(("", "", "title, and in English", "why it is here", "speech", "tier"), widths, strict=True):
        table.add_column(name, width=cells, no_wrap=True, justify="left" if name else "right")
    for item in page.items:
        fields = catalogue.get(item.item_id, {})
        table.add_row(
            str(item.position),
            "*" if item.locality.match in _LOCAL else "",
            _title(item, fields, for_title, on_terminal=out.is_terminal),
            isolated_lines(why(item, fields, market), for_why, _WHY_LINES, on_terminal=out.is_terminal),
            LANGUAGE_NAMES.get(str(fields.get("dialect") or item.language), item.language or "?"),
            item.tier,
        )
    return table


def _title(item: FeedItem, fields: Fields, width: int, *, on_terminal: bool) -> str:
    texts = [str(fields.get("title") or item.item_id), *([str(fields["gloss"])] if fields.get("gloss") else [])]
    return "\n".join(isolated_lines(text, width, _TITLE_LINES, on_terminal=on_terminal) for text in texts)


def why(item: FeedItem, fields: Fields, market: Market) -> str:
    """Where an item is from, how it is near to the person, the first of its other reasons, and the family of a risk."""
    local = _LOCAL.get(item.locality.match)
    others = (_SHORT_REASONS[reason.code] for reason in item.reasons if reason.code in _SHORT_REASONS)
    first = next(others, None)
    home = f"from {place(fields, market)}"
    family = item.family and item.family.replace("_", " ")
    return "; ".join(part for part in (f"{home}, {local}" if local else home, first, family) if part)


def place(fields: Fields, market: Market) -> str:
    """Where an item's creator, or a person, is: the region's name at home, the country abroad."""
    region, country = fields.get("region"), fields.get("country")
    if isinstance(region, str) and region in market.regions:
        return market.regions[region].name["en"]
    return _COUNTRY_NAMES.get(str(country), str(country or region or "nobody knows where"))


def summary_line(page: FeedResponse) -> str:
    """One line: how many items of each tier, and how many are local or supportive."""
    tiers = [f"{sum(item.tier == tier for item in page.items)} {tier}" for tier in ("R0", "R1", "R2")]
    near = sum(item.locality.match in _LOCAL for item in page.items)
    supportive = sum(item.tier == "R0" and bool(item.topics) for item in page.items)
    return f"{len(page.items)} videos: {', '.join(tiers)}; {near} local (*), {supportive} supportive."


def shared_lines(pages: Mapping[str, FeedResponse]) -> list[str]:
    """How far people's pages differ: for each person how many videos nobody else's page has, and the most shared."""
    ids = {name: {item.item_id for item in page.items} for name, page in pages.items()}
    lines = []
    for name, own in ids.items():
        shared = {other: len(own & theirs) for other, theirs in ids.items() if other != name}
        most = max(shared, key=lambda other: shared[other], default=None)
        alone = len(own.difference(*(theirs for other, theirs in ids.items() if other != name)))
        nearest = f"; it shares most with {most}: {shared[most]}" if most and shared[most] else ""
        lines.append(f"  {name}: {alone} of {len(own)} videos are on no other page{nearest}")
    return lines


def shortfall_lines(page: FeedResponse) -> list[str]:
    """Why a page is short; nothing when it is full."""
    if not page.shortfall.missing:
        return []
    most_first = sorted(page.shortfall.because.items(), key=lambda reason: -reason[1])
    return [
        f"The page is {page.shortfall.missing} short, and nothing is relaxed to fill it. Left out:",
        *(f"  {count:>5,}  {_loss_text(reason)}" for reason, count in most_first if count and reason != UNKNOWN),
    ]


def unknown_line(page: FeedResponse) -> str | None:
    """How many ids of the request nothing is known of: a new user, or a typing error."""
    n_ids = page.shortfall.because.get(UNKNOWN, 0)
    return f"Nothing is known of {n_ids} id{'s' * (n_ids > 1)} that the request names." if n_ids else None


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
