"""
Creators, and the places of their items: evidence with a source, and the rule for evidence that contradicts itself.

Sources, strongest first: `partner` (a partner checked), `platform`, `declared` (by the creator), `inferred`. Of two
places the one with the stronger source holds. If two sources are equally strong and name different countries, the place
is unknown: neither local nor foreign to anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recsys.clock import Millis
from recsys.languages import lookup_all
from recsys.types import Fields

EVIDENCE_SOURCES: Final = ("none", "inferred", "declared", "platform", "partner")
"""Weakest first; tables hold the position. `vocabulary.PLACE_SOURCES` has the same words, strongest first."""
UNKNOWN_COUNTRY: Final = "ZZ"
_SIZES: Final = (
    (1_000, "0 to 999 followers"),
    (10_000, "1,000 to 9,999 followers"),
    (100_000, "10,000 to 99,999 followers"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    """
    The fields of a creator that locality, spacing and lists read. None = unknown.

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
class EvidencedPlace:
    """
    A country and a region with the source of each (a position in `EVIDENCE_SOURCES`). The region may have a weaker
    source: a creator whom a partner checked may declare that a video is from another region.
    """

    country: str | None = None
    region: str | None = None
    source: int = 0
    region_source: int = 0


UNKNOWN_PLACE: Final = EvidencedPlace()


def creator_size(followers: int | None) -> str | None:
    """The size of a creator in words, as reports name it; None where the followers are unknown."""
    if followers is None:
        return None
    return next((name for limit, name in _SIZES if followers < limit), "100,000 followers and more")


def creator_place(creator: Creator) -> EvidencedPlace:
    """Where a creator lives. Without a source, `is_verified` counts as a partner's check."""
    source = creator.place_source or ("partner" if creator.is_verified else "declared")
    return _place_from(creator.country, creator.region, EVIDENCE_SOURCES.index(source))


def declared_place(item: Fields) -> EvidencedPlace:
    """The place that an item declares; without a source it counts as declared."""
    return _place_from(
        item.get("country"), item.get("region"), EVIDENCE_SOURCES.index(item.get("place_source") or "declared")
    )


def _place_from(country: str | None, region: str | None, source: int) -> EvidencedPlace:
    """A place from one source. A region of another country is ignored."""
    country = country or _country_of(region)
    if country in (None, UNKNOWN_COUNTRY):
        return UNKNOWN_PLACE
    own_region = region if _country_of(region) == country else None
    return EvidencedPlace(country, own_region, source, source if own_region else 0)


def resolve_place(declared: EvidencedPlace, home: EvidencedPlace) -> EvidencedPlace:
    """The place of an item, from what it declares and from its creator's home."""
    if declared.country is None or home.country is None:
        return home if declared.country is None else declared
    if declared.country != home.country:
        if declared.source == home.source:
            return UNKNOWN_PLACE
        return max(declared, home, key=lambda place: place.source)
    source = max(declared.source, home.source)
    if declared.region is None or declared.region == home.region:
        return EvidencedPlace(declared.country, home.region, source, max(declared.region_source, home.region_source))
    return EvidencedPlace(
        declared.country, declared.region, source, declared.region_source
    )  # a video may be from elsewhere in the country


def _country_of(region: str | None) -> str | None:
    return region.partition("-")[0] if region else None


def index_creators(rows: Sequence[Fields]) -> Mapping[str, Creator]:
    """Rows of the creators table by creator_id."""
    return {row["creator_id"]: creator_from_row(row) for row in rows}


def creator_from_row(row: Fields) -> Creator:
    """One row of the creators table, in the contract's columns."""
    return Creator(
        creator_id=row["creator_id"],
        country=None if row.get("country") == UNKNOWN_COUNTRY else row.get("country"),
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
