"""What counts as shown and watched: events and the training log, never what was only delivered."""

import numpy as np

from recsys.messages import FeedRequest
from recsys.services.rights import reset
from recsys.types import Responses


def responses(service, user: str, at: int) -> dict[str, float]:
    query = service.engine.context(FeedRequest(user_id=user), at).query
    ids = query.items.item_ids
    found: Responses = query.responses
    return {
        ids[query.rankings.index.of_row[row]]: round(float(v), 3)
        for row, v in zip(found.items, found.values, strict=True)
    }


def tell(service, at: int, *events: tuple[str, str, float | None]) -> None:
    fractions = [{} if fraction is None else {"watch_fraction": fraction} for _, _, fraction in events]
    told = [
        {"kind": kind, "item_id": item_id, "at": at, **more}
        for (kind, item_id, _), more in zip(events, fractions, strict=True)
    ]
    service.tell(*told, user_id="a", at=at)


def some_r0(service, at: int) -> list[str]:
    return [item.item_id for item in service.ask("a", at=at).items if item.tier == "R0"]


def test_what_was_only_delivered_says_nothing(make_service, evening) -> None:
    service = make_service().is_adult("a")
    page = service.ask("a", at=evening)
    assert page.items and responses(service, "a", evening + 1) == {}


def test_views_reactions_and_impressions_by_hand(make_service, evening) -> None:
    service = make_service().is_adult("a")
    v = some_r0(service, evening)[:5]
    tell(
        service, evening + 1, ("view", v[0], 0.6), ("like", v[0], None), ("view", v[1], 0.1),
        ("impression", v[2], None), ("save", v[3], None), ("view", v[4], 0.9), ("not_interested", v[4], None),
    )  # fmt: skip
    assert responses(service, "a", evening + 2) == {v[0]: 0.6, v[1]: 0.0, v[2]: 0.0, v[3]: 1.0, v[4]: 0.0}


def test_a_reset_forgets_them(make_service, evening) -> None:
    service = make_service().is_adult("a")
    tell(service, evening + 1, ("view", some_r0(service, evening)[0], 0.6))
    reset(service.engine, "a", evening + 2)
    assert responses(service, "a", evening + 3) == {}


def test_of_the_training_log_what_was_seen_and_not_watched_counts_as_nothing(make_service, tiny, evening) -> None:
    user = max(tiny.histories, key=lambda user_id: len(tiny.histories[user_id]))
    service = make_service()
    query = service.engine.context(FeedRequest(user_id=user), evening).query
    unwatched = np.setdiff1d(tiny.seen.get(user, []), tiny.histories[user].items)
    found = dict(zip(query.responses.items.tolist(), query.responses.values.tolist(), strict=True))
    assert all(found[row] == 0 for row in unwatched.tolist() if row in found)
    assert set(query.history.items.tolist()) <= set(found)
