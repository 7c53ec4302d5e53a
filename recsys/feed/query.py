"""
One resolved request: everything a pipeline stage may read. The only clock and the only seed a stage may use.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from recsys.catalogue.cache import CatalogueCache, ViewerKind
from recsys.catalogue.items import Items, creator_number
from recsys.catalogue.locality import NearnessByClass
from recsys.catalogue.new_creators import ExposureSnapshot
from recsys.catalogue.new_items import RankableItems
from recsys.catalogue.rankings import PrecomputedRankings
from recsys.catalogue.rule_columns import RuleColumns
from recsys.clock import DAY, Millis
from recsys.errors import DataError
from recsys.feed.calibration import wanted_languages
from recsys.feed.candidates import caller_parts, feature_weights, hidden_among, listed_of, unlisted_of
from recsys.feed.history import learned_of
from recsys.feed.viewer import languages_asked
from recsys.messages import FeedRequest, RankCandidate
from recsys.models.linear_blend import LinearBlend, UserBlend
from recsys.models.loaded import TrainedModels
from recsys.models.standardised_space import StandardisedSpace
from recsys.policy.limits import Limits
from recsys.policy.schema import Market
from recsys.policy.weights import LearnedWeights, effective_weights
from recsys.safety.loop.levels import topic_factors
from recsys.text.duplicates import Joined, add_bound
from recsys.types import Candidates, Columns, Floats, History, Ids, Longs, Mask, Responses, Viewer
from recsys.user.feedback import decays
from recsys.user.seen import seen_since
from recsys.user.state import UserState


@dataclass(frozen=True, slots=True, eq=False)
class EligibleItems:
    """
    What every filter lets through.

    Shapes: `mask` (n_items,); `rows` (n_rows,) of the artifact; `n_by_class` (n_classes,) how many of each of
            `NearnessClasses`.
    """

    mask: Mask
    rows: Mask
    n_by_class: Longs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """
    A request, resolved before the pipeline starts; stages do no I/O.

    `items` is the catalogue, `kind` what it is to viewers like this one, `eligible` what every filter lets through.
    `only` limits the page to some items; `shown` are those that do not come back, ascending: seen lately, or given
    negative feedback, and what these bind as copies. `is_help` is true for a request that looks for harm: help answers
    it.
    """

    request_id: str
    viewer: Viewer
    at: Millis
    size: int
    seed: int
    surface: str
    market: Market
    model: TrainedModels
    items: Items
    kind: ViewerKind
    limits: Limits
    is_minor: bool
    is_help: bool
    history: History
    responses: Responses
    followed: frozenset[int]
    shown: Ids
    excluded: frozenset[int]
    only: Ids | None
    unlisted: tuple[RankCandidate, ...]  # what the caller brought beside `only`: not in the catalogue
    hidden_creators: frozenset[str]  # of `unlisted`, whom the catalogue hides
    topics: frozenset[str] | None  # None = all
    languages_only: tuple[str, ...] | None  # None = all
    caller_parts: Mapping[str, Floats]  # (n_only,) parts of the score by name, from the caller's features
    text: str | None
    anchor: int | None
    weights: Mapping[str, float]
    wanted_languages: Mapping[str, float]  # the share of each on a page; empty = not calibrated
    reduced: Mapping[str, float]  # topics and families that the person refused a while ago: what is left of them
    rankings: PrecomputedRankings
    rankable: RankableItems | None  # None = no ranker
    eligible: EligibleItems
    _vectors: dict[str, Floats] = field(init=False, default_factory=dict)  # worked out when first asked for
    chances: dict[bytes, Columns] = field(init=False, default_factory=dict)  # by item numbers, likewise
    _whole: list[Candidates] = field(init=False, default_factory=list)  # likewise
    _blends: list[UserBlend] = field(init=False, default_factory=list)  # likewise

    @property
    def nearness(self) -> NearnessByClass:
        """How near each item is to the viewer."""
        return self.kind.nearness

    @property
    def rules(self) -> RuleColumns:
        """The columns that filters and the slot loop read."""
        return self.kind.rules

    @property
    def is_eligible(self) -> Mask:
        """(n_items,) what every filter lets through."""
        return self.eligible.mask

    @property
    def whole(self) -> Candidates:
        """The catalogue as candidates, with the columns that filters read: for what has to look at all of it."""
        if not self._whole:
            self._whole.append(self.rules.take(np.arange(len(self.items), dtype=np.int32)))
        return self._whole[0]

    def vector(self, space: str) -> Floats | None:
        """(d,) the person's vector in a space; None for an unknown space, or without a history."""
        if space not in self.model.spaces or not len(self.history):
            return None
        if space not in self._vectors:
            self._vectors[space] = self.model.spaces[space].space.fold_in(self.history)
        return self._vectors[space]

    def user(self) -> Floats:
        """(d + 1,) the person's coefficients of affinity; only with a ranker."""
        if "affinity" not in self._vectors:
            assert self.rankable is not None
            self._vectors["affinity"] = self.rankable.inputs.embed_user(self.responses)
        return self._vectors["affinity"]

    def blend_scores(self, rows: Ids) -> Floats | None:
        """
        (n,) the blend's standardised scores of artifact rows, NaN = unknown, or below 0; None without a history.

        Of items without interactions these are the scores of the cold-start mapping.
        """
        if not len(self.history) or not self.model.n_rows:
            return None
        at = np.maximum(rows, 0)
        linear = self.model.linear_blend
        scores = self._open_blend_scores()[at] if linear is None else linear.scores(self._user_blend(linear), at)
        cf = self.model.spaces.get("cf")
        scores = scores if cf is None else self._with_cold(scores, cf, at, cf.is_known[at])
        scores[rows < 0] = np.nan
        return scores

    def all_blend_scores(self) -> Floats | None:
        """(n_rows,) `blend_scores` of all artifact rows; of those that are not eligible they may be anything."""
        if not len(self.history) or not self.model.n_rows:
            return None
        linear, cf = self.model.linear_blend, self.model.spaces.get("cf")
        scores = self._open_blend_scores() if linear is None else linear.scores(self._user_blend(linear))
        return scores if cf is None else self._with_cold(scores, cf, None, cf.is_known)

    def _with_cold(self, scores: Floats, cf: StandardisedSpace, rows: Ids | None, is_known: Mask) -> Floats:
        """The scores (n,) of rows, None = of all, with those of the cold-start mapping where there are none."""
        vector = self.vector("cf")
        cold = np.flatnonzero(np.isnan(scores) & is_known)
        if vector is None or not len(cold):
            return scores
        scores = scores.copy()
        scores[cold] = cf.scores(vector, (cold if rows is None else rows[cold]).astype(np.int32))
        return scores

    def _open_blend_scores(self) -> Floats:
        """(n_rows,) of a blend that has no closed form."""
        if "blend" not in self._vectors:
            is_open = self.eligible.rows if len(self.is_eligible) else None
            self._vectors["blend"] = self.model.blend_scores(self.history, self.viewer.country, is_open)
        return self._vectors["blend"]

    def _user_blend(self, linear: LinearBlend) -> UserBlend:
        if not self._blends:
            names = {id(ranked.space): name for name, ranked in self.model.spaces.items()}
            vectors = {}
            for name, space in linear.spaces.items():
                known = self.vector(names[id(space)]) if id(space) in names else None
                vectors[name] = space.fold_in(self.history) if known is None else known
            self._blends.append(linear.for_user(vectors, self.viewer.country))
        return self._blends[0]

    def item_nos(self, rows: Ids) -> Ids:
        """Item numbers of artifact rows."""
        return self.rankings.index.of_row[rows]


def count_eligible(query: Query, mask: Mask) -> EligibleItems:
    """The items (n_items,) that are eligible, counted."""
    index = query.rankings.index
    n_classes = len(index.classes.examples)
    return EligibleItems(
        mask,
        mask[index.of_row],  # number 0 is no item's, and never eligible
        np.bincount(index.classes.class_of[mask], minlength=n_classes),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryBasis:
    """What queries are built on: the catalogue at one revision, the models, the market, and creators' exposure."""

    catalogue_cache: CatalogueCache
    items: Items
    model: TrainedModels
    market: Market
    exposure: ExposureSnapshot


def build_query(
    request: FeedRequest,
    viewer: Viewer,
    state: UserState,
    basis: QueryBasis,
    *,
    size: int,
    limits: Limits,
    experiment_weights: Mapping[str, float],
    is_minor: bool,
    is_help: bool,
    at: Millis,
) -> Query:
    """
    The query of a request, without what is eligible. Raises DataError when the request names an item that does not
    exist.
    """
    items, model, market, cache = basis.items, basis.model, basis.market, basis.catalogue_cache
    rankings = cache.rankings(items, model, viewer.country)
    history, responses, followed = _learned_of(state, viewer, model, items, rankings.index.is_unlearnable_row)
    only, unlisted = listed_of(request, items), unlisted_of(request, items)
    return Query(
        request_id=request.request_id or "",
        viewer=viewer,
        at=at,
        size=size,
        seed=seed_of(request.request_id or ""),
        surface=request.surface,
        market=market,
        model=model,
        items=items,
        kind=cache.for_viewer(items, model, viewer, basis.exposure, is_minor=is_minor),
        limits=limits,
        is_minor=is_minor,
        is_help=is_help,
        history=history,
        responses=responses,
        followed=followed,
        shown=_recently_shown(state, items, rankings.index.joined, market, request.surface, at),
        excluded=frozenset(items.index[item_id] for item_id in request.exclude_ids if item_id in items.index),
        only=only,
        unlisted=unlisted,
        hidden_creators=hidden_among(unlisted, cache.creators),
        topics=None if request.topics is None else frozenset(request.topics),
        languages_only=languages_asked(request, market),
        caller_parts=caller_parts(request, items, only),
        text=request.query,
        anchor=_anchor(request, items),
        weights={**_weights(state, history, basis, experiment_weights), **feature_weights(request)},
        wanted_languages=_wanted_languages(viewer, history, basis, rankings.index.of_row, at),
        reduced=topic_factors(state.safety.loop, market.loop, at),
        rankings=rankings,
        rankable=None if model.ranker is None else cache.rankable(items, model.ranker),
        eligible=NOTHING,
    )


NOTHING: Final = EligibleItems(np.zeros(0, np.bool_), np.zeros(0, np.bool_), np.zeros(0, np.int64))
"""Before `find_eligible` told."""


def seed_of(request_id: str) -> int:
    """The seed of a request: the same request explores the same items."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest(), "big")


def _weights(
    state: UserState, history: History, basis: QueryBasis, experiment_weights: Mapping[str, float]
) -> Mapping[str, float]:
    """The weights of the page; negative feedback alone tells no preference."""
    return effective_weights(
        basis.market,
        _learned_weights(basis.model),
        experiment_weights,
        has_history=bool(np.any(history.weights > 0)),
        controller_factor=basis.exposure.factor,
        local_weight=state.person.controls.local_weight,
    )


def _learned_weights(model: TrainedModels) -> LearnedWeights:
    return LearnedWeights(
        content_share=model.content_share,
        locality=model.locality_weight,
        mix_heads=None if model.ranker is None else model.ranker.heads.weights,
    )


_NO_ROWS: Final = np.empty(0, np.int32)


def _learned_of(
    state: UserState, viewer: Viewer, model: TrainedModels, items: Items, is_unlearnable_row: Mask
) -> tuple[History, Responses, frozenset[int]]:
    """
    The history, the responses and the followed creators (by number) that a personalised page reads; nothing for any
    other page.
    """
    if not viewer.personalised:
        return History.empty(), Responses.empty(), frozenset()
    trained = None if state.safety.is_erased else model.histories.get(viewer.user_id)
    logged = _NO_ROWS if state.safety.is_erased else model.seen.get(viewer.user_id, _NO_ROWS)
    followed = frozenset(creator_number(creator_id) for creator_id, _ in state.interactions.followed)
    return (*learned_of(state, trained, logged, items, is_unlearnable_row), followed)


def _wanted_languages(
    viewer: Viewer, history: History, basis: QueryBasis, of_row: Ids, at: Millis
) -> Mapping[str, float]:
    """The share of each language on the page."""
    watched = _watched_languages(history, basis.items, of_row, at)
    model = basis.model
    return wanted_languages(model.language_mix, model.language_watched, viewer.languages, watched)


def _watched_languages(history: History, items: Items, of_row: Ids, at: Millis) -> Mapping[str, float]:
    """The decayed confidence of a person's positive reactions by language; `of_row` (n_rows,) are item numbers."""
    is_liked = history.weights > 0
    weights = history.weights[is_liked] * decays(at - history.at[is_liked])
    by_code = np.bincount(items.language[of_row[history.items[is_liked]]], weights, 1)
    return {str(items.name(code)): float(weight) for code, weight in enumerate(by_code) if code and weight > 0}


def _recently_shown(state: UserState, items: Items, joined: Joined, market: Market, surface: str, at: Millis) -> Ids:
    """What does not come back: seen in the last `seen_days`, or given negative feedback; and its copies."""
    since = at - market.session.seen_days * DAY
    # a search may show again what the person asks for
    seen = [] if surface == "search" else seen_since(state.seen, since)
    interactions = state.interactions
    pairs = zip(interactions.items, interactions.weights, strict=True)
    shown = np.array([*seen, *(item_no for item_no, weight in pairs if weight < 0)], np.int32)
    return add_bound(joined, shown[shown < len(items)])


def _anchor(request: FeedRequest, items: Items) -> int | None:
    if request.surface != "related":
        return None
    anchor = items.index.get(request.anchor_item_id or "")
    if anchor is None:
        raise DataError(
            f"anchor_item_id: found {request.anchor_item_id!r}, expected the id of an item for surface related"
        )
    return anchor
