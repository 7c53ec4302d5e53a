"""
Which languages a page of the best would have, by first language: what a page is calibrated to
(`recsys.feed.calibration`).

What people watched of a language says how often an old feed showed it. What the best page for them holds depends on how
much more, or less, than others they watch of a language, on how many good items there are of it, and on how unlike
these are. Nobody knows which items are best for whom; but what is not known has a known variance. So pages are drawn:
each item of a person's languages is worth its rate, and what people of their first language watch more of its
language, and a normal deviation as wide as rates of items are uncertain and as people differ in topics. The shares of
languages among the best of these are those of the best pages, as far as the log can tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from recsys.data.impressions import Impressions
from recsys.models.features import ItemFacts
from recsys.types import Floats, Ids, Mask, Reals
from training.models.rates import credibility_strength

PRIOR_RESPONSES: Final = 50.0
"""Responses by which the shares that people of a first language watched are shrunk to those of all."""

PAGE: Final = 20
N_DRAWS: Final = 3
"""Pages of one person."""

MAX_PEOPLE: Final = 200
"""People of one first language for whom pages are drawn."""

MAX_ITEMS: Final = 20_000
"""Items of which pages are drawn; of more, a uniform draw."""

LanguageShares = dict[str, dict[str, float]]
"""By first language, the share of each language among people who understand it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageMix:
    """`wanted`: on the best pages. `watched`: of what was watched in the log."""

    wanted: LanguageShares = field(default_factory=dict)
    watched: LanguageShares = field(default_factory=dict)


def fit_language_mix(
    shown: Impressions,
    languages: Sequence[Sequence[str] | None],
    facts: ItemFacts,
    expected: Floats,
    is_learnable: Mask,
    rng: np.random.Generator,
) -> LanguageMix:
    """
    Empty without impressions. `languages`: those of each person by number, the first first; None = unknown.

    Shapes: expected (n_items,) the response that each item usually gets; is_learnable (n_items,).
    """
    rows = np.flatnonzero(is_learnable & (facts.language > 0)).astype(np.int32)
    if not len(shown) or not len(rows):
        return LanguageMix()
    known = {person: tuple(names) for person, names in enumerate(languages) if names}
    n_codes = int(facts.language.max()) + 1
    codes = {person: {facts.codes[name] for name in names if name in facts.codes} for person, names in known.items()}
    names = {code: name for name, code in facts.codes.items()}
    by_first: dict[str, list[int]] = {}
    for person, spoken in known.items():
        by_first.setdefault(spoken[0], []).append(person)
    watched = _watched(shown, facts.language[shown.rows], n_codes, len(languages))
    everybody = _shares(watched, codes, [*known], PRIOR_RESPONSES, np.zeros(n_codes))
    rows = np.sort(rng.permutation(rows)[:MAX_ITEMS])
    worth = _fit_worth(shown, facts, expected, rows, languages)
    wanted, told = {}, {}
    for first, people in sorted(by_first.items()):
        told[first] = _named(_shares(watched, codes, people, PRIOR_RESPONSES, everybody), names)
        some = np.sort(rng.permutation(people)[:MAX_PEOPLE]).tolist()
        drawn = _draw_pages(worth, first, {person: codes[person] for person in some}, n_codes, rng)
        wanted[first] = _named(_shares(drawn, codes, some, 0.0, everybody), names)
    return LanguageMix(wanted=wanted, watched=told)


def _named(shares: Reals, names: Mapping[int, str]) -> dict[str, float]:
    return {names[code]: round(float(share), 4) for code, share in enumerate(shares) if code and share > 0}


def _watched(shown: Impressions, language: Ids, n_codes: int, n_people: int) -> dict[int, Reals]:
    """By person, what was watched of each language (n_codes,)."""
    table = np.zeros((n_people, n_codes))
    np.add.at(table, (shown.people, language), shown.response)
    table[:, 0] = 0  # an unknown language is no preference
    return dict(enumerate(table))


def _shares(
    counts: Mapping[int, Reals], codes: Mapping[int, set[int]], people: Sequence[int], prior: float, common: Reals
) -> Reals:
    """(n_codes,) of each language its share among those who understand it, shrunk to `common` by `prior` counts."""
    shares = np.zeros(len(common))
    for code in sorted(set().union(*(codes[person] for person in people))):
        table = np.array([counts[person] for person in people if code in codes[person] and person in counts])
        if table.size and table.sum() + prior > 0:
            shares[code] = (table[:, code].sum() + prior * common[code]) / (table.sum() + prior)
    return shares


@dataclass(frozen=True, slots=True, eq=False)
class _Worth:
    """
    Of m items: the `language`, `mean` and `deviation` (m,) of what they are worth. `more` (n_codes,) by first language;
    `n_page` of them are on a page.
    """

    language: Ids
    mean: Reals
    deviation: Reals
    more: Mapping[str, Reals]
    n_page: int


def _fit_worth(
    shown: Impressions, facts: ItemFacts, expected: Floats, rows: Ids, languages: Sequence[Sequence[str] | None]
) -> _Worth:
    """By the variances between and within items, people's topics, and languages by first language."""
    surprise = np.asarray(shown.response - expected[shown.rows], np.float64)
    within, ones = float((surprise**2).mean()), np.ones(len(shown))
    of_items = credibility_strength(np.asarray(shown.response, np.float64), ones, shown.rows, len(expected))
    counts = np.bincount(shown.rows, minlength=len(expected))[rows]
    topic = np.where(facts.topics.any(axis=1), 1 + facts.topics.argmax(axis=1), 0)
    pairs = np.unique(shown.people.astype(np.int64) * 32 + topic[shown.rows], return_inverse=True)[1].astype(np.int32)
    of_topics = credibility_strength(surprise, ones, pairs, int(pairs.max()) + 1)
    deviation = np.sqrt(within / (counts + of_items) + within / of_topics)
    return _Worth(
        language=facts.language[rows], mean=np.asarray(expected[rows], np.float64), deviation=deviation,
        more=_more_by_first(surprise, shown, facts, languages), n_page=max(round(PAGE * len(rows) / len(expected)), 1),
    )  # fmt: skip


def _more_by_first(
    surprise: Reals, shown: Impressions, facts: ItemFacts, languages: Sequence[Sequence[str] | None]
) -> dict[str, Reals]:
    """By first language, how much more than others its people watch of each language (n_codes,), shrunk."""
    firsts = sorted({spoken[0] for spoken in languages if spoken})
    numbers = {first: number for number, first in enumerate(firsts, 1)}
    first_of = np.array([numbers[spoken[0]] if spoken else 0 for spoken in languages])
    n_codes = int(facts.language.max()) + 1
    groups = (first_of[shown.people] * n_codes + facts.language[shown.rows]).astype(np.int32)
    n_groups = n_codes * (len(firsts) + 1)
    strength = credibility_strength(surprise, np.ones(len(groups)), groups, n_groups)
    sums, counts = np.bincount(groups, surprise, n_groups), np.bincount(groups, minlength=n_groups)
    table = (sums / (counts + strength)).reshape(-1, n_codes)
    return {first: table[number] for first, number in numbers.items()}


def _draw_pages(
    worth: _Worth, first: str, codes: Mapping[int, set[int]], n_codes: int, rng: np.random.Generator
) -> dict[int, Reals]:
    """By person, how many items of each language stand on pages that are drawn (n_codes,)."""
    mean = worth.mean + worth.more[first][worth.language]
    counts = {}
    for person, spoken in codes.items():
        items = np.flatnonzero(np.isin(worth.language, [*spoken]))
        n_page = min(worth.n_page, len(items))
        found = np.zeros(n_codes)
        for _ in range(N_DRAWS if n_page else 0):
            values = mean[items] + rng.normal(size=len(items)) * worth.deviation[items]
            best = items[np.argpartition(-values, n_page - 1)[:n_page]]
            found += np.bincount(worth.language[best], minlength=n_codes)
        counts[person] = found
    return counts
