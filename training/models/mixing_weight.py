"""
How much of the preference scores content and the ranker's heads make up, chosen on users who came back after the heads
stopped learning.

Users could only watch what the old feed had shown them. A measure such as NDCG on what they went on to watch therefore
prefers rankings like the old feed's. The choices here are made by an estimate of how much of a ranking's head its users
would watch: every impression of the log counts by how high the ranking puts it, and by the inverse of the propensity
with which it was shown (SNIPS), shown and not watched included. Where propensities were not logged they are estimated
from how often each item was shown. NDCG@20 "as exposed" and the AUC of impressions are reported beside it.

First, without heads, how much of the weight of content stays; then the mixing weight of the heads. What is simpler
stays unless something else is better by more than a standard error of the difference. A mixing weight that puts more R1
in the first places than the heads alone do is not tried: what people would watch more of must not be that. To leave the
heads out is always allowed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.clock import Millis
from recsys.data.impressions import Impressions, Log, Past, ranker_query, rows_met
from recsys.feed.scorers import FRESH_HALF_LIFE
from recsys.metrics import (
    CLIP,
    auc,
    estimated_propensity,
    importance_weights,
    influence,
    is_probability,
    ndcg,
    ranking_target,
    tells_exposure,
)
from recsys.models.blend import Blend
from recsys.models.features import FeatureInputs, RankerQuery, ranker_features
from recsys.models.loaded import blend_scores
from recsys.models.ranker import RankerHeads
from recsys.types import Floats, Ids, Longs, Mask, Reals, rank_order
from recsys.vocabulary import HEADS
from training.models.yardstick import WATCH

CONTENT_SHARES: Final = (0.0, 0.5, 1.0)
"""Of the weight of content, as they are tried."""

WATCH_ESTIMATED: Final = f"{WATCH}, propensities estimated by how often each item was shown"

MIXING_WEIGHTS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
K: Final = 20
MAX_USERS: Final = 500
MAX_ITEMS: Final = 1_000
"""Items of a user's ranking, drawn uniformly, in which the rank of an impression is measured."""

MAX_WIDENING: Final = 2**0.5
"""Two equal halves that agree in nothing are narrower than either by this factor."""

MIN_USERS: Final = 20
"""Users; fewer prove nothing."""

_SAME_COUNTRY: Final = 0.7
_N_SUPPORTIVE_TOPICS: Final = 10
"""The first topics are the supportive ones."""

_NEGATIVE_HEAD: Final = HEADS.index("not_interested")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LateImpressions:
    """
    What was shown from `then` on (`shown`), and models of what came before. `is_learnable` (n_items,): items of R0 and
    R1; `is_r1` (n_items,); `open_since` (n_items,) when each could be shown at first. `past` is what the log knows of
    people.
    """

    log: Log
    inputs: FeatureInputs
    blend: Blend
    past: Past
    shown: Impressions
    is_learnable: Mask
    is_r1: Mask
    open_since: Longs
    then: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """
    `content_share` is one of `CONTENT_SHARES`; the rest as in `RankerHeads`; what was measured. `yardstick` chose; None
    with too few users to choose by.
    """

    content_share: float
    mixing_weight: float
    base_scale: float
    head_scale: float
    metrics: Mapping[str, float]
    yardstick: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _ScoredItems:
    """
    Items of one user, arrays of n: the preference scores without heads, of which `content`; the value of the heads; the
    rest of the score.
    """

    preference: Floats
    content: Floats
    heads: Floats
    rest: Floats

    def take(self, selected: Mask | Ids) -> "_ScoredItems":
        """The given items."""
        return _ScoredItems(
            self.preference[selected], self.content[selected], self.heads[selected], self.rest[selected]
        )

    def with_content(self, share: float) -> "_ScoredItems":
        """The same with this share of content in the preference scores."""
        return replace(self, preference=self.preference - np.float32(1 - share) * self.content)

    def mix(self, base_scale: float, head_scale: float) -> Floats:
        """(n,) preference scores and heads together."""
        return np.asarray(base_scale * self.preference + head_scale * self.heads, np.float32)

    def score(self, scales: tuple[float, float]) -> Floats:
        """(n,) what orders a page."""
        return self.mix(*scales) + self.rest


@dataclass(frozen=True, slots=True, eq=False)
class _EvaluatedUser:
    """
    One user when they came back. `ranking`: a uniform draw of the `n_open` items that could be shown, of which some are
    R1 (`is_r1`); `shown`: m items that were, with `propensity`, `response` and `is_relevant` (m,).
    """

    ranking: _ScoredItems
    n_open: int
    is_r1: Mask
    shown: _ScoredItems
    propensity: Floats
    response: Floats
    is_relevant: Mask

    def with_content(self, share: float) -> "_EvaluatedUser":
        """The same with this share of content in the preference scores."""
        return replace(self, ranking=self.ranking.with_content(share), shown=self.shown.with_content(share))

    def target(self, scales: tuple[float, float]) -> Reals:
        """(m,) how much a page by these scales would show of what was shown."""
        return ranking_target(self.ranking.score(scales), self.shown.score(scales), self.n_open)

    def r1_share(self, scales: tuple[float, float]) -> float:
        """Of the first K places, as far as the draw tells."""
        scores = self.ranking.score(scales)
        n_first = max(round(K * len(scores) / max(self.n_open, 1)), 1)
        return float(self.is_r1[np.argsort(-scores, kind="stable")[:n_first]].mean()) if len(scores) else 0.0


def choose_mixing(
    heads: RankerHeads, late: LateImpressions, weights: Mapping[str, float], rng: np.random.Generator
) -> Mixing:
    """The content share and the mixing weight under a market's `weights`."""
    returned = np.unique(late.shown.people[late.shown.at >= late.then])
    known = rows_met(late.log, rng.permutation(returned)[:MAX_USERS], late.then)
    propensity = _propensity(late)
    scored = (_score_user(heads, late, number, known[number], weights, propensity, rng) for number in known)
    users = [user for user in scored if user is not None]
    if not users:
        return Mixing(content_share=1.0, mixing_weight=0.0, base_scale=1.0, head_scale=0.0, metrics={})
    by_share = [[user.with_content(share) for user in users] for share in CONTENT_SHARES]
    content = [_estimate(part, (1.0, 0.0)) for part in by_share]
    best = best_choice(content, fallback=len(CONTENT_SHARES) - 1)
    users = by_share[best]
    scales = _scales([user.ranking for user in users])
    mixed = [_estimate(users, pair) for pair in scales]
    chosen = choose_mild(mixed)
    base_scale, head_scale = scales[chosen]
    return Mixing(
        content_share=CONTENT_SHARES[best],
        mixing_weight=MIXING_WEIGHTS[chosen],
        base_scale=base_scale,
        head_scale=head_scale,
        metrics=_metrics(users, [mixed[0], mixed[chosen]], [scales[0], scales[chosen]], late),
        yardstick=_yardstick(late) if len(users) >= MIN_USERS else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceEstimate:
    """
    What a choice is estimated to be worth, how much each user moves the estimate (q,), and its effective size;
    `r1_share` of the first places of its rankings.
    """

    value: float
    influence: Reals
    effective_size: float
    r1_share: float = 0.0


def best_choice(estimates: Sequence[ChoiceEstimate], fallback: int) -> int:
    """
    Which estimate to take: the highest, if it is above the first by more than a standard error of the difference, else
    the first. `fallback` with fewer than `MIN_USERS` users, or where no impression counts.
    """
    first = estimates[0]
    if len(first.influence) < MIN_USERS or not np.isfinite([estimate.value for estimate in estimates]).all():
        return fallback
    best = int(np.argmax([estimate.value for estimate in estimates]))
    error = float((estimates[best].influence - first.influence).std()) / len(first.influence) ** 0.5
    return best if estimates[best].value - first.value > error else 0


def last_as_good(estimates: Sequence[ChoiceEstimate], best: int) -> int:
    """
    The last of the estimates from `best` on that is not below it by more than a standard error of the difference.

    Where several mixing weights are as good, the one with the most of the heads: the other preference scores prefer
    what the old feed showed. 0, no heads, stays.
    """
    if best == 0:
        return 0
    n_users = len(estimates[best].influence)
    errors = [float((it.influence - estimates[best].influence).std()) / n_users**0.5 for it in estimates]
    losses = [estimates[best].value - it.value for it in estimates]
    return max(at for at in range(best, len(estimates)) if losses[at] <= errors[at])


def choose_mild(mixed: Sequence[ChoiceEstimate]) -> int:
    """Which mixing weight to take: none of the heads, or one with no more R1 than the heads alone, the last, have."""
    allowed = [0, *(at for at in range(1, len(mixed)) if mixed[at].r1_share <= mixed[-1].r1_share)]
    estimates = [mixed[at] for at in allowed]
    return allowed[last_as_good(estimates, best_choice(estimates, fallback=0))]


def _estimate(users: Sequence[_EvaluatedUser], scales: tuple[float, float]) -> ChoiceEstimate:
    """How much of the head of these users' rankings they would watch."""
    target = np.concatenate([user.target(scales) for user in users])
    response = np.concatenate([user.response for user in users])
    weights = importance_weights(np.concatenate([user.propensity for user in users]), target, CLIP)
    numbers = np.repeat(np.arange(len(users)), [len(user.response) for user in users])
    total, squares = float(weights.sum()), float((weights**2).sum())
    return ChoiceEstimate(
        value=float(weights @ response) / total if total > 0 else float("nan"),
        influence=influence(response, weights, numbers, len(users)),
        effective_size=total**2 / squares if squares > 0 else 0.0,
        r1_share=float(np.mean([user.r1_share(scales) for user in users])),
    )


def _yardstick(late: LateImpressions) -> str:
    return WATCH if tells_exposure(late.shown.propensity) else WATCH_ESTIMATED


def _propensity(late: LateImpressions) -> Floats:
    """(n,) of every impression; estimated for all where the logged ones do not tell how the old feed chose."""
    logged = late.shown.propensity
    if tells_exposure(logged):
        return logged
    counts = np.bincount(late.shown.rows, minlength=len(late.is_learnable))
    return estimated_propensity(counts)[late.shown.rows].astype(np.float32)


def _scales(rankings: Sequence[_ScoredItems]) -> list[tuple[float, float]]:
    """
    For each mixing weight, the scales of both sides with which their sum is as widely spread as the preference scores.
    """
    spread = _mean(np.array([items.preference.std() for items in rankings])) or 1.0  # all scores are equal
    scale = spread / max(_mean(np.array([items.heads.std() for items in rankings])), 1e-9)
    scales = []
    for weight in MIXING_WEIGHTS:
        mixed = _mean(np.array([items.mix(1 - weight, weight * scale).std() for items in rankings]))
        widened = min(spread / max(mixed, 1e-9), MAX_WIDENING)
        scales.append(((1 - weight) * widened, weight * scale * widened))
    return scales


def _metrics(
    users: Sequence[_EvaluatedUser],
    estimates: Sequence[ChoiceEstimate],
    scales: Sequence[tuple[float, float]],
    late: LateImpressions,
) -> dict[str, float]:
    """Without heads, and as chosen: the estimated watch fraction, NDCG@20 as exposed, and the AUC of impressions."""
    measured = {
        "ranker_people": float(len(users)),
        "ranker_logged_propensities": round(float(is_probability(late.shown.propensity).mean()), 4),
        "ranker_effective_impressions": round(estimates[1].effective_size, 1),
    }
    for name, estimate, pair in zip(("without", "with"), estimates, scales, strict=True):
        measured |= {
            f"ranker_watch_{name}": round(estimate.value, 5),
            f"ranker_r1_share_{name}": round(estimate.r1_share, 5),
            f"ranker_ndcg_exposed_{name}": _mean(np.array([_exposed_ndcg(user, pair) for user in users])),
            f"ranker_impression_auc_{name}": _mean(
                np.array([auc(user.shown.score(pair), user.is_relevant) for user in users])
            ),
        }
    return measured


def _exposed_ndcg(user: _EvaluatedUser, scales: tuple[float, float]) -> float:
    """Of the relevant among what was shown, in the ranking of the drawn items and those."""
    scores = np.concatenate([user.shown.score(scales), user.ranking.score(scales)])
    order = rank_order(scores, np.arange(len(scores), dtype=np.int32))[:K]
    is_relevant = np.concatenate([user.is_relevant, np.zeros(len(scores) - len(user.is_relevant), np.bool_)])
    return float(ndcg(is_relevant[order][None], np.array([user.is_relevant.sum()]), K)[0])


def _mean(values: Reals | Floats) -> float:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 5) if len(known) else 0.0


def _score_user(
    heads: RankerHeads,
    late: LateImpressions,
    number: int,
    known: Ids,
    weights: Mapping[str, float],
    propensity: Floats,
    rng: np.random.Generator,
) -> _EvaluatedUser | None:
    """One user as of their first late slate, over items they had not met; None for a user who was shown none."""
    is_late = (late.shown.people == number) & (late.shown.at >= late.then) & ~np.isin(late.shown.rows, known)
    if not is_late.any():
        return None
    at = int(late.shown.at[is_late].min())
    is_open = late.is_learnable & (late.open_since <= at)
    is_open[known] = False
    open_rows = np.flatnonzero(is_open).astype(np.int32)
    drawn = np.sort(rng.choice(open_rows, min(MAX_ITEMS, len(open_rows)), replace=False)).astype(np.int32)
    shown = late.shown.rows[is_late]
    scored = _score_items(heads, late, number, at, np.concatenate([drawn, shown]), weights)
    did = late.shown.did[is_late]
    return _EvaluatedUser(
        ranking=scored.take(np.arange(len(drawn), dtype=np.int32)),
        n_open=len(open_rows),
        is_r1=late.is_r1[drawn],
        shown=scored.take(np.arange(len(drawn), len(drawn) + len(shown), dtype=np.int32)),
        propensity=propensity[is_late],
        response=late.shown.response[is_late],
        is_relevant=did[:, :_NEGATIVE_HEAD].any(axis=1) & ~did[:, _NEGATIVE_HEAD],
    )


def _score_items(
    heads: RankerHeads, late: LateImpressions, number: int, at: Millis, rows: Ids, weights: Mapping[str, float]
) -> _ScoredItems:
    query = ranker_query(number, at, late.past, late.inputs)
    components = _preference_components(query, late, rows)
    probabilities = heads.predict(ranker_features(query, late.inputs, rows))
    return _ScoredItems(
        preference=np.sum([weights[name] * scores for name, scores in components.items()], axis=0),
        content=weights["content"] * components.get("content", np.zeros(len(rows), np.float32)),
        heads=head_value(probabilities, weights),
        rest=_score_rest(query, late.inputs, weights)[rows],
    )


def _score_rest(query: RankerQuery, inputs: FeatureInputs, weights: Mapping[str, float]) -> Floats:
    """
    (n_items,) the components of a score that the heads do not replace, nearly as in the shipped policies.

    A page is made of the whole score: heads that only repeat what `local` and `supportive` add would count it twice.
    """
    facts = inputs.facts
    near = np.where(facts.country == facts.codes.get(query.country or "", -1), _SAME_COUNTRY, 0.0)
    near[facts.region == facts.codes.get(query.region or "", -1)] = 1.0
    age = np.maximum(query.at - facts.published_at, 0)
    is_supportive = facts.topics[:, :_N_SUPPORTIVE_TOPICS].any(axis=1)
    components = {"local": near, "supportive": is_supportive, "fresh": np.exp2(-age / FRESH_HALF_LIFE)}
    return np.asarray(np.sum([weights[name] * values for name, values in components.items()], axis=0), np.float32)


def head_value(probabilities: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """(n,) the weighted sum of the probabilities by action; that of negative feedback is subtracted."""
    signs = {name: -1.0 if name == "not_interested" else 1.0 for name in probabilities}
    terms = [np.float32(signs[name] * weights[name]) * values for name, values in probabilities.items()]
    return np.asarray(np.sum(terms, axis=0), np.float32)


def _preference_components(query: RankerQuery, late: LateImpressions, rows: Ids) -> dict[str, Floats]:
    """(n,) each component of the score that the heads would replace; unknown items as the mean."""
    inputs = late.inputs
    world = inputs.popularity.scores[-1]
    popular = (inputs.popularity.of(query.country)[rows] - world.mean()) / max(float(world.std()), 1e-6)
    components = {"popular": popular.astype(np.float32)}
    if len(query.history):
        scores = blend_scores(late.blend, inputs.popularity, query.history, query.country)
        components["cf"] = np.nan_to_num(scores[rows])
    if "text" in query.vectors:
        components["content"] = np.nan_to_num(inputs.spaces["text"].scores(query.vectors["text"], rows))
    return components
