"""
Estimators of a policy's value, each as terms whose sums over choices give it, so that one bootstrap serves all.

With w = target / logged of a choice, r its reward, q(a) what an outcome model expects of an action and d what it
expects of the policy:

| name         | value, as a mean over n choices |
|--------------|---------------------------------|
| ips          | w r (Horvitz and Thompson 1952) |
| snips        | sum of w r / sum of w (Swaminathan and Joachims 2015) |
| clipped      | min(w, clip) r: less noise, biased towards 0 (Ionides 2008) |
| direct       | d: the outcome model alone |
| doubly-robust| d + w (r - q(a)) (Dudík, Langford and Li 2011) |
| switch       | the same where w <= clip, else d (Wang, Agarwal and Dudík 2017) |

Worked example: rewards 1 and 0 at weights 2 and 1 are ips (2 + 0) / 2 = 1 and snips (2 + 0) / 3 = 0.667.

For pages, as a mean over pages of the sum over places, with w_k of place k alone (given nothing), W_k the product over
the places up to k, and W the product over the page:

| name            | value |
|-----------------|-------|
| page-ips        | W r_k |
| independent     | w_k r_k: right when a reward depends on its own place alone (Li et al. 2018) |
| interaction     | W_k r_k: right when it depends on the places above, too (McInerney et al. 2020) |
| ...-normalised  | each divided by its mean weight, place by place |
| cascade-dr      | W_k (r_k - Q_k) + W_{k-1} D_k, where Q and D expect the rewards from k on (Kiyohara et al. 2022) |
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eval.ope.rounds import Rounds, Target
from recsys.metrics import importance_weights
from recsys.types import Longs, Reals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """
    An estimator: sum over groups of (rows of the group / units) x (sum of `numerator` / sum of `denominator`).

    Shapes: `numerator`, `denominator` and `group` (n,); `weights` (n,) are those it rests on, None for none. A unit is
            a choice, or a page where `per_page`.
    """

    numerator: Reals
    denominator: Reals
    group: Longs
    weights: Reals | None
    per_page: bool = False


def choice_estimators(rounds: Rounds, target: Target, clip: float) -> dict[str, Terms]:
    """The estimators of the mean reward of a choice, by name."""
    w, ones = importance_weights(rounds.placed, target.placed), np.ones(len(rounds))
    r, alone = rounds.rewards, np.zeros(len(rounds), np.int64)

    def terms(numerator: Reals, weights: Reals | None, denominator: Reals = ones) -> Terms:
        return Terms(numerator=numerator, denominator=denominator, group=alone, weights=weights)

    clipped = np.minimum(w, clip)
    found = {"ips": terms(w * r, w), "snips": terms(w * r, w, w), "clipped": terms(clipped * r, clipped)}
    if target.direct is not None and target.predicted is not None:
        kept = np.where(w <= clip, w, 0.0)
        wrong = r - target.predicted
        found["direct"] = terms(target.direct, None)
        found["doubly-robust"] = terms(target.direct + w * wrong, w)
        found["switch"] = terms(target.direct + kept * wrong, kept)
    return found


def page_estimators(rounds: Rounds, target: Target) -> dict[str, Terms]:
    """The estimators of the summed reward of a page, by name. Rows are sorted by page and place."""
    r, ones, places = rounds.rewards, np.ones(len(rounds)), rounds.positions
    ratio = importance_weights(rounds.logged, target.chosen)
    single, so_far = importance_weights(rounds.placed, target.placed), cumulative(ratio, rounds.slates)
    ends = np.flatnonzero(np.diff(rounds.slates, append=rounds.slates[-1:] + 1))
    whole = np.repeat(so_far[ends], np.diff(ends, prepend=-1))

    def terms(numerator: Reals, weights: Reals, denominator: Reals = ones, group: Longs | None = None) -> Terms:
        of = np.zeros(len(rounds), np.int64) if group is None else group
        return Terms(numerator=numerator, denominator=denominator, group=of, weights=weights, per_page=True)

    found = {
        "page-ips": terms(whole * r, whole),
        "page-ips-normalised": terms(whole * r, whole, whole),
        "independent": terms(single * r, single),
        "independent-normalised": terms(single * r, single, single, places),
        "interaction": terms(so_far * r, so_far),
        "interaction-normalised": terms(so_far * r, so_far, so_far, places),
    }
    if target.direct_rest is not None and target.predicted_rest is not None:
        is_first = np.diff(rounds.slates, prepend=rounds.slates[:1] - 1) != 0
        before = np.where(is_first, 1.0, np.concatenate(([1.0], so_far[:-1])))
        value = so_far * (r - target.predicted_rest) + before * target.direct_rest
        found["cascade-dr"] = terms(value, so_far)
    return found


def cumulative(values: Reals, slates: Longs) -> Reals:
    """(n,) the product of a page's values (n,) down to each place. Rows are sorted by page and place."""
    product = np.array(values, np.float64)
    is_first = np.diff(slates, prepend=slates[:1] - 1) != 0
    for row in np.flatnonzero(~is_first):
        product[row] *= product[row - 1]
    return product


def point(terms: Terms, n_units: int) -> float:
    """The value of an estimator; NaN where the weights of a group add up to 0."""
    sums = _sums(terms, np.zeros(len(terms.numerator), np.int64), 1)
    return float(combine(sums, np.array([[1.0]]), np.array([float(n_units)]))[0])


def combine(sums: Mapping[str, Reals], counts: Reals, n_units: Reals) -> Reals:
    """
    (b,) the values over resamples.

    Shapes: `sums` (n_people, n_groups) by name; counts (b, n_people) how often each person is drawn; n_units (b,).
    """
    numerator, denominator, rows = (counts @ sums[name] for name in ("numerator", "denominator", "rows"))
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.where(rows > 0, rows * numerator / denominator, 0.0)
        return np.asarray(parts.sum(axis=1) / n_units, np.float64)


def _sums(terms: Terms, people: Longs, n_people: int) -> dict[str, Reals]:
    groups, group = np.unique(terms.group, return_inverse=True)
    cell, size = people * len(groups) + group, n_people * len(groups)
    columns = {"numerator": terms.numerator, "denominator": terms.denominator, "rows": None}
    return {
        name: np.asarray(np.bincount(cell, column, size), np.float64).reshape(n_people, len(groups))
        for name, column in columns.items()
    }


def person_sums(terms: Terms, people: Longs, n_people: int) -> dict[str, Reals]:
    """(n_people, n_groups) the sums that a bootstrap over people draws from, by name."""
    return _sums(terms, people, n_people)
