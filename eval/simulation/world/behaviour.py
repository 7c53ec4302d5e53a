"""
How the people of the demo world react to a video: `behave`, shared by the log and the simulation.

The logit of watching is a plain sum, so that each term can be switched off and its effect is known: taste for the topic
and style, the video's quality, the language, the locality (times the person's affinity), and distress, which pulls
towards R2 content and nothing else. Nothing here is fitted to data.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.simulation.world.truth import N_SUPPORTIVE, Truth
from recsys.types import Longs, Mask, Reals, Rows
from recsys.vocabulary import LANGUAGES

BASE: Final = -0.35
TASTE_WEIGHT: Final = 0.55
STYLE_WEIGHT: Final = 0.45
QUALITY_WEIGHT: Final = 0.5
NOT_UNDERSTOOD: Final = -2.2
FIRST_LANGUAGE: Final = 0.35
R1_PULL: Final = 1.0  # times the person's distress
R1_AVERSION: Final = 0.4  # times (1 - distress)
R2_PULL: Final = 2.6
R2_AVERSION: Final = 1.4
NOISE: Final = 0.6  # standard deviation of what nothing here explains
STEEPNESS: Final = 1.6
COMPLETION_FRACTION: Final = 0.8  # a raw fraction above this counts as watched to the end

SAME_REGION: Final = 1.0
SAME_COUNTRY: Final = 0.6
SPEAKS_LIKE_HOME: Final = 0.3  # made abroad, in Darija or Amazigh

_HOME_LANGUAGES: Final = np.array([code.startswith(("ary", "zgh")) for code in LANGUAGES])
_STEM: Final = np.unique([code.split("-")[0] for code in LANGUAGES], return_inverse=True)[1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reactions:
    """How n people reacted to n videos; every array is (n,). `watch_fraction` is in [0, 1], the rest true or false."""

    watch_fraction: Reals
    completed: Mask
    rewatched: Mask
    liked: Mask
    shared: Mask
    commented: Mask
    saved: Mask
    helped: Mask
    not_interested: Mask
    too_much: Mask
    reported: Mask
    followed: Mask

    def take(self, rows: Rows) -> "Reactions":
        """The given rows of every array."""
        return Reactions(**{name: getattr(self, name)[rows] for name in Reactions.__slots__})


def locality_effect(truth: Truth, persons: NDArray[np.integer], items: NDArray[np.integer]) -> Reals:
    """(n,) the locality of each video for each person: 1 same region, 0.6 same country, 0.3 language only, else 0."""
    is_near = truth.items.is_moroccan[items]
    is_same_region = is_near & (truth.items.region[items] == truth.people.home_region[persons])
    by_language = np.where(_HOME_LANGUAGES[truth.items.language[items]], SPEAKS_LIKE_HOME, 0.0)
    return np.where(is_same_region, SAME_REGION, np.where(is_near, SAME_COUNTRY, by_language))


def topic_effect(truth: Truth, persons: Longs, items: Longs) -> Reals:
    """(n,) how much each person likes what each video is about: the mean over its topics."""
    first, second = truth.items.topic[items], truth.items.second_topic[items]
    main = truth.people.topic_taste[persons, first]
    both = (main + truth.people.topic_taste[persons, second]) / 2
    return np.where(second >= 0, both, main)


def _topic_and_style(truth: Truth, persons: Longs, items: Longs) -> Reals:
    people = truth.people
    style = np.einsum("ij,ij->i", people.style[persons], truth.items.style[items]) / np.sqrt(people.style.shape[1])
    return np.asarray(TASTE_WEIGHT * topic_effect(truth, persons, items) + STYLE_WEIGHT * style)


def _language_effect(truth: Truth, persons: Longs, items: Longs) -> Reals:
    """Large and negative for a language not understood; small and positive for the first language, in any script."""
    spoken = truth.items.language[items]
    is_first = _STEM[spoken] == _STEM[truth.people.first_language[persons]]
    is_understood = truth.people.understands[persons, spoken]
    return np.where(is_understood, np.where(is_first, FIRST_LANGUAGE, 0.0), NOT_UNDERSTOOD)


def _distress_effect(truth: Truth, persons: Longs, items: Longs) -> Reals:
    distress, tier = truth.people.distress[persons], truth.items.tier[items]
    heavy = R1_PULL * distress - R1_AVERSION * (1 - distress)
    risky = R2_PULL * distress - R2_AVERSION * (1 - distress)
    return np.where(tier >= 2, risky, np.where(tier == 1, heavy, 0.0))


def undistressed_logit(truth: Truth, persons: NDArray[np.integer], items: NDArray[np.integer]) -> Reals:
    """(n,) the logit of watching without noise and without the term of distress: what a video is worth to a person."""
    person: Longs = np.asarray(persons, np.int64)
    item: Longs = np.asarray(items, np.int64)
    locality = truth.people.local_affinity[person] * locality_effect(truth, person, item)
    base = BASE + QUALITY_WEIGHT * truth.items.quality[item] + _topic_and_style(truth, person, item)
    return np.asarray(base + locality + _language_effect(truth, person, item))


def watch_logit(truth: Truth, persons: NDArray[np.integer], items: NDArray[np.integer]) -> Reals:
    """(n,) the logit of watching without noise: the best that a predictor of engagement could know."""
    distress = _distress_effect(truth, np.asarray(persons, np.int64), np.asarray(items, np.int64))
    return np.asarray(undistressed_logit(truth, persons, items) + distress)


def watch_fraction(logit: Reals) -> Reals:
    """(n,) the fraction of a video that is watched at these logits, in [0, 1]."""
    return np.minimum(1 / (1 + np.exp(-STEEPNESS * logit)) / COMPLETION_FRACTION, 1.0)


def behave(
    truth: Truth,
    persons: int | NDArray[np.integer],
    items: NDArray[np.integer],
    rng: np.random.Generator,
) -> Reactions:
    """
    How the people react, each to one video and independently of the others.

    Shapes: items (n,) rows of the items table; persons (n,) rows of the users table, or one row for all.
    """
    item: Longs = np.asarray(items, np.int64)
    person: Longs = np.broadcast_to(np.asarray(persons, np.int64), item.shape)
    logit = watch_logit(truth, person, item) + rng.normal(0, NOISE, len(item))
    return _reactions(truth, person, item, watch_fraction(logit), rng.random((10, len(item))))


def _reactions(truth: Truth, persons: Longs, items: Longs, watched: Reals, draws: Reals) -> Reactions:
    """The reactions that follow from the fraction watched; `draws` (10, n) uniform."""
    distress, tier = truth.people.distress[persons], truth.items.tier[items]
    is_risky, is_heavy = tier >= 2, tier >= 1
    is_supportive = (truth.items.topic[items] < N_SUPPORTIVE) & ~is_risky
    completed = watched >= 1.0
    return Reactions(
        watch_fraction=watched,
        completed=completed,
        rewatched=completed & (draws[0] < 0.06 + 0.15 * distress * is_risky),
        liked=draws[1] < 0.28 * watched**2 * np.where(is_risky, 0.5, 1.0),
        shared=draws[2] < 0.03 * watched,
        commented=draws[3] < 0.012 * watched,
        saved=draws[4] < 0.03 * watched * (1 + is_supportive),
        helped=is_supportive & (draws[5] < 0.2 * watched * (0.6 + 0.8 * distress)),
        not_interested=(watched < 0.2) & (draws[6] < 0.04 + 0.06 * is_risky),
        too_much=is_heavy & (draws[7] < np.where(is_risky, 0.02 + 0.03 * distress, 0.01)),
        reported=is_risky & (draws[8] < 0.006),
        followed=completed & (draws[9] < 0.035),
    )
