"""
Filters: what may not be shown to this person now. True = keep. A filter reads the query and the row only, so that
adding rows never changes a verdict; an exception fails the request closed.

| filter     | removes |
|------------|---------|
| hidden     | items taken down, or of no known number |
| published  | items before their time of publication |
| tier       | tiers that are never served, or blocked for this person |
| unlabelled | items without a label, for people who get labelled items only |
| age        | items above the person's age |
| seen       | what was seen in the last 30 days, and its copies |
| excluded   | what the caller left out, did not list, or did not ask for by topic or language |
| muted      | topics, families, creators and words the person does not want |
| language   | speech that the person does not understand |
| surface    | what does not belong on the asked surface |
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from recsys.catalogue.items import UNLABELLED_FAMILY, Items, creator_number, mentions, topic_bits
from recsys.feed.query import Query
from recsys.sets import is_among
from recsys.text.duplicates import add_bound
from recsys.types import Candidates, Ids, Mask
from recsys.vocabulary import FAMILIES

Filter = Callable[[Query, Candidates], Mask]
MAX_SINGLE_SEARCHES: Final = 1_000  # items whose texts are searched one by one
OLDEST: Final[Mapping[str, int]] = {"under_13": 12, "13-15": 13, "16-17": 16, "18+": 18}
"""The age that a band is sure to have reached; for `under_13` an age nobody sells to."""


def hidden(query: Query, candidates: Candidates) -> Mask:
    """Items that exist and are not hidden."""
    items, numbers = query.items, candidates.item_nos
    return items.exists[numbers] & ~items.is_hidden[numbers]


def published(query: Query, candidates: Candidates) -> Mask:
    """Items whose time of publication has come."""
    return np.asarray(query.items.published_at[candidates.item_nos] <= query.at)


def tier(query: Query, candidates: Candidates) -> Mask:
    """Tiers up to R2 that nothing blocks: R3 and R4 are never served, whatever the limits say."""
    is_allowed = np.array([number < 3 and number not in query.limits.blocked_tiers for number in range(5)])
    return is_allowed[candidates["tier"]]


def unlabelled(query: Query, candidates: Candidates) -> Mask:
    """Labelled items, where the limits ask for labels; R2 of which nobody says what kind it is counts as unlabelled."""
    if not query.limits.labelled_only:
        return np.ones(len(candidates), np.bool_)
    return np.asarray(query.items.is_labelled[candidates.item_nos] & (candidates["family"] != UNLABELLED_FAMILY))


def age(query: Query, candidates: Candidates) -> Mask:
    """Items whose minimum age the person's band has reached."""
    return query.items.min_age[candidates.item_nos] <= OLDEST[query.viewer.age_band]


def seen(query: Query, candidates: Candidates) -> Mask:
    """Items that were not seen lately, by themselves or by what binds them as copies."""
    place = np.searchsorted(query.shown, candidates.item_nos)
    return np.asarray(np.append(query.shown, -1)[place] != candidates.item_nos)


def excluded(query: Query, candidates: Candidates) -> Mask:
    """What the caller lists and asks for, less what the caller leaves out."""
    items, keep = query.items, np.ones(len(candidates), np.bool_)
    if query.topics is not None:
        keep &= (candidates["topics"] & topic_bits(query.topics)) != 0
    if query.languages_only is not None:
        spoken = [items.code(name) for name in query.languages_only]
        keep &= np.isin(items.language[candidates.item_nos], spoken)
    if query.only is not None:
        keep &= is_among(candidates.item_nos, query.only)
    if query.excluded:
        keep &= ~np.isin(candidates.item_nos, list(query.excluded))
    return keep


def muted(query: Query, candidates: Candidates) -> Mask:
    """Nothing of what the person, or a rule for the person, keeps away."""
    limits, numbers = query.limits, candidates.item_nos
    keep = np.ones(len(candidates), np.bool_)
    if limits.blocked_topics:
        keep &= (candidates["topics"] & topic_bits(limits.blocked_topics)) == 0
    if limits.blocked_families:
        keep &= ~np.isin(candidates["family"], [FAMILIES.index(family) for family in limits.blocked_families])
    if limits.blocked_creators:
        keep &= ~np.isin(candidates["creator_no"], [creator_number(creator) for creator in limits.blocked_creators])
    for word in (" ".join(word.casefold().split()) for word in limits.blocked_words):
        keep &= ~_mentions(query.items, word, numbers)
    return keep


def _mentions(items: Items, word: str, numbers: Ids) -> Mask:
    """Whether items hold a word: the whole catalogue at once, or a few one by one."""
    if len(numbers) > MAX_SINGLE_SEARCHES:
        return mentions(items, word)[numbers]
    return np.fromiter((word in items.texts[n] for n in numbers), np.bool_, len(numbers))


def language(query: Query, candidates: Candidates) -> Mask:
    """Speech that the person understands, or that nobody knows."""
    if not query.viewer.languages:
        return np.ones(len(candidates), np.bool_)
    is_understood = np.zeros(len(query.items.codes) + 2, np.bool_)  # the last place is for code -1, no item's
    is_understood[[0, *(query.items.code(name) for name in query.viewer.languages)]] = True
    return is_understood[query.items.language[candidates.item_nos]]


def surface(query: Query, candidates: Candidates) -> Mask:
    """
    `following`: followed creators; `local`: local items; `together` and what looks for harm: labelled, supportive R0;
    never the anchor.
    """
    if query.surface == "together" or query.is_help:
        return np.asarray(candidates["is_supportive"] & query.items.is_labelled[candidates.item_nos])
    if query.surface == "following":
        return np.isin(candidates["creator_no"], list(query.followed))
    if query.surface == "local":
        return query.nearness.of(candidates.item_nos).is_local
    if query.surface == "related" and query.anchor is not None:
        return ~np.isin(candidates.item_nos, add_bound(query.rankings.index.joined, np.array([query.anchor], np.int32)))
    return np.ones(len(candidates), np.bool_)


FILTERS: Final[Mapping[str, Filter]] = {
    "hidden": hidden,
    "published": published,
    "tier": tier,
    "unlabelled": unlabelled,
    "age": age,
    "seen": seen,
    "excluded": excluded,
    "muted": muted,
    "language": language,
    "surface": surface,
}
FORBIDDING: Final = ("hidden", "published", "tier", "unlabelled", "age", "muted")
"""The filters that also hold for a page sent before: the others say what to choose, not what is forbidden."""
