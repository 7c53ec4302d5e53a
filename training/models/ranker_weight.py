"""
How much of the taste content and the heads should be: judged on people who came back after the trees had stopped
learning. First, without heads, how much of the weight of content stays: words place what nobody knows yet, and where
taste knows a catalogue well they may only be in its way. It has none unless half of it or all is better, in NDCG, by
more than a standard error; all where too few people came back to tell.

Two questions of the whole score, because each alone is misleading. *Order*: does what a person wanted stand above what
they were shown and left? It does not depend on what the old feed liked to show. *NDCG@20* of the candidates that the
spaces and popularity bring: it does, since nobody can want what they were not shown, and favours rankings like the old
feed's.
The portion with the best order wins among those whose NDCG is not lower than without heads by more than a standard
error of the difference; when its order is not better by more than one, the portion is 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.clock import Millis
from recsys.data.impressions import Impressions, Log, Past, Place, asked, met
from recsys.feed.scorers import FRESH_HALF_LIFE
from recsys.metrics import auc, ndcg
from recsys.models.blend import Blend
from recsys.models.features import Asked, Basis, features
from recsys.models.loaded import wanted
from recsys.models.ranker import Heads
from recsys.types import Floats, Ids, Mask, Reals, rank_order
from recsys.vocabulary import HEADS

SHARES: Final = (0.0, 0.5, 1.0)
"""Of the weight of content."""
PORTIONS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
K: Final = 20
PEOPLE: Final = 500
POOL: Final = 200
WIDEST: Final = 2**0.5  # two equal halves that agree in nothing are narrower than either by this factor
FEWEST: Final = 20  # people; fewer prove nothing
_SAME_COUNTRY: Final = 0.7
_SUPPORTIVE: Final = 10  # the first topics
_REFUSED: Final = HEADS.index("not_interested")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Late:
    """Who is judged by: what was shown from `then` on, on a basis that ends before. `is_learnable` (n_items,)."""

    log: Log
    basis: Basis
    blend: Blend
    past: Past
    where: Place
    shown: Impressions
    is_learnable: Mask
    then: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """`content` is one of `SHARES`; the rest as in `recsys.models.ranker.Heads`; NDCG@20 and order with and without."""

    content: float
    portion: float
    kept: float
    taken: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """Items of one person: by the taste before, of which `content`, by the heads, and by what stays. Arrays of n."""

    taste: Floats
    content: Floats
    heads: Floats
    rest: Floats
    is_wanted: Mask

    def having(self, share: float) -> "_Scored":
        """The same with this share of content in the taste."""
        return replace(self, taste=self.taste - np.float32(1 - share) * self.content)

    def mixed(self, kept: float, taken: float) -> Floats:
        """(n,) what taste and heads say together."""
        return np.asarray(kept * self.taste + taken * self.heads, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Person:
    """What one person could have been shown, and what they were shown; `n_wanted` in all."""

    offered: _Scored
    shown: _Scored
    n_wanted: int

    def having(self, share: float) -> "_Person":
        """The same with this share of content in the taste."""
        return replace(self, offered=self.offered.having(share), shown=self.shown.having(share))


def choose(heads: Heads, late: Late, weights: Mapping[str, float], rng: np.random.Generator) -> Portion:
    """The portion under a market's `weights` of taste and heads."""
    people = np.unique(late.shown.people[late.shown.at >= late.then])
    known = met(late.log, rng.permutation(people)[:PEOPLE], late.then)
    judged = [person for n in known if (person := _person(heads, late, n, known[n], weights)) is not None]
    if not judged:
        return Portion(
            content=1.0, portion=0.0, kept=1.0, taken=0.0, metrics=_metrics(np.zeros((0, 1)), np.zeros((0, 1)), 0)
        )
    by_share = np.array([[_ndcg(person.having(share), 1.0, 0.0) for share in SHARES] for person in judged])
    content = SHARES[best_share(by_share)]
    judged = [person.having(content) for person in judged]
    mixtures = _mixtures([person.offered for person in judged])
    found = np.array([[_ndcg(person, *mixture) for mixture in mixtures] for person in judged])
    order = np.array([[_order(person, *mixture) for mixture in mixtures] for person in judged])
    best = best_portion(found, order[np.isfinite(order[:, 0])])
    kept, taken = mixtures[best]
    metrics = _metrics(found, order, best)
    return Portion(content=content, portion=PORTIONS[best], kept=kept, taken=taken, metrics=metrics)


def best_share(found: Reals) -> int:
    """
    The column of `found` (q, len(SHARES)) to take: the best mean, when it is better than the first, which is without
    content, by more than a standard error of the difference; the last one, the market's own weight, for too few people.
    """
    if len(found) < FEWEST:
        return len(SHARES) - 1
    won = found - found[:, :1]
    best = int(won.mean(axis=0).argmax())
    return best if won[:, best].mean() > _standard_error(won)[best] else 0


def _mixtures(offered: Sequence[_Scored]) -> list[tuple[float, float]]:
    """For each portion, what to multiply taste and heads with so that together they are as widely spread as taste."""
    spread = _mean(np.array([one.taste.std() for one in offered])) or 1.0  # a taste that says nothing
    scale = spread / max(_mean(np.array([one.heads.std() for one in offered])), 1e-9)
    mixtures = []
    for portion in PORTIONS:
        mixed = _mean(np.array([one.mixed(1 - portion, portion * scale).std() for one in offered]))
        widened = min(spread / max(mixed, 1e-9), WIDEST)
        mixtures.append(((1 - portion) * widened, portion * scale * widened))
    return mixtures


def _metrics(found: Reals, order: Reals, best: int) -> dict[str, float]:
    return {
        "ranker_people": float(len(found)),
        "ranker_ndcg_without": _mean(found[:, 0]),
        "ranker_ndcg_with": _mean(found[:, best]),
        "ranker_order_without": _mean(order[:, 0]),
        "ranker_order_with": _mean(order[:, best]),
    }


def best_portion(found: Reals, order: Reals) -> int:
    """
    The column to take, see the module; 0 = none of the heads.

    Shapes: `found` NDCG (q, len(PORTIONS)) and `order` (p, len(PORTIONS)) of people; the first column is without heads.
    """
    if len(order) < FEWEST:
        return 0
    lost, won = found[:, :1] - found, order - order[:, :1]
    is_fine = lost.mean(axis=0) <= _standard_error(lost)
    best = int(np.where(is_fine, won.mean(axis=0), -np.inf).argmax())
    return best if won[:, best].mean() > _standard_error(won)[best] else 0


def _standard_error(differences: Reals) -> Reals:
    return np.asarray(differences.std(axis=0) / len(differences) ** 0.5, np.float64)


def _mean(values: Reals) -> float:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 5) if len(known) else 0.0


def _person(heads: Heads, late: Late, number: int, known: Ids, weights: Mapping[str, float]) -> _Person | None:
    """One person as of their first late slate, among what they never met; None for someone who wanted nothing."""
    is_late = (late.shown.people == number) & (late.shown.at >= late.then)
    at = int(late.shown.at[is_late].min())
    who = asked(number, at, late.where, late.past.before(number, at), late.basis)
    shown, did = late.shown.rows[is_late], late.shown.did[is_late]
    liked = np.setdiff1d(shown[did[:, :_REFUSED].any(axis=1) & ~did[:, _REFUSED]], known)
    is_open = late.is_learnable & (late.basis.facts.published_at <= at)
    is_open[known] = False
    if not len(liked) or not is_open.any():
        return None
    parts = _parts(who, late, np.arange(len(is_open), dtype=np.int32))
    offered = _best(parts, np.flatnonzero(is_open).astype(np.int32))
    taste = np.sum([weights[name] * part for name, part in parts.items()], axis=0)
    content = weights["content"] * parts.get("content", np.zeros(len(is_open), np.float32))
    rest = _rest(who, late.basis, weights)

    def scored(rows: Ids) -> _Scored:
        chances = heads.predict(features(who, late.basis, rows))
        return _Scored(taste[rows], content[rows], head_value(chances, weights), rest[rows], np.isin(rows, liked))

    return _Person(scored(offered), scored(np.setdiff1d(shown, known)), len(liked))


def _rest(who: Asked, basis: Basis, weights: Mapping[str, float]) -> Floats:
    """
    (n_items,) what the parts that stay are worth, nearly as the shipped policies have it: a page is made of the whole
    score, so heads that only say again what `local` and `supportive` say would show one side twice.
    """
    facts = basis.facts
    near = np.where(facts.country == facts.codes.get(who.country or "", -1), _SAME_COUNTRY, 0.0)
    near[facts.region == facts.codes.get(who.region or "", -1)] = 1.0
    age = np.maximum(who.at - facts.published_at, 0)
    is_supportive = facts.topics[:, :_SUPPORTIVE].any(axis=1)
    of = {"local": near, "supportive": is_supportive, "fresh": np.exp2(-age / FRESH_HALF_LIFE)}
    return np.asarray(np.sum([weights[name] * part for name, part in of.items()], axis=0), np.float32)


def head_value(chances: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """(n,) the weighted sum of the chances; what is refused counts against an item."""
    signs = {name: -1.0 if name == "not_interested" else 1.0 for name in chances}
    parts = [np.float32(signs[name] * weights[name]) * found for name, found in chances.items()]
    return np.asarray(np.sum(parts, axis=0), np.float32)


def _parts(who: Asked, late: Late, rows: Ids) -> dict[str, Floats]:
    """The parts of the score whose place the heads would take, for all items; unknown as the mean."""
    basis = late.basis
    world = basis.popularity.scores[-1]
    popular = (basis.popularity.of(who.country)[rows] - world.mean()) / max(float(world.std()), 1e-6)
    parts = {"popular": popular.astype(np.float32)}
    if len(who.history):
        parts["cf"] = np.nan_to_num(wanted(late.blend, basis.popularity, who.history, who.country))
    if "text" in who.vectors:
        parts["content"] = np.nan_to_num(basis.spaces["text"].scores(who.vectors["text"], rows))
    return parts


def _best(parts: Mapping[str, Floats], rows: Ids) -> Ids:
    """The best `POOL` rows by each part, as the sources bring them."""
    return np.unique(np.concatenate([rows[rank_order(part[rows], rows)[:POOL]] for part in parts.values()]))


def _ndcg(person: _Person, kept: float, taken: float) -> float:
    scores = person.offered.mixed(kept, taken) + person.offered.rest
    order = rank_order(scores, np.arange(len(scores), dtype=np.int32))
    return float(ndcg(person.offered.is_wanted[order][None], np.array([person.n_wanted]), K)[0])


def _order(person: _Person, kept: float, taken: float) -> float:
    return auc(person.shown.mixed(kept, taken) + person.shown.rest, person.shown.is_wanted)
