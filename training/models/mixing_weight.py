"""
How much of the preference scores content and the ranker's heads make up, chosen on users who came back after the trees
stopped learning.

First, without heads, how much of the weight of content stays. Texts help with items that nobody knows yet; where the
collaborative models know a catalogue well they may be in the way. Content gets no weight unless half of it or all of it
is better in NDCG by more than a standard error, and all of it where too few users came back to tell.

Then the mixing weight of the heads, by two measures of the whole score, because each alone misleads. *Impression AUC*:
does an item that a user interacted with stand above those that they were shown and left? It does not depend on what the
old feed liked to show. *NDCG@20* over the candidates that the spaces and popularity retrieve does depend on it: users
can only interact with what they were shown, so it favours rankings like the old feed's.
The mixing weight with the best impression AUC wins among those whose NDCG is not lower than without heads by more than
a standard error of the difference. Where its AUC is not better by more than one, the mixing weight is 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.clock import Millis
from recsys.data.impressions import Impressions, Log, PastInteractions, PeoplePlaces, ranker_query, rows_met
from recsys.feed.scorers import FRESH_HALF_LIFE
from recsys.metrics import auc, ndcg
from recsys.models.blend import Blend
from recsys.models.features import FeatureInputs, RankerQuery, ranker_features
from recsys.models.loaded import blend_scores
from recsys.models.ranker import RankerHeads
from recsys.types import Floats, Ids, Mask, Reals, rank_order
from recsys.vocabulary import HEADS

CONTENT_SHARES: Final = (0.0, 0.5, 1.0)
"""Of the weight of content, as they are tried."""

MIXING_WEIGHTS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
K: Final = 20
MAX_USERS: Final = 500
CANDIDATES_PER_MODEL: Final = 200
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
    R1.
    """

    log: Log
    inputs: FeatureInputs
    blend: Blend
    past: PastInteractions
    where: PeoplePlaces
    shown: Impressions
    is_learnable: Mask
    then: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """
    `content_share` is one of `CONTENT_SHARES`; the rest as in `RankerHeads`; NDCG@20 and AUC with and without heads.
    """

    content_share: float
    mixing_weight: float
    base_scale: float
    head_scale: float
    metrics: Mapping[str, float]


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
    is_relevant: Mask

    def with_content(self, share: float) -> "_ScoredItems":
        """The same with this share of content in the preference scores."""
        return replace(self, preference=self.preference - np.float32(1 - share) * self.content)

    def mix(self, base_scale: float, head_scale: float) -> Floats:
        """(n,) preference scores and heads together."""
        return np.asarray(base_scale * self.preference + head_scale * self.heads, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _EvaluatedUser:
    """The candidates of one user, and what they were shown; `n_relevant` items in all."""

    candidates: _ScoredItems
    shown: _ScoredItems
    n_relevant: int

    def with_content(self, share: float) -> "_EvaluatedUser":
        """The same with this share of content in the preference scores."""
        candidates, shown = self.candidates.with_content(share), self.shown.with_content(share)
        return replace(self, candidates=candidates, shown=shown)


def choose_mixing(
    heads: RankerHeads, late: LateImpressions, weights: Mapping[str, float], rng: np.random.Generator
) -> Mixing:
    """The content share and the mixing weight under a market's `weights`."""
    returned = np.unique(late.shown.people[late.shown.at >= late.then])
    known = rows_met(late.log, rng.permutation(returned)[:MAX_USERS], late.then)
    scored = (_score_user(heads, late, number, known[number], weights) for number in known)
    users = [user for user in scored if user is not None]
    if not users:
        nobody = np.zeros((0, 1))
        metrics = _metrics(nobody, nobody, 0)
        return Mixing(content_share=1.0, mixing_weight=0.0, base_scale=1.0, head_scale=0.0, metrics=metrics)
    by_share = np.array([[_ndcg(user.with_content(share), 1.0, 0.0) for share in CONTENT_SHARES] for user in users])
    content_share = CONTENT_SHARES[best_content_share(by_share)]
    users = [user.with_content(content_share) for user in users]
    scales = _scales([user.candidates for user in users])
    gains = np.array([[_ndcg(user, *pair) for pair in scales] for user in users])
    aucs = np.array([[_impression_auc(user, *pair) for pair in scales] for user in users])
    best = best_mixing_weight(gains, aucs[np.isfinite(aucs[:, 0])])
    base_scale, head_scale = scales[best]
    return Mixing(
        content_share=content_share,
        mixing_weight=MIXING_WEIGHTS[best],
        base_scale=base_scale,
        head_scale=head_scale,
        metrics=_metrics(gains, aucs, best),
    )


def best_content_share(gains: Reals) -> int:
    """
    The column of `gains`, NDCG (q, len(CONTENT_SHARES)), to take.

    The best mean, if it is better than the first column, which is without content, by more than a standard error of the
    difference. The last, the market's own weight, for too few users.
    """
    if len(gains) < MIN_USERS:
        return len(CONTENT_SHARES) - 1
    rise = gains - gains[:, :1]
    best = int(rise.mean(axis=0).argmax())
    return best if rise[:, best].mean() > _standard_error(rise)[best] else 0


def best_mixing_weight(gains: Reals, aucs: Reals) -> int:
    """
    The column to take, see the module; 0 = no heads.

    Shapes: NDCG `gains` (q, len(MIXING_WEIGHTS)) and `aucs` (p, len(MIXING_WEIGHTS)) of users; the first column is
            without heads.
    """
    if len(aucs) < MIN_USERS:
        return 0
    loss, rise = gains[:, :1] - gains, aucs - aucs[:, :1]
    is_fine = loss.mean(axis=0) <= _standard_error(loss)
    best = int(np.where(is_fine, rise.mean(axis=0), -np.inf).argmax())
    return best if rise[:, best].mean() > _standard_error(rise)[best] else 0


def _scales(candidates: Sequence[_ScoredItems]) -> list[tuple[float, float]]:
    """
    For each mixing weight, the scales of both sides with which their sum is as widely spread as the preference scores.
    """
    spread = _mean(np.array([items.preference.std() for items in candidates])) or 1.0  # all scores are equal
    scale = spread / max(_mean(np.array([items.heads.std() for items in candidates])), 1e-9)
    scales = []
    for weight in MIXING_WEIGHTS:
        mixed = _mean(np.array([items.mix(1 - weight, weight * scale).std() for items in candidates]))
        widened = min(spread / max(mixed, 1e-9), MAX_WIDENING)
        scales.append(((1 - weight) * widened, weight * scale * widened))
    return scales


def _metrics(gains: Reals, aucs: Reals, best: int) -> dict[str, float]:
    return {
        "ranker_people": float(len(gains)),
        "ranker_ndcg_without": _mean(gains[:, 0]),
        "ranker_ndcg_with": _mean(gains[:, best]),
        "ranker_impression_auc_without": _mean(aucs[:, 0]),
        "ranker_impression_auc_with": _mean(aucs[:, best]),
    }


def _standard_error(differences: Reals) -> Reals:
    return np.asarray(differences.std(axis=0) / len(differences) ** 0.5, np.float64)


def _mean(values: Reals | Floats) -> float:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 5) if len(known) else 0.0


def _score_user(
    heads: RankerHeads, late: LateImpressions, number: int, known: Ids, weights: Mapping[str, float]
) -> _EvaluatedUser | None:
    """One user as of their first late slate, over items they had not met; None for a user without a relevant item."""
    is_late = (late.shown.people == number) & (late.shown.at >= late.then)
    at = int(late.shown.at[is_late].min())
    query = ranker_query(number, at, late.where, late.past.before(number, at), late.inputs)
    shown, did = late.shown.rows[is_late], late.shown.did[is_late]
    relevant = np.setdiff1d(shown[did[:, :_NEGATIVE_HEAD].any(axis=1) & ~did[:, _NEGATIVE_HEAD]], known)
    is_open = late.is_learnable & (late.inputs.facts.published_at <= at)
    is_open[known] = False
    if not len(relevant) or not is_open.any():
        return None
    components = _preference_components(query, late, np.arange(len(is_open), dtype=np.int32))
    candidates = _retrieve_candidates(components, np.flatnonzero(is_open).astype(np.int32))
    preference = np.sum([weights[name] * scores for name, scores in components.items()], axis=0)
    content = weights["content"] * components.get("content", np.zeros(len(is_open), np.float32))
    rest = _score_rest(query, late.inputs, weights)

    def score(rows: Ids) -> _ScoredItems:
        probabilities = heads.predict(ranker_features(query, late.inputs, rows))
        return _ScoredItems(
            preference[rows], content[rows], head_value(probabilities, weights), rest[rows], np.isin(rows, relevant)
        )

    return _EvaluatedUser(score(candidates), score(np.setdiff1d(shown, known)), len(relevant))


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
    """(n_items,) each component of the score that the heads would replace; unknown items as the mean."""
    inputs = late.inputs
    world = inputs.popularity.scores[-1]
    popular = (inputs.popularity.of(query.country)[rows] - world.mean()) / max(float(world.std()), 1e-6)
    components = {"popular": popular.astype(np.float32)}
    if len(query.history):
        components["cf"] = np.nan_to_num(blend_scores(late.blend, inputs.popularity, query.history, query.country))
    if "text" in query.vectors:
        components["content"] = np.nan_to_num(inputs.spaces["text"].scores(query.vectors["text"], rows))
    return components


def _retrieve_candidates(components: Mapping[str, Floats], rows: Ids) -> Ids:
    """The best `CANDIDATES_PER_MODEL` rows by each component, as the sources of a feed retrieve them."""
    best = [rows[rank_order(scores[rows], rows)[:CANDIDATES_PER_MODEL]] for scores in components.values()]
    return np.unique(np.concatenate(best))


def _ndcg(user: _EvaluatedUser, base_scale: float, head_scale: float) -> float:
    scores = user.candidates.mix(base_scale, head_scale) + user.candidates.rest
    order = rank_order(scores, np.arange(len(scores), dtype=np.int32))
    return float(ndcg(user.candidates.is_relevant[order][None], np.array([user.n_relevant]), K)[0])


def _impression_auc(user: _EvaluatedUser, base_scale: float, head_scale: float) -> float:
    return auc(user.shown.mix(base_scale, head_scale) + user.shown.rest, user.shown.is_relevant)
