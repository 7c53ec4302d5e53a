"""
The people of the closed loop: who they are, when they come, and how they react to what they are shown.

Twelve personas, each in two kinds: one watches by its own taste (utility-informed), one watches whatever it is given
(blind-following), which overstates a loop. Reactions come from the demo world's `behave`; a persona says which traits
go in. All of it is made up: it shows mechanisms, never how strong they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from eval.simulation.world.behaviour import Reactions, behave
from eval.simulation.world.model import TRUE_TOPICS, People, Truth, Whole, World
from recsys.clock import DAY, HOUR, MINUTE, SECOND, Millis
from recsys.types import Mask
from recsys.vocabulary import FAMILIES

GRIPPED: Final = 0.95  # the distress that a family of R2 finds in a persona that it grips
CALM: Final = 0.05  # the distress of whoever has recovered
LIKING: Final = 1.5  # added to the taste for a persona's topics
BLINDLY: Final = 0.9  # how often a blind follower watches a video to the end
LOCAL_OFFSET: Final = 1 * HOUR  # Morocco keeps UTC+1 outside Ramadan
DAY_HOURS: Final = tuple(range(8, 22))
NIGHT_HOURS: Final = (22, 23, 0, 1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """
    One kind of person. `distress` in [0, 1]; `likes` are topics of `TRUE_TOPICS`; `gripped_by` families of R2 that pull
    although the rest does not. `night` is the share of visits at night, `visits` a day at least and at most. `refuses`
    is the chance of "not interested" on an R2 item, on top of what `behave` does. `risky_past` R2 items were watched
    before the first page. Whoever `recovers` does so halfway: calm from then on, and refusing R2.
    """

    name: str
    age_band: str = "18+"
    age_source: str = "verified"
    country: str = "MA"
    distress: float = 0.15
    likes: tuple[str, ...] = ()
    gripped_by: tuple[str, ...] = ()
    night: float = 0.05
    visits: tuple[int, int] = (2, 4)
    refuses: float = 0.0
    risky_past: int = 0
    is_passive: bool = False
    recovers: bool = False
    guardian: Mapping[str, Any] = field(default_factory=dict)


PERSONAS: Final = (
    Persona(name="engaged-distress", distress=0.9),
    Persona(name="engaged-help", distress=0.4, likes=("S1", "S2", "S3", "S4")),
    Persona(name="avoidant", distress=0.0, refuses=0.3),
    Persona(name="passive", is_passive=True),
    Persona(name="ED-prone", gripped_by=("body",), likes=("cooking",)),
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
    """One person: rows of the crowd's people for who they are and for who they are when gripped or recovered."""

    user_id: str
    persona: Persona
    is_blind: bool
    row: int
    other_row: int
    region: str
    languages: tuple[str, ...]

    @property
    def profile(self) -> dict[str, Any]:
        """What the platform knows of them."""
        return {
            "country": self.persona.country,
            "region": self.region,
            "languages": list(self.languages),
            "age_band": self.persona.age_band,
            "age_source": self.persona.age_source,
            "consent": True,
        }


def crowd(
    world: World, personas: Sequence[Persona], n_each: int, rng: np.random.Generator, *, kinds: Sequence[bool]
) -> tuple[Truth, tuple[Member, ...]]:
    """
    `n_each` people per persona and kind (`kinds`: is_blind), with the truth behind them. Where they live, what they
    understand and like at random is taken from people of the world; they are new to every model.
    """
    country = world.users["country"].to_numpy()
    regions, languages = world.users["region"].to_list(), world.users["languages"].to_list()
    members: list[Member] = []
    models: list[int] = []
    for persona in personas:
        pool = np.flatnonzero(country == persona.country)
        for is_blind in kinds:
            for n, model in enumerate(rng.choice(pool, n_each).tolist()):
                kind = "blind" if is_blind else "own"
                members.append(
                    Member(
                        user_id=f"{persona.name}-{kind}-{n}", persona=persona, is_blind=is_blind,
                        row=2 * len(models), other_row=2 * len(models) + 1,
                        region=regions[model], languages=tuple(languages[model]),
                    )
                )  # fmt: skip
                models.append(model)
    people = _traits(world.truth.people, np.repeat(models, 2), members)
    return Truth(people=people, items=world.truth.items), tuple(members)


def _traits(everybody: People, models: Whole, members: Sequence[Member]) -> People:
    """The world's traits of the models' rows, with what each persona says put over them."""
    names = People.__dataclass_fields__
    people = replace(everybody, **{name: getattr(everybody, name)[models].copy() for name in names})
    for member in members:
        persona, rows = member.persona, [member.row, member.other_row]
        people.distress[rows] = persona.distress, CALM if persona.recovers else GRIPPED
        people.is_adult[rows] = persona.age_band == "18+"
        people.taste[np.ix_(rows, [TRUE_TOPICS.index(topic) for topic in persona.likes])] += LIKING
    return people


def react(
    member: Member, truth: Truth, items: Whole, rng: np.random.Generator, *, has_recovered: bool = False
) -> Reactions:
    """What the person does with n videos, rows of the items table."""
    persona, things = member.persona, truth.items
    is_r2 = things.tier[items] >= 2
    is_other = np.full(len(items), has_recovered and persona.recovers)
    is_other |= np.isin(things.family[items], [FAMILIES.index(family) for family in persona.gripped_by])
    done = behave(truth, np.where(is_other, member.other_row, member.row), items, rng)
    if persona.is_passive:
        done = _only_watching(done, np.full(len(items), 0.6))
    if member.is_blind:
        watched = np.where(rng.random(len(items)) < BLINDLY, 1.0, done.watch_fraction)
        done = replace(_only_watching(done, watched), liked=done.liked, followed=done.followed)
    refuses = 0.5 if has_recovered and persona.recovers else persona.refuses
    return replace(done, not_interested=done.not_interested | (is_r2 & (rng.random(len(items)) < refuses)))


def _only_watching(done: Reactions, watched: np.ndarray[Any, np.dtype[np.float64]]) -> Reactions:
    """The same without anything said: somebody who lets it play."""
    no: Mask = np.zeros(len(watched), np.bool_)
    return replace(
        done, watch_fraction=watched, completed=watched >= 1.0, rewatched=no, liked=no, shared=no, commented=no,
        saved=no, helped=no, not_interested=no, too_much=no, reported=no, followed=no,
    )  # fmt: skip


SAID: Final = (
    ("completed", "complete"), ("rewatched", "rewatch"), ("liked", "like"), ("shared", "share"), ("saved", "save"),
    ("helped", "helped"), ("not_interested", "not_interested"), ("too_much", "too_much"), ("reported", "report"),
)  # fmt: skip


def events_of(
    member: Member, done: Reactions, item_ids: Sequence[str], creator_ids: Sequence[str], at: Millis
) -> list[dict[str, Any]]:
    """The events that the platform reports, all received at `at`: a view for each video, and what was said about it."""
    said = {kind: getattr(done, name).tolist() for name, kind in SAID}
    events: list[dict[str, Any]] = []
    for n, (item_id, creator_id) in enumerate(zip(item_ids, creator_ids, strict=True)):
        kinds = ["view", *(kind for kind, happened in said.items() if happened[n])]
        for kind in kinds:
            events.append({"kind": kind, "item_id": item_id})
        events[-len(kinds)]["watch_fraction"] = float(done.watch_fraction[n])
        if done.followed[n]:
            events.append({"kind": "follow", "creator_id": creator_id})
    common = {"user_id": member.user_id, "at": at}
    return [{**event, **common, "event_id": f"{member.user_id}-{at}-{n}"} for n, event in enumerate(events)]


def took(truth: Truth, items: Whole, done: Reactions) -> Millis:
    """How long the person was busy with n videos: what they watched, and a second to get to the next one."""
    watched = float((truth.items.duration_s[items] * done.watch_fraction).sum())
    return int(watched * SECOND) + len(items) * SECOND


def visits(persona: Persona, starts_at: Millis, days: int, rng: np.random.Generator) -> list[Millis]:
    """When the person opens the app, ascending. `starts_at` is a midnight in UTC."""
    found = []
    for day in range(days):
        for _ in range(int(rng.integers(persona.visits[0], persona.visits[1] + 1))):
            hours = NIGHT_HOURS if rng.random() < persona.night else DAY_HOURS
            local = int(rng.choice(hours)) * HOUR + int(rng.integers(60)) * MINUTE
            found.append(starts_at + day * DAY + (local - LOCAL_OFFSET) % DAY)
    return sorted(found)
