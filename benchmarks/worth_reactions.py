"""How fast pages move with a person: what a page is worth to newcomers after so many videos."""

from typing import Any, Final, Literal

import msgspec
import numpy as np
from worth_pages import engine_of
from worth_tables import Numbers, line, percent
from worth_worlds import JudgedWorld

from eval.offline.intervals import resample
from eval.simulation.world.behaviour import Reactions, behave
from eval.simulation.worth import PAGE_SIZE, best_page, gain_estimate, offer_to, padded, page_worth
from recsys.clock import MINUTE, Millis
from recsys.feed.engine import Engine, feed
from recsys.messages import FeedRequest, FeedResponse
from recsys.policy.schema import Market
from recsys.services.events import accept_events
from recsys.types import Longs

SHOWN: Final = (0, 3, 10, 30, 60)
"""Videos that a person was shown, and watched or left, before their page is judged."""

MODES: Final[tuple[Literal["personalised", "non_personalised"], ...]] = ("personalised", "non_personalised")

MAX_PAGES: Final = 20
"""So many pages are asked for until enough was shown; a person may run out of session time."""

_ACTIONS: Final = {"completed": "complete", "liked": "like", "helped": "helped", "not_interested": "not_interested"}


def after_reactions(world: JudgedWorld, market: Market, n_people: int) -> Numbers:
    """
    Gain and its interval after each of `SHOWN`, for the first people of the world as newcomers.

    Beside it the gain of a page that is not personalised, at the same moment: caps, floors and what was seen are the
    same, so the difference is what the reactions taught.
    """
    engine = engine_of(world, market, has_histories=False)
    of_table = {item_id: row for row, item_id in enumerate(world.items["item_id"])}
    worth = np.full((2, len(SHOWN), 3, n_people), np.nan)  # of the page, at random, of the best
    for person in range(n_people):
        shown: list[str] = []
        at = world.at
        for step, wanted in enumerate(SHOWN):
            for _ in range(MAX_PAGES):
                if len(shown) < wanted:
                    shown += _scroll(world, engine, person, min(10, wanted - len(shown)), at, of_table)
                    at += 5 * MINUTE
            for row, mode in enumerate(MODES):
                worth[row, step, :, person] = _worth(world, engine, person, at, of_table, mode)
    resamples = resample(n_people, np.random.default_rng(world.params.seed))
    print(line(f"{n_people} newcomers, shown so many", [str(n_shown) for n_shown in SHOWN]))
    numbers: Numbers = {}
    for name, columns in zip(MODES, worth, strict=True):
        gains = [gain_estimate(page, random, best, resamples) for page, random, best in columns]
        print(line(name, [percent(gain) for gain in gains]))
        numbers[name] = {str(n): msgspec.to_builtins(gain) for n, gain in zip(SHOWN, gains, strict=True)}
    return numbers


def _scroll(world: JudgedWorld, engine: Engine, person: int, size: int, at: Millis, of_table: dict[str, int]) -> int:
    """One page, and what the person does with it, reported at once; how many videos it had."""
    user_id = world.user_ids[person]
    page = feed(engine, FeedRequest(user_id=user_id, size=size, request_id=f"{user_id}-{at}"), at)
    items = msgspec.json.decode(page.answer, type=FeedResponse).items
    rows: Longs = np.array([of_table[item.item_id] for item in items], np.int64)
    if len(rows):
        done = behave(world.truth, person, rows, np.random.default_rng([world.params.seed, person, at // MINUTE]))
        events = _events(user_id, [item.item_id for item in items], done, at + MINUTE)
        rejected = accept_events(engine, events, at + MINUTE).rejected
        assert not rejected, rejected
    return [item.item_id for item in items]


def _events(user_id: str, item_ids: list[str], done: Reactions, at: Millis) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for place, item_id in enumerate(item_ids):
        base = {"user_id": user_id, "item_id": item_id, "at": at}
        fraction = round(float(done.watch_fraction[place]), 3)
        events.append({**base, "event_id": f"{user_id}-{at}-{place}", "kind": "view", "watch_fraction": fraction})
        for name, kind in _ACTIONS.items():
            if getattr(done, name)[place]:
                events.append({**base, "event_id": f"{user_id}-{at}-{place}-{kind}", "kind": kind})
    return events


def _worth(
    world: JudgedWorld,
    engine: Engine,
    person: int,
    at: Millis,
    of_table: dict[str, int],
    mode: Literal["personalised", "non_personalised"],
) -> tuple[float, float, float]:
    request = FeedRequest(user_id=world.user_ids[person], size=PAGE_SIZE, request_id="judged", mode=mode)
    plan = engine.plan(request, at)
    query, item_ids = plan.context.query, plan.context.query.items.item_ids
    is_eligible = np.zeros(len(world.items), np.bool_)
    is_eligible[[of_table[item_ids[n]] for n in np.flatnonzero(query.is_eligible) if item_ids[n] in of_table]] = True
    offer = offer_to(world.truth, person, world.counted, is_eligible)
    page = [of_table[item_ids[n]] for n in plan.candidates.item_nos[plan.selection.rows]]
    best = best_page(offer, offer.logit)
    return page_worth(offer, padded(np.array(page, np.int32))), offer.random_mean, page_worth(offer, best)
