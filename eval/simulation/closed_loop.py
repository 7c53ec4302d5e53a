"""
The closed loop: people request pages, watch, react and come back, and their reactions shape the next pages.

One person at a time, on a simulated clock, against any feed: the real engine or a baseline. Nothing here decides what
is shown.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import Final, Protocol, cast

import msgspec
import numpy as np

from eval.simulation.personas import Event, Member, events_of, react, time_spent, visit_times
from eval.simulation.world.behaviour import Reactions
from eval.simulation.world.truth import Truth
from recsys.clock import DAY, HOUR, SECOND, Millis
from recsys.feed.engine import Engine, feed
from recsys.messages import FeedRequest, FeedResponse, Pause, PauseChoice
from recsys.services.events import accept_events
from recsys.services.profiles import put_profile, update_state
from recsys.services.rights import put_guardian
from recsys.types import Fields, Longs, Reals
from recsys.user.state import UserState
from recsys.vocabulary import Surface

CONTINUE_CHANCE: Final = 0.6  # that a person continues after a pause


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAnswer:
    """One page as its client sees it. `response` is None for a baseline; `cpu_us`: processor time in microseconds."""

    item_ids: tuple[str, ...]
    pause: Pause | None
    response: FeedResponse | None
    cpu_us: float


class Feed(Protocol):
    """A service that answers requests and learns from events."""

    def join(self, member: Member, at: Millis) -> None:
        """Registers a new person."""
        ...

    def ask(self, request: FeedRequest, at: Millis) -> PageAnswer:
        """Answers a request with a page."""
        ...

    def tell(self, events: Sequence[Event], at: Millis) -> None:
        """Receives events at `at`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """
    How people and their apps behave. `sizes` of pages, drawn evenly; `pages` of a visit, at least and at most. The rest
    are chances for each page: that it is discarded unseen, requested again with the same id (`repeated`), requested on
    another surface (`elsewhere`), a ranking of R1 and R2 items alone (`risky_lists`), requested by a clock that is five
    seconds slow, and that its events arrive twice or hours late.
    """

    sizes: tuple[int, ...] = (15,)
    pages: tuple[int, int] = (1, 3)
    discarded: float = 0.0
    repeated: float = 0.0
    elsewhere: float = 0.0
    risky_lists: float = 0.0
    slow_clock: float = 0.0
    late: float = 0.0


STRESS_HABITS: Final = Habits(
    sizes=(1, 5, 10, 20, 20, 30, 30, 40, 50, 50), pages=(1, 4), discarded=0.05, repeated=0.05, elsewhere=0.1,
    risky_lists=0.2, slow_clock=0.05, late=0.05,
)  # fmt: skip
"""Apps at their worst, to look for violations. Pages are long, so that a million impressions take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PageView:
    """
    One page of one person. `at`: the server's clock at the request; `size`: the slots requested. `rows` (n,) of the
    items table as served; `watched` (n,) fractions, NaN when the page was discarded.
    """

    at: Millis
    size: int
    surface: Surface
    rows: Longs
    watched: Reals
    answer: PageAnswer
    is_repeat: bool
    has_recovered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    One event of an app: when it arrived, which is the time that it names, after how many pages, and what it says of
    which video (None: of a creator).
    """

    at: Millis
    after_pages: int
    kind: str
    item_id: str | None


@dataclass(slots=True, kw_only=True, eq=False)
class PersonLog:
    """All pages and all events of one person, each in the order in which they reached the service."""

    member: Member
    pages: list[PageView] = field(default_factory=list)
    reported: list[Report] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedTruth:
    """
    What all people share: the truth, and the items table by row. `risky`: rows of R2 items, for people with a risky
    past. `heavy`: rows of R1 and R2 items, for apps that request nothing else.
    """

    truth: Truth
    item_ids: tuple[str, ...]
    creator_ids: tuple[str, ...]
    row_of: Mapping[str, int]
    risky: Longs
    heavy: Longs


def simulate_person(
    member: Member,
    shared: SharedTruth,
    service: Feed,
    habits: Habits,
    *,
    starts_at: Millis,
    days: int,
    rng: np.random.Generator,
) -> PersonLog:
    """Simulates a person's days, from the first visit to the last."""
    simulation = _Simulation(shared, service, habits, PersonLog(member=member), rng, starts_at + days * DAY // 2)
    simulation.begin(starts_at)
    now = starts_at
    for visit in visit_times(member.persona, starts_at, days, rng):
        now = simulation.scroll(max(visit, now))
    return simulation.log


@dataclass(slots=True)
class _Simulation:
    """One person with their app. `recovers_at`: the instant from which a persona that recovers has recovered."""

    shared: SharedTruth
    service: Feed
    habits: Habits
    log: PersonLog
    rng: np.random.Generator
    recovers_at: Millis
    request_numbers: Iterator[int] = field(default_factory=itertools.count)
    late: list[Event] = field(default_factory=list)

    def begin(self, at: Millis) -> None:
        """Joins, and reports what they watched elsewhere before."""
        member = self.log.member
        self.service.join(member, at)
        past = self.rng.choice(self.shared.risky, member.persona.risky_past, replace=False)
        done = react(member, self.shared.truth, past, self.rng)
        for n, chunk in enumerate(np.array_split(np.arange(len(past)), max(1, len(past) // 20))):
            # spread over the four days before, as a platform that joins Sanad would report its log
            self._report(self._events(past[chunk], done.take(chunk), at - 4 * DAY + n * 6 * HOUR))

    def _events(self, rows: Longs, done: Reactions, at: Millis) -> list[Event]:
        item_ids = [self.shared.item_ids[row] for row in rows.tolist()]
        creator_ids = [self.shared.creator_ids[row] for row in rows.tolist()]
        return events_of(self.log.member, done, item_ids, creator_ids, at)

    def _report(self, events: list[Event]) -> None:
        if events:
            at = events[0]["at"]
            self.service.tell(events, at)
            n_pages = len(self.log.pages)
            self.log.reported += [
                Report(at=at, after_pages=n_pages, kind=event["kind"], item_id=event.get("item_id")) for event in events
            ]

    def scroll(self, now: Millis) -> Millis:
        """One visit; returns the instant when it is over."""
        choice: PauseChoice | None = None
        for _ in range(int(self.rng.integers(self.habits.pages[0], self.habits.pages[1] + 1))):
            now, page = self._page(now, choice)
            pause = page.answer.pause
            choice = None
            if pause is not None and pause.needs_choice:
                does_continue = self.rng.random() < CONTINUE_CHANCE
                choice = PauseChoice(pause_id=pause.pause_id, choice="continue" if does_continue else "stop")
            elif not len(page.rows):
                break
        return now + SECOND

    def _page(self, now: Millis, choice: PauseChoice | None) -> tuple[Millis, PageView]:
        request = self._request(choice)
        is_slow = self.rng.random() < self.habits.slow_clock
        page = self._ask(request, now - 5 * SECOND * is_slow, is_repeat=False)
        if self.rng.random() < self.habits.repeated:
            now += 2 * SECOND
            self._ask(request, now, is_repeat=True)
        if self.rng.random() < self.habits.discarded or not len(page.rows):
            return now + SECOND, page
        return self._watch(page, now), page

    def _request(self, choice: PauseChoice | None) -> FeedRequest:
        member, rng = self.log.member, self.rng
        surface: Surface = "for_you"
        fields: Fields = {}
        if rng.random() < self.habits.elsewhere:
            surface = cast(Surface, str(rng.choice(["local", "following", "related", "search"])))
            fields = {
                "related": {"anchor_item_id": self.shared.item_ids[int(rng.integers(len(self.shared.item_ids)))]},
                "search": {"query": str(rng.choice(["tristesse", "راسي", "sport", "9raya"]))},
            }.get(surface, {})
        elif rng.random() < self.habits.risky_lists:
            listed = rng.choice(self.shared.heavy, min(200, len(self.shared.heavy)), replace=False)
            fields = {"candidate_ids": tuple(self.shared.item_ids[row] for row in listed.tolist())}
        return FeedRequest(
            user_id=member.user_id, size=int(rng.choice(self.habits.sizes)), surface=surface, pause_choice=choice,
            request_id=f"{member.user_id}-{next(self.request_numbers)}", explain="none", **fields,
        )  # fmt: skip

    def _ask(self, request: FeedRequest, at: Millis, *, is_repeat: bool) -> PageView:
        answer = self.service.ask(request, at)
        rows = np.array([self.shared.row_of[item_id] for item_id in answer.item_ids], np.int64)
        page = PageView(
            at=at, size=request.size, surface=request.surface, rows=rows, watched=np.full(len(rows), np.nan),
            answer=answer, is_repeat=is_repeat, has_recovered=at >= self.recovers_at,
        )  # fmt: skip
        self.log.pages.append(page)
        return page

    def _watch(self, page: PageView, now: Millis) -> Millis:
        """Watches a page and reports it; returns the instant when that is done."""
        done = react(self.log.member, self.shared.truth, page.rows, self.rng, has_recovered=page.has_recovered)
        page.watched[:] = done.watch_fraction
        now += time_spent(self.shared.truth, page.rows, done)
        events = self._events(page.rows, done, now)
        if self.late:
            # hours late, and the first half for the second time
            self._report([{**event, "at": now} for event in self.late])
            self.late = []
        if self.rng.random() < self.habits.late:
            self.late = events
            events = events[: len(events) // 2]
        self._report(events)
        return now


@dataclass(slots=True, kw_only=True)
class EngineFeed:
    """
    The real engine as a feed. `after_page` changes a person's state after every page, to switch off a part of it.
    """

    engine: Engine
    after_page: Callable[[UserState], UserState] | None = None

    def join(self, member: Member, at: Millis) -> None:
        """See `Feed.join`."""
        put_profile(self.engine, member.user_id, member.profile, at)
        if member.persona.guardian:
            put_guardian(self.engine, member.user_id, member.persona.guardian, at)

    def ask(self, request: FeedRequest, at: Millis) -> PageAnswer:
        """See `Feed.ask`."""
        started = process_time()
        page = feed(self.engine, request, at)
        cpu_us = (process_time() - started) * 1e6
        response = msgspec.json.decode(page.answer, type=FeedResponse)
        if self.after_page is not None:
            update_state(self.engine, request.user_id, self.after_page)
        item_ids = tuple(item.item_id for item in response.items)
        return PageAnswer(item_ids=item_ids, pause=response.pause, response=response, cpu_us=cpu_us)

    def tell(self, events: Sequence[Event], at: Millis) -> None:
        """See `Feed.tell`. Raises RuntimeError when the engine rejects an event."""
        rejected = accept_events(self.engine, events, at).rejected
        if rejected:
            raise RuntimeError(f"found a rejected event ({rejected[0].reason}), expected none from the simulation")


def without_loop_breaker(state: UserState) -> UserState:
    """The state with an empty loop breaker: use it as `EngineFeed.after_page`."""
    empty = type(state.safety.loop)()
    return msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, loop=empty))
