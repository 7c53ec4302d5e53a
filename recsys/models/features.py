"""
What the learned ranker may know of a request and an item: the one feature function of training and serving.

It is given an `Asked`, which has no place for a tier, a loop level, a ledger or the night, so that none of them can
become a feature. Of risk it knows nothing: items of R2 and above are neither learned from nor predicted, and no
positive reaction to them is in a history (`feedback.learnables`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.clock import DAY, Millis
from recsys.models.popularity import Popularity
from recsys.types import Floats, History, Ids, Space
from recsys.user.feedback import decays
from recsys.vocabulary import TOPICS

RATES: Final = ("complete", "like", "helped")
FIRST: Final = np.float32(1.0)
"""The position that is asked for: every candidate is predicted as if it stood first."""

_OF_ITEM: Final = (
    *(f"item_{name}" for name in RATES),
    *(f"creator_{name}" for name in RATES),
    "age_days",
    "duration_s",
)
_OF_PERSON: Final = ("events", "mean_weight")
_OF_BOTH: Final = (
    "popular",
    "is_first_language",
    "is_understood",
    "is_same_country",
    "is_same_region",
    "liked_creator",
    "liked_topics",
    "liked_language",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """
    What is known of every item of an artifact beside its vectors; n rows each, in the order of its items.

    `creator`, `language`, `country`, `region` are codes of this artifact, 0 = unknown; `topics` (n, 12) 0 or 1;
    `duration_s` NaN = unknown. `codes` gives the code of a language, country or region.
    """

    published_at: NDArray[np.int64]
    duration_s: Floats
    creator: Ids
    language: Ids
    country: Ids
    region: Ids
    topics: Floats
    codes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """Who asks, and when. `vectors` are the person's places in the spaces, without those that do not know them."""

    country: str | None
    region: str | None
    languages: tuple[str, ...]
    at: Millis
    history: History
    vectors: Mapping[str, Floats]


class Scored(Protocol):
    """A space with scores that can be compared between people, see `model.RankedSpace`."""

    @property
    def space(self) -> Space:
        """The space itself."""
        ...

    def scores(self, vector: Floats, rows: Ids) -> Floats:
        """(n,) standardised scores of artifact rows; NaN for what the space does not know."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """What features are computed from, beside the request. `rates` (n_items, 6): of the item, then of its creator."""

    spaces: Mapping[str, Scored]
    popularity: Popularity
    facts: Facts
    rates: Floats


def names_of(spaces: Iterable[str]) -> tuple[str, ...]:
    """The features in order, for a model with these spaces. `position` is the last."""
    return (*(f"space_{name}" for name in sorted(spaces)), *_OF_ITEM, *_OF_BOTH, *_OF_PERSON, "position")


def features(asked: Asked, basis: Basis, rows: Ids, positions: Floats | None = None) -> Floats:
    """
    (n, len(names_of(...))) of n artifact rows (all known, none below 0), NaN = unknown; in float32.

    `positions` (n,) are where the items stood when they were logged; None asks for all of them at the first place.
    A row depends on the person and that item only.
    """
    facts, n = basis.facts, len(rows)
    unknown = np.full(n, np.nan, np.float32)
    of_spaces = [
        ranked.scores(asked.vectors[name], rows) if name in asked.vectors else unknown
        for name, ranked in sorted(basis.spaces.items())
    ]
    age_days = np.maximum(asked.at - facts.published_at[rows], 0) / DAY
    of_person = np.array(_person(asked.history), np.float32)
    columns = [
        *of_spaces,
        *basis.rates[rows].T,
        age_days,
        facts.duration_s[rows],
        basis.popularity.of(asked.country)[rows],
        *_likeness(asked, facts, rows),
        *_liked(asked, facts, rows),
        *np.broadcast_to(of_person[:, None], (len(of_person), n)),
        np.full(n, FIRST) if positions is None else positions,
    ]
    return np.array(columns, np.float32).T.copy()


def _person(history: History) -> tuple[float, float]:
    """How many reactions are known, and what they say on average."""
    return (float(len(history)), float(history.weights.mean()) if len(history) else np.nan)


def _likeness(asked: Asked, facts: Facts, rows: Ids) -> list[NDArray[np.bool_]]:
    """Whether language, country and region are the person's."""
    spoken = [facts.codes.get(name, -1) for name in asked.languages]
    language = facts.language[rows]
    return [
        language == (spoken[0] if spoken else -1),
        np.isin(language, spoken),
        facts.country[rows] == facts.codes.get(asked.country or "", -1),
        facts.region[rows] == facts.codes.get(asked.region or "", -1),
    ]


def _liked(asked: Asked, facts: Facts, rows: Ids) -> list[Floats]:
    """
    What the person's decayed reactions say about the creator of each item (a sum), and about its topics and its
    language (shares of all they reacted to, between -1 and 1).
    """
    history = asked.history
    weights = history.weights * decays(asked.at - history.at)
    total = np.float32(max(float(np.abs(weights).sum()), 1.0))
    creator = _sum_of(facts.creator, history.items, weights)[facts.creator[rows]]
    language = _sum_of(facts.language, history.items, weights)[facts.language[rows]]
    topics = facts.topics[rows] @ (facts.topics[history.items].T @ weights)
    n_topics = np.maximum(facts.topics[rows].sum(axis=1), 1)
    return [creator, topics / n_topics / total, language / total]


def _sum_of(codes: Ids, items: Ids, weights: Floats) -> Floats:
    """The weights of items, added up by code."""
    return np.bincount(codes[items], weights, int(codes.max(initial=0)) + 1).astype(np.float32)


def facts_of(items: pl.DataFrame, creators: pl.DataFrame) -> Facts:
    """The facts of items, from whole tables: language and place as the live catalogue reads them."""
    makers = creators.select(
        "creator_id", c_country="country", c_region="region", c_language=pl.col("languages").list.first()
    )
    both = items.join(makers, on="creator_id", how="left", maintain_order="left")
    country = pl.coalesce("country", pl.col("region").str.split("-").list.first())
    names = both.select(
        language=pl.coalesce("language", "dialect", "c_language"),
        country=pl.coalesce(country, pl.when(pl.col("c_country") != "ZZ").then("c_country")),
        region=pl.when(country.is_not_null()).then("region").otherwise("c_region"),
    )
    known = sorted({name for column in names for name in column.unique() if name is not None})
    codes = {name: code for code, name in enumerate(known, 1)}
    coded = {column.name: np.array([codes.get(name, 0) for name in column], np.int32) for column in names}
    topics = [[topic in (said or ()) for topic in TOPICS] for said in both["topics"].to_list()]
    return Facts(
        published_at=both["published_at"].to_numpy(),
        duration_s=both["duration_s"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        creator=both["creator_id"].rank("dense").cast(pl.Int32).to_numpy(),
        topics=np.array(topics, np.float32).reshape(-1, len(TOPICS)),
        codes=codes,
        **coded,
    )
