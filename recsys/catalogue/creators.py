"""
Creators, and where what they make is from: evidence with a source, and what to believe when it contradicts itself.

Sources, strongest first: `partner` (somebody checked), `platform`, `declared` (the creator says so), `inferred`. Of two
places the one with the stronger source holds. Two of equal strength that name different countries say nothing: the
place is unknown, neither local nor foreign to anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from recsys.clock import Millis
from recsys.languages import lookup_all

SOURCES: Final = ("none", "inferred", "declared", "platform", "partner")
"""Weakest first; tables hold the position."""
NOWHERE: Final = "ZZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    """
    What locality, spacing and the lists need to know of a creator. None = unknown.

    `audience` is the country that most of the audience lives in, by the platform's count.
    """

    creator_id: str
    country: str | None = None
    region: str | None = None
    languages: tuple[str, ...] = ()
    kind: str | None = None
    is_verified: bool = False
    place_source: str | None = None
    audience: str | None = None
    followers: int | None = None
    joined_at: Millis | None = None
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """
    A country and a region with the source of each (a position in `SOURCES`). A region may be known less surely than
    its country: a creator whom a partner checked may say that a video is from another region.
    """

    country: str | None = None
    region: str | None = None
    source: int = 0
    region_source: int = 0


UNKNOWN: Final = Place()


def base_of(creator: Creator) -> Place:
    """Where a creator lives. `is_verified` is a partner's word, where no source is given."""
    source = creator.place_source or ("partner" if creator.is_verified else "declared")
    return _place(creator.country, creator.region, SOURCES.index(source))


def declared_place(item: Mapping[str, Any]) -> Place:
    """Where an item says it is from; somebody's word, unless its source is given."""
    return _place(item.get("country"), item.get("region"), SOURCES.index(item.get("place_source") or "declared"))


def _place(country: str | None, region: str | None, source: int) -> Place:
    """A place as one source says it. A region of another country than the one it names says nothing."""
    country = country or _country_of(region)
    if country in (None, NOWHERE):
        return UNKNOWN
    known = region if _country_of(region) == country else None
    return Place(country, known, source, source if known else 0)


def joined(said: Place, base: Place) -> Place:
    """What to believe of an item: its own place and its creator's base."""
    if said.country is None or base.country is None:
        return base if said.country is None else said
    if said.country != base.country:
        if said.source == base.source:
            return UNKNOWN
        return max(said, base, key=lambda place: place.source)
    source = max(said.source, base.source)
    if said.region is None or said.region == base.region:
        return Place(said.country, base.region, source, max(said.region_source, base.region_source))
    return Place(said.country, said.region, source, said.region_source)  # a video may be from elsewhere in the country


def _country_of(region: str | None) -> str | None:
    return region.partition("-")[0] if region else None


def creators_of(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Creator]:
    """Rows of the creators table by creator_id."""
    return {row["creator_id"]: creator_of(row) for row in rows}


def creator_of(row: Mapping[str, Any]) -> Creator:
    """One row of the creators table, in the contract's columns."""
    return Creator(
        creator_id=row["creator_id"],
        country=None if row.get("country") == NOWHERE else row.get("country"),
        region=row.get("region"),
        languages=lookup_all(row.get("languages") or ()),
        kind=row.get("kind"),
        is_verified=bool(row.get("verified")),
        place_source=row.get("place_source"),
        audience=row.get("audience"),
        followers=row.get("followers"),
        joined_at=row.get("joined_at"),
        is_hidden=bool(row.get("is_hidden")),
    )
