"""
The closed loop: people ask for pages, watch, react, and come back; what they did shapes what they get next.

One person at a time, on a simulated clock, against anything that answers requests: the real engine, or a baseline.
Nothing here decides what is shown.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from eval.simulation.personas import Member, events_of, react, took, visits
from eval.simulation.world.model import Reals, Truth, Whole
from recsys.clock import DAY, HOUR, SECOND, Millis
from recsys.feed.engine import Engine, feed
from recsys.messages import FeedRequest, FeedResponse, Pause, PauseChoice
from recsys.services.events import accept_events
from recsys.services.profiles import put_profile, update_state
from recsys.services.rights import put_guardian
from recsys.user.state import UserState

GOES_ON: Final = 0.6  # the chance that somebody whom a pause asks wants to continue


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One page as its client sees it; `response` is None for a baseline. `micros`: µs of processor it took."""

    item_ids: tuple[str, ...]
    pause: Pause | None
    response: FeedResponse | None
    micros: float


class Feed(Protocol):
    """What people scroll through."""

    def join(self, member: Member, at: Millis) -> None:
        """A person is new here."""
        ...

    def ask(self, request: FeedRequest, at: Millis) -> Answer:
        """One page."""
        ...

    def tell(self, events: Sequence[Mapping[str, Any]], at: Millis) -> None:
        """What happened, received at `at`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """
    How people and their apps behave. `sizes` of pages, drawn evenly; `pages` of a visit, at least and at most. The rest
    are chances per page: that it is thrown away unseen, asked for again with the same id, on another surface, a list of
    R1 and R2 items alone that the platform wants ranked, asked by a clock five seconds slow, and that its events come
    twice or hours late.
    """

    sizes: tuple[int, ...] = (15,)
    pages: tuple[int, int] = (1, 3)
    thrown: float = 0.0
    repeated: float = 0.0
    elsewhere: float = 0.0
    risky_lists: float = 0.0
    slow_clock: float = 0.0
    late: float = 0.0


ROUGH: Final = Habits(
    sizes=(1, 5, 10, 20, 20, 30, 30, 40, 50, 50), pages=(1, 4), thrown=0.05, repeated=0.05, elsewhere=0.1,
    risky_lists=0.2, slow_clock=0.05, late=0.05,
)  # fmt: skip
"""Apps at their worst, for counting violations. Pages are long, so that a million impressions take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One page of one person. `rows` (n,) of the items table as served; `watched` (n,), NaN when thrown away."""

    at: Millis  # the server's clock when it was asked for
    asked: int
    rows: Whole
    watched: Reals
    answer: Answer
    is_repeat: bool
    has_recovered: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Life:
    """Everything that happened to one person, in order. `received` are the times at which events arrived."""

    member: Member
    pages: list[Seen] = field(default_factory=list)
    received: list[Millis] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """What all people share: the truth, and the items table by row."""

    truth: Truth
    item_ids: tuple[str, ...]
    creator_ids: tuple[str, ...]
    row_of: Mapping[str, int]
    risky: Whole  # rows of R2 items, for those who have a past
    heavy: Whole  # rows of R1 and R2 items, for apps that ask for nothing else


def live(
    member: Member,
    stage: Stage,
    service: Feed,
    habits: Habits,
    *,
    starts_at: Millis,
    days: int,
    rng: np.random.Generator,
) -> Life:
    """A person's days, from the first visit to the last."""
    person = _Person(stage, service, habits, Life(member=member), rng, starts_at + days * DAY // 2)
    person.begin(starts_at)
    now = starts_at
    for visit in visits(member.persona, starts_at, days, rng):
        now = person.scroll(max(visit, now))
    return person.life


@dataclass(slots=True)
class _Person:
    """Somebody with a phone in hand."""

    stage: Stage
    service: Feed
    habits: Habits
    life: Life
    rng: np.random.Generator
    turns_at: Millis  # when those recover who do
    numbers: Any = field(default_factory=itertools.count)
    late: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, at: Millis) -> None:
        """Joins, with what they watched elsewhere before."""
        member = self.life.member
        self.service.join(member, at)
        past = self.rng.choice(self.stage.risky, member.persona.risky_past, replace=False)
        done = react(member, self.stage.truth, past, self.rng)
        for n, chunk in enumerate(np.array_split(np.arange(len(past)), max(1, len(past) // 20))):
            # spread over the four days before, as a platform that joins Sanad would report its log
            self._report(self._events(past[chunk], done, chunk, at - 4 * DAY + n * 6 * HOUR))

    def _events(self, rows: Whole, done: Any, keep: NDArray[np.intp], at: Millis) -> list[dict[str, Any]]:
        part = type(done)(**{name: getattr(done, name)[keep] for name in type(done).__dataclass_fields__})
        item_ids = [self.stage.item_ids[row] for row in rows.tolist()]
        creator_ids = [self.stage.creator_ids[row] for row in rows.tolist()]
        return events_of(self.life.member, part, item_ids, creator_ids, at)

    def _report(self, events: list[dict[str, Any]]) -> None:
        if events:
            at = events[0]["at"]
            self.service.tell(events, at)
            self.life.received.append(at)

    def scroll(self, now: Millis) -> Millis:
        """One visit; the time when it is over."""
        choice: PauseChoice | None = None
        for _ in range(int(self.rng.integers(self.habits.pages[0], self.habits.pages[1] + 1))):
            now, page = self._page(now, choice)
            pause = page.answer.pause
            choice = None
            if pause is not None and pause.needs_choice:
                goes_on = self.rng.random() < GOES_ON
                choice = PauseChoice(pause_id=pause.pause_id, choice="continue" if goes_on else "stop")
            elif not len(page.rows):
                break
        return now + SECOND

    def _page(self, now: Millis, choice: PauseChoice | None) -> tuple[Millis, Seen]:
        request = self._request(choice)
        is_slow = self.rng.random() < self.habits.slow_clock
        page = self._ask(request, now - 5 * SECOND * is_slow, is_repeat=False)
        if self.rng.random() < self.habits.repeated:
            now += 2 * SECOND
            self._ask(request, now, is_repeat=True)
        if self.rng.random() < self.habits.thrown or not len(page.rows):
            return now + SECOND, page
        return self._watch(page, now), page

    def _request(self, choice: PauseChoice | None) -> FeedRequest:
        member, rng = self.life.member, self.rng
        surface: Any = "for_you"
        fields: dict[str, Any] = {}
        if rng.random() < self.habits.elsewhere:
            surface = str(rng.choice(["local", "following", "related", "search"]))
            fields = {
                "related": {"anchor_item_id": self.stage.item_ids[int(rng.integers(len(self.stage.item_ids)))]},
                "search": {"query": str(rng.choice(["tristesse", "راسي", "sport", "9raya"]))},
            }.get(surface, {})
        elif rng.random() < self.habits.risky_lists:
            listed = rng.choice(self.stage.heavy, min(200, len(self.stage.heavy)), replace=False)
            fields = {"candidate_ids": tuple(self.stage.item_ids[row] for row in listed.tolist())}
        return FeedRequest(
            user_id=member.user_id, size=int(rng.choice(self.habits.sizes)), surface=surface, pause_choice=choice,
            request_id=f"{member.user_id}-{next(self.numbers)}", explain="none", **fields,
        )  # fmt: skip

    def _ask(self, request: FeedRequest, at: Millis, *, is_repeat: bool) -> Seen:
        answer = self.service.ask(request, at)
        rows = np.array([self.stage.row_of[item_id] for item_id in answer.item_ids], np.int64)
        page = Seen(
            at=at, asked=request.size, rows=rows, watched=np.full(len(rows), np.nan), answer=answer,
            is_repeat=is_repeat, has_recovered=at >= self.turns_at,
        )  # fmt: skip
        self.life.pages.append(page)
        return page

    def _watch(self, page: Seen, now: Millis) -> Millis:
        """Watches a page and reports it; the time when that is done."""
        done = react(self.life.member, self.stage.truth, page.rows, self.rng, has_recovered=page.has_recovered)
        page.watched[:] = done.watch_fraction
        now += took(self.stage.truth, page.rows, done)
        events = self._events(page.rows, done, np.arange(len(page.rows)), now)
        if self.late:
            # hours late, and the first ones for the second time
            self._report([{**event, "at": now} for event in self.late])
            self.late = []
        if self.rng.random() < self.habits.late:
            self.late = events
            events = events[: len(events) // 2]
        self._report(events)
        return now


@dataclass(slots=True, kw_only=True)
class Sanad:
    """
    The real engine as a feed. `forget` changes a person's state after every page, to see what a part of it is for.
    """

    engine: Engine
    forget: Any = None

    def join(self, member: Member, at: Millis) -> None:
        """See `Feed.join`."""
        put_profile(self.engine, member.user_id, member.profile, at)
        if member.persona.guardian:
            put_guardian(self.engine, member.user_id, member.persona.guardian, at)

    def ask(self, request: FeedRequest, at: Millis) -> Answer:
        """See `Feed.ask`."""
        started = process_time()
        page = feed(self.engine, request, at)
        micros = (process_time() - started) * 1e6
        response = msgspec.json.decode(page.answer, type=FeedResponse)
        if self.forget is not None:
            update_state(self.engine, request.user_id, self.forget)
        item_ids = tuple(item.item_id for item in response.items)
        return Answer(item_ids=item_ids, pause=response.pause, response=response, micros=micros)

    def tell(self, events: Sequence[Mapping[str, Any]], at: Millis) -> None:
        """See `Feed.tell`. Raises RuntimeError when the engine refuses what the simulator says."""
        refused = accept_events(self.engine, events, at).rejected
        if refused:
            raise RuntimeError(f"found a refused event ({refused[0].reason}), expected none from the simulator")


def without_loop(state: UserState) -> UserState:
    """The loop breaker forgets after every page."""
    calm = type(state.safety.loop)()
    return msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, loop=calm))
