"""
The people of the simulation: their traits, when they open the app, and how they react to what they are shown.

Twelve personas, each of two kinds. One watches by its own taste (utility-informed); the other watches whatever it is
given (blind-following), which overstates a loop. Reactions come from the demo world's `behave`, with the traits of the
persona. All of it is made up: it shows mechanisms, never how strong they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from eval.simulation.world.behaviour import Reactions, behave
from eval.simulation.world.truth import TRUE_TOPICS, PeopleTruth, Truth, World
from recsys.clock import DAY, HOUR, MINUTE, SECOND, Millis
from recsys.types import Fields, JsonObject, Longs, Mask, Reals
from recsys.vocabulary import FAMILIES

HIGH_DISTRESS: Final = 0.95  # towards the families of R2 to which a persona is vulnerable
LOW_DISTRESS: Final = 0.05  # after recovery
TOPIC_BONUS: Final = 1.5  # added to the taste for a persona's topics
BLIND_COMPLETION_CHANCE: Final = 0.9  # that a blind follower watches a video to the end
PASSIVE_FRACTION: Final = 0.6  # of each video that a passive person watches
RECOVERED_NEGATIVE_FEEDBACK: Final = 0.5  # chance of "not interested" on an R2 item after recovery
UTC_OFFSET_MS: Final = 1 * HOUR  # Morocco keeps UTC+1 outside Ramadan
DAY_HOURS: Final = tuple(range(8, 22))
NIGHT_HOURS: Final = (22, 23, 0, 1, 2, 3, 4, 5)

Event = Fields
"""An event as JSON, in the fields of `columns.EVENTS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """
    One kind of person. `distress` in [0, 1]; `likes` are topics of `TRUE_TOPICS`; `vulnerable_to`: families of R2 that
    attract the person although other R2 content does not. `night`: the share of visits at night. `visits` a day, at
    least and at most. `negative_feedback`: the chance of "not interested" on an R2 item, on top of `behave`.
    `risky_past`: how many R2 items were watched before the first page. A person who `recovers` does so halfway through
    the simulation, with low distress and negative feedback on R2 from then on.
    """

    name: str
    age_band: str = "18+"
    age_source: str = "verified"
    country: str = "MA"
    distress: float = 0.15
    likes: tuple[str, ...] = ()
    vulnerable_to: tuple[str, ...] = ()
    night: float = 0.05
    visits: tuple[int, int] = (2, 4)
    negative_feedback: float = 0.0
    risky_past: int = 0
    is_passive: bool = False
    recovers: bool = False
    guardian: Fields = field(default_factory=dict)


PERSONAS: Final = (
    Persona(name="engaged-distress", distress=0.9),
    Persona(name="engaged-help", distress=0.4, likes=("S1", "S2", "S3", "S4")),
    Persona(name="avoidant", distress=0.0, negative_feedback=0.3),
    Persona(name="passive", is_passive=True),
    Persona(name="ED-prone", vulnerable_to=("body",), likes=("cooking",)),
    Persona(name="curious teen", age_band="16-17", distress=0.3, visits=(3, 6)),
    Persona(name="parent", distress=0.1, likes=("S6", "S12")),
    Persona(name="night scroller", distress=0.6, night=0.7),
    Persona(name="whole history risky", distress=0.9, risky_past=80),
    Persona(name="recovering", distress=0.9, recovers=True),
    Persona(
        name="family pair",
        age_band="13-15",
        distress=0.5,
        likes=("S6",),
        guardian={"daily_minutes": 90, "night": ["21:00-07:00"]},
    ),
    Persona(name="diaspora", country="FR", distress=0.3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """
    One person. `row`: their traits among the people's rows. `other_row`: their traits after recovery, or towards
    families that they are vulnerable to.
    """

    user_id: str
    persona: Persona
    is_blind: bool
    row: int
    other_row: int
    region: str
    languages: tuple[str, ...]

    @property
    def profile(self) -> JsonObject:
        """Their profile, as a platform would send it."""
        fields = {
            "country": self.persona.country,
            "region": self.region,
            "languages": list(self.languages),
            "age_band": self.persona.age_band,
            "age_source": self.persona.age_source,
            "consent": True,
        }
        return {**fields, "guardian_id": f"{self.user_id}-guardian"} if self.persona.guardian else fields


def make_members(
    world: World, personas: Sequence[Persona], n_each: int, rng: np.random.Generator, *, kinds: Sequence[bool]
) -> tuple[Truth, tuple[Member, ...]]:
    """
    `n_each` people for each persona and kind (`kinds`: is_blind), with the truth behind them. Place, languages and
    tastes are copied from random people of the world; they are new to every model.
    """
    country = world.users["country"].to_numpy()
    regions, languages = world.users["region"].to_list(), world.users["languages"].to_list()
    members: list[Member] = []
    templates: list[int] = []  # rows of the world's people
    for persona in personas:
        pool = np.flatnonzero(country == persona.country)
        for is_blind in kinds:
            for n, template in enumerate(rng.choice(pool, n_each).tolist()):
                kind = "blind" if is_blind else "own"
                members.append(
                    Member(
                        user_id=f"{persona.name}-{kind}-{n}", persona=persona, is_blind=is_blind,
                        row=2 * len(templates), other_row=2 * len(templates) + 1,
                        region=regions[template], languages=tuple(languages[template]),
                    )
                )  # fmt: skip
                templates.append(template)
    people = _traits(world.truth.people, np.repeat(templates, 2), members)
    return Truth(people=people, items=world.truth.items), tuple(members)


def _traits(everybody: PeopleTruth, templates: Longs, members: Sequence[Member]) -> PeopleTruth:
    """The traits of the template rows, with those that each persona sets put over them."""
    names = PeopleTruth.__dataclass_fields__
    people = replace(everybody, **{name: getattr(everybody, name)[templates].copy() for name in names})
    for member in members:
        persona, rows = member.persona, [member.row, member.other_row]
        people.distress[rows] = persona.distress, LOW_DISTRESS if persona.recovers else HIGH_DISTRESS
        people.is_adult[rows] = persona.age_band == "18+"
        people.topic_taste[np.ix_(rows, [TRUE_TOPICS.index(topic) for topic in persona.likes])] += TOPIC_BONUS
    return people


def react(
    member: Member, truth: Truth, items: Longs, rng: np.random.Generator, *, has_recovered: bool = False
) -> Reactions:
    """How the person reacts to n videos, rows of the items table."""
    persona = member.persona
    is_r2 = truth.items.tier[items] >= 2
    is_other = np.full(len(items), has_recovered and persona.recovers)
    is_other |= np.isin(truth.items.family[items], [FAMILIES.index(family) for family in persona.vulnerable_to])
    done = behave(truth, np.where(is_other, member.other_row, member.row), items, rng)
    if persona.is_passive:
        done = _only_watching(done, np.full(len(items), PASSIVE_FRACTION))
    if member.is_blind:
        watched = np.where(rng.random(len(items)) < BLIND_COMPLETION_CHANCE, 1.0, done.watch_fraction)
        done = replace(_only_watching(done, watched), liked=done.liked, followed=done.followed)
    chance = RECOVERED_NEGATIVE_FEEDBACK if has_recovered and persona.recovers else persona.negative_feedback
    return replace(done, not_interested=done.not_interested | (is_r2 & (rng.random(len(items)) < chance)))


def _only_watching(done: Reactions, watched: Reals) -> Reactions:
    """The same without any other action: somebody who lets the videos play."""
    no: Mask = np.zeros(len(watched), np.bool_)
    return replace(
        done, watch_fraction=watched, completed=watched >= 1.0, rewatched=no, liked=no, shared=no, commented=no,
        saved=no, helped=no, not_interested=no, too_much=no, reported=no, followed=no,
    )  # fmt: skip


KIND_BY_REACTION: Final = (
    ("completed", "complete"), ("rewatched", "rewatch"), ("liked", "like"), ("shared", "share"), ("saved", "save"),
    ("helped", "helped"), ("not_interested", "not_interested"), ("too_much", "too_much"), ("reported", "report"),
)  # fmt: skip


def events_of(
    member: Member, done: Reactions, item_ids: Sequence[str], creator_ids: Sequence[str], at: Millis
) -> list[Event]:
    """The events that a platform reports, all received at `at`: a view for each video, and the other reactions."""
    reactions = {kind: getattr(done, name).tolist() for name, kind in KIND_BY_REACTION}
    events: list[JsonObject] = []
    for n, (item_id, creator_id) in enumerate(zip(item_ids, creator_ids, strict=True)):
        kinds = ["view", *(kind for kind, did in reactions.items() if did[n])]
        for kind in kinds:
            events.append({"kind": kind, "item_id": item_id})
        events[-len(kinds)]["watch_fraction"] = float(done.watch_fraction[n])
        if done.followed[n]:
            events.append({"kind": "follow", "creator_id": creator_id})
    common = {"user_id": member.user_id, "at": at}
    return [{**event, **common, "event_id": f"{member.user_id}-{at}-{n}"} for n, event in enumerate(events)]


def time_spent(truth: Truth, items: Longs, done: Reactions) -> Millis:
    """The time that n videos take: what was watched, and a second each to get to the next one."""
    watched = float((truth.items.duration_s[items] * done.watch_fraction).sum())
    return int(watched * SECOND) + len(items) * SECOND


def visit_times(persona: Persona, starts_at: Millis, days: int, rng: np.random.Generator) -> list[Millis]:
    """The instants at which the person opens the app, ascending. `starts_at` is a midnight in UTC."""
    times = []
    for day in range(days):
        for _ in range(int(rng.integers(persona.visits[0], persona.visits[1] + 1))):
            hours = NIGHT_HOURS if rng.random() < persona.night else DAY_HOURS
            local = int(rng.choice(hours)) * HOUR + int(rng.integers(60)) * MINUTE
            times.append(starts_at + day * DAY + (local - UTC_OFFSET_MS) % DAY)
    return sorted(times)
