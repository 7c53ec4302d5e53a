"""
The features of the learned ranker: the one feature function of training and serving.

It reads a `RankerQuery`, which has no field for a tier, a loop level, a ledger or the night, so none of them can become
a feature. It knows nothing of risk: items of R2 and above are neither learned from nor predicted, and no positive
interaction with them is in a history (`feedback.learnables`).
"""

from collections.abc import Iterable, Mapping
from ctypes import CDLL
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.clock import DAY, Millis
from recsys.kernels import library
from recsys.languages import lookup
from recsys.memo import remember
from recsys.models.affinity import NO_FORM, Form, affinities, embed_user
from recsys.models.compiled_features import ItemColumns, PageColumns, fill_features, item_columns
from recsys.models.popularity import Popularity
from recsys.models.standardised_space import StandardisedSpace
from recsys.types import Floats, History, Ids, Responses
from recsys.user.feedback import decays
from recsys.vocabulary import TOPICS

RATE_NAMES: Final = ("response", "complete", "like", "helped")
"""Whose mean over impressions is a feature of an item and of its creator: the response, and whether somebody acted."""

RESPONSE: Final = RATE_NAMES.index("response")
"""The column of the rates that holds the expected response of each item."""

FIRST_POSITION: Final = np.float32(1.0)
"""The position in requests: every candidate is predicted as if it stood first."""

_ITEM_FEATURES: Final = (
    *(f"item_{name}" for name in RATE_NAMES),
    *(f"creator_{name}" for name in RATE_NAMES),
    "age_days",
    "duration_s",
)
_USER_FEATURES: Final = ("mean_surprise",)
_PAIR_FEATURES: Final = (
    "popular",
    "is_first_language",
    "is_first_spoken",
    "is_understood",
    "is_same_country",
    "is_same_region",
    "liked_creator",
    "liked_topics",
    "liked_language",
    "affinity",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemFacts:
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

    def in_other_scripts(self, language: str) -> list[int]:
        """The codes of a language in every script: of `ary` also that of `ary-Latn`."""
        spoken = language.partition("-")[0]
        return [code for name, code in self.codes.items() if name.partition("-")[0] == spoken]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankerQuery:
    """
    The user of a request and its time. `vectors`: the user's vector in each space that knows something about them.
    `user`: their coefficients of affinity where these were worked out before; None = from the responses.
    """

    country: str | None
    region: str | None
    languages: tuple[str, ...]
    at: Millis
    history: History
    responses: Responses
    vectors: Mapping[str, Floats]
    user: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureInputs:
    """
    What features are computed from, beside the request. Items that came after the artifact may follow its rows: then
    spaces and popularity know nothing of them. `rates` (n_items, 2 * len(RATE_NAMES)): of the item, then of
    its creator. `item_features`, the last of them of `form`: see `recsys.models.affinity`.
    """

    spaces: Mapping[str, StandardisedSpace]
    popularity: Popularity
    facts: ItemFacts
    rates: Floats
    item_features: Floats
    form: Form = NO_FORM
    _columns: list[ItemColumns] = field(init=False, default_factory=list)  # laid out when first asked for

    def columns(self) -> ItemColumns:
        """What the compiled loop reads of all items."""
        if not self._columns:
            facts = self.facts
            self._columns.append(
                item_columns(
                    {
                        "rates": self.rates,
                        "published_at": facts.published_at,
                        "duration": facts.duration_s,
                        "creator": facts.creator,
                        "language": facts.language,
                        "country": facts.country,
                        "region": facts.region,
                        "topics": facts.topics,
                    }
                )
            )
        return self._columns[0]

    @property
    def has_text(self) -> bool:
        """Whether the last of `item_features` before the form are components of texts."""
        return "text" in self.spaces

    def embed_user(self, responses: Responses) -> Floats:
        """A user's coefficients of affinity."""
        return embed_user(self.item_features, self.rates[:, RESPONSE], responses)


def feature_names(spaces: Iterable[str]) -> tuple[str, ...]:
    """The features in order, for a ranker over these spaces. `position` is the last."""
    return (
        *(f"space_{name}" for name in sorted(spaces)),
        *_ITEM_FEATURES,
        *_PAIR_FEATURES,
        *_USER_FEATURES,
        "position",
    )


def ranker_features(query: RankerQuery, inputs: FeatureInputs, rows: Ids, positions: Floats | None = None) -> Floats:
    """
    (n, len(feature_names(...))) of n artifact rows (all known, none below 0), NaN = unknown; in float32.

    `positions` (n,) are those of logged impressions; None sets every item to the first position.
    A row depends on the user and that item only.
    """
    native, history = library(), query.history.items
    n_rows = len(inputs.facts.creator)
    is_within = all(own.min(initial=0) >= 0 and own.max(initial=-1) < n_rows for own in (rows, history))
    if native is None or not is_within:  # the compiled loop checks no row
        return features_in_numpy(query, inputs, rows, positions)
    return features_compiled(native, query, inputs, rows, positions)


def features_in_numpy(query: RankerQuery, inputs: FeatureInputs, rows: Ids, positions: Floats | None = None) -> Floats:
    """The reference of `ranker_features`."""
    facts, n = inputs.facts, len(rows)
    age_days = np.maximum(query.at - facts.published_at[rows], 0) / DAY
    user = inputs.embed_user(query.responses) if query.user is None else query.user
    columns = [
        *_space_scores(query, inputs, rows),
        *inputs.rates[rows].T,
        age_days,
        facts.duration_s[rows],
        _popularity(inputs.popularity.of(query.country), rows),
        *_match_columns(query, facts, rows),
        *_liked_columns(query, facts, rows),
        affinities(inputs.item_features, user, rows),
        np.full(n, user[-1]),
        np.full(n, FIRST_POSITION) if positions is None else positions,
    ]
    return np.array(columns, np.float32).T.copy()


def features_compiled(
    native: CDLL, query: RankerQuery, inputs: FeatureInputs, rows: Ids, positions: Floats | None = None
) -> Floats:
    """`ranker_features` by the compiled loop; products of matrices come from the same calls as in the reference."""
    facts, items = inputs.facts, inputs.columns()
    user = inputs.embed_user(query.responses) if query.user is None else query.user
    weights = _decayed(query)
    liked_topics = facts.topics.take(query.history.items.astype(np.intp), axis=0).T @ weights
    page = PageColumns(
        rows=rows,
        spaces=np.array(_space_scores(query, inputs, rows), np.float32).reshape(len(inputs.spaces), len(rows)),
        popularity=inputs.popularity.of(query.country),
        languages=_language_bits(query, facts, items.languages),
        history=query.history.items,
        weights=weights,
        of_topics=facts.topics.take(rows.astype(np.intp), axis=0) @ liked_topics,
        affinity=affinities(inputs.item_features, user, rows),
        positions=positions,
    )
    numbers = {
        "at": query.at,
        "own_country": facts.codes.get(query.country or "", -1),
        "own_region": facts.codes.get(query.region or "", -1),
        "total": _total(weights),
        "surprise": user[-1],
        "first_position": FIRST_POSITION,
    }
    return fill_features(native, items, page, len(feature_names(inputs.spaces)), numbers)


_MAX_LANGUAGES: Final = 256
"""Lists of languages of which it is kept what each language is to somebody who speaks them."""


def _language_bits(
    query: RankerQuery, facts: ItemFacts, known: dict[tuple[str, ...], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """`language_bits` of a user, from those that are `known`: they are kept, and the oldest go when they are many."""
    bits = known.get(query.languages)
    if bits is None:
        bits = language_bits(query.languages, facts)
        remember(known, query.languages, bits, _MAX_LANGUAGES)
    return bits


def language_bits(languages: tuple[str, ...], facts: ItemFacts) -> NDArray[np.uint8]:
    """By code, what a language is to the user: 1 = the first, 2 = the first in any script, 4 = understood."""
    bits = np.zeros(max(facts.codes.values(), default=0) + 1, np.uint8)
    spoken = [facts.codes.get(name, 0) for name in languages]
    if spoken:
        bits[spoken[0]] |= 1
        bits[facts.in_other_scripts(languages[0])] |= 2
        bits[spoken] |= 4
    bits[0] = 0  # an unknown language is nobody's
    return bits


def _space_scores(query: RankerQuery, inputs: FeatureInputs, rows: Ids) -> list[Floats]:
    """(n,) the scores of each space, NaN where it knows nothing of the user."""
    unknown = np.full(len(rows), np.nan, np.float32)
    return [
        space.scores(query.vectors[name], _within(rows, len(space.is_known))) if name in query.vectors else unknown
        for name, space in sorted(inputs.spaces.items())
    ]


def _within(rows: Ids, n_rows: int) -> Ids:
    """The rows of the artifact, -1 for those of newer items."""
    return np.where(rows < n_rows, rows, -1).astype(np.int32)


def _popularity(scores: Floats, rows: Ids) -> Floats:
    known = _within(rows, len(scores))
    return np.where(known >= 0, scores[known], np.nan).astype(np.float32)


def _match_columns(query: RankerQuery, facts: ItemFacts, rows: Ids) -> list[NDArray[np.bool_]]:
    """Whether language, country and region are the user's."""
    spoken = [facts.codes.get(name, -1) for name in query.languages]
    language = facts.language[rows]
    return [
        language == (spoken[0] if spoken else -1),
        np.isin(language, facts.in_other_scripts(query.languages[0]) if query.languages else []),
        np.isin(language, spoken),
        facts.country[rows] == facts.codes.get(query.country or "", -1),
        facts.region[rows] == facts.codes.get(query.region or "", -1),
    ]


class _Liked(NamedTuple):
    """The decayed confidence of a history: by creator, by language, by topic, and of all of it, at least 1."""

    creators: Floats
    languages: Floats
    topics: Floats
    total: np.float32


def _liked(query: RankerQuery, facts: ItemFacts) -> _Liked:
    history, weights = query.history, _decayed(query)
    return _Liked(
        creators=_sum_by_code(facts.creator, history.items, weights),
        languages=_sum_by_code(facts.language, history.items, weights),
        topics=facts.topics[history.items].T @ weights,
        total=_total(weights),
    )


def _decayed(query: RankerQuery) -> Floats:
    """(n_history,) the confidence of each reaction by now."""
    return query.history.weights * decays(query.at - query.history.at)


def _total(weights: Floats) -> np.float32:
    return np.float32(max(float(np.abs(weights).sum()), 1.0))


def _liked_columns(query: RankerQuery, facts: ItemFacts, rows: Ids) -> list[Floats]:
    """
    The decayed confidence of the user's history in the creator of each item (a sum), and in its topics and its language
    (shares of the whole history, between -1 and 1).
    """
    liked = _liked(query, facts)
    topics = facts.topics[rows] @ liked.topics
    n_topics = np.maximum(facts.topics[rows].sum(axis=1), 1)
    language = liked.languages[facts.language[rows]]
    return [liked.creators[facts.creator[rows]], topics / n_topics / liked.total, language / liked.total]


def _sum_by_code(codes: Ids, items: Ids, weights: Floats) -> Floats:
    """The weights of items, added up by code."""
    return np.bincount(codes[items], weights, int(codes.max(initial=0)) + 1).astype(np.float32)


def _spoken(tags: pl.Series) -> pl.Series:
    """The language that each tag stands for first."""
    return tags.replace({tag: lookup(tag)[0] for tag in tags.unique().drop_nulls()})


def build_item_facts(items: pl.DataFrame, creators: pl.DataFrame) -> ItemFacts:
    """
    The facts of items, from the tables of items and creators: language and place as the live catalogue reads them, but
    for what a market says of the tags of its country.
    """
    makers = creators.select(
        "creator_id", c_country="country", c_region="region", c_language=pl.col("languages").list.first()
    )
    both = items.join(makers, on="creator_id", how="left", maintain_order="left")
    country = pl.coalesce("country", pl.col("region").str.split("-").list.first())
    names = both.select(
        language=_spoken(both.select(pl.coalesce("language", "dialect", "c_language")).to_series()),
        country=pl.coalesce(country, pl.when(pl.col("c_country") != "ZZ").then("c_country")),
        region=pl.when(country.is_not_null()).then("region").otherwise("c_region"),
    )
    known = sorted({name for column in names for name in column.unique() if name is not None})
    codes = {name: code for code, name in enumerate(known, 1)}
    coded = {column.name: column.replace_strict(codes, default=0, return_dtype=pl.Int32).to_numpy() for column in names}
    labelled = both["topics"]
    topics = [labelled.list.contains(topic).fill_null(value=False).to_numpy() for topic in TOPICS]
    return ItemFacts(
        published_at=both["published_at"].to_numpy(),
        duration_s=both["duration_s"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        creator=both["creator_id"].rank("dense").cast(pl.Int32).to_numpy(),
        topics=np.column_stack(topics).astype(np.float32),
        codes=codes,
        **coded,
    )
