"""What the attacks share: items by tier, ways to look inside, and a recount that knows nothing of the engine's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from recsys.clock import DAY
from recsys.feed.record import Decision, candidates_of
from recsys.feed.slate import delivered
from recsys.messages import FeedRequest
from recsys.models.artifact import Artifact
from recsys.policy.limits import Limits
from recsys.services.profiles import update_state
from recsys.user.state import Delivery, UserState
from recsys.vocabulary import FAMILIES

COUNTERS = ("R1", "R2", "R1+R2", "S4", *FAMILIES)


@pytest.fixture(scope="session")
def by_tier(tiny: Artifact) -> Mapping[str | None, list[str]]:
    """Item ids by tier; None = unlabelled."""
    item_ids: dict[str | None, list[str]] = {}
    for row in tiny.items.iter_rows(named=True):
        item_ids.setdefault(row["risk_tier"], []).append(row["item_id"])
    return item_ids


@pytest.fixture(scope="session")
def risky(by_tier: Mapping[str | None, list[str]]) -> tuple[str, ...]:
    """Everything that a window counts."""
    return (*by_tier["R1"], *by_tier["R2"], *by_tier[None])


def _page(decision: Decision) -> Sequence[Delivery]:
    return delivered(candidates_of(decision), np.array(decision.chosen, np.intp), decision.at)


def _is_of(delivery: Delivery, counter: str) -> bool:
    if counter == "S4":
        return delivery.is_s4
    if counter in FAMILIES:
        return delivery.tier >= 2 and delivery.family == FAMILIES.index(counter)
    return {"R1": delivery.tier == 1, "R2": delivery.tier >= 2, "R1+R2": delivery.tier >= 1}[counter]


def _caps(limits: Limits, counter: str) -> Mapping[str, int]:
    windows = limits.windows["R2" if counter in FAMILIES else counter]
    names = ("last_20", "session", "rolling_24h", "rolling_7d")
    caps = {name: getattr(windows, name) for name in names}
    return {
        name: -(-cap // 2) if counter in FAMILIES else cap for name, cap in caps.items() if cap is not None
    }  # fmt: skip


def exceeded_by(decisions: Sequence[Decision]) -> list[str]:
    """Every window of every counter, at every delivery, counted over everything that the records say was shown."""
    shown = [(d, r.limits, r.ledger.session_started_at) for r in decisions for d in _page(r)]
    wrong = [f"R3 or R4 at {n}" for n, (d, _, _) in enumerate(shown) if d.tier > 2]
    for counter in COUNTERS:
        places = [n for n, (d, _, _) in enumerate(shown) if _is_of(d, counter)]
        for k, n in enumerate(places):
            delivery, limits, session = shown[n]
            past = places[: k + 1]
            found = {
                "last_20": sum(p > n - 20 for p in past),
                "session": sum(shown[p][2] == session for p in past),
                "rolling_24h": sum(shown[p][0].at >= delivery.at - DAY for p in past),
                "rolling_7d": sum(shown[p][0].at >= delivery.at - 7 * DAY for p in past),
            }
            caps = _caps(limits, counter)
            wrong += [f"{counter} {w} at {n}: {found[w]} > {cap}" for w, cap in caps.items() if found[w] > cap]
            if k and n - places[k - 1] - 1 < limits.gaps.get(counter, 0):
                wrong.append(f"{counter} at {n}: a gap of {n - places[k - 1] - 1}")
    return wrong


@pytest.fixture(scope="session")
def exceeded() -> Callable[..., list[str]]:
    """`exceeded(service, user_id)`: whatever went over a window, as text; empty when nothing did."""
    return lambda service, user_id="casa-adult": exceeded_by(service.decisions(user_id))


@pytest.fixture(scope="session")
def limits_now() -> Callable[..., Limits]:
    """`limits_now(service, user_id, at)`: the effective policy of the page that would come now."""

    def look(service: Any, user_id: str, at: int, **fields: Any) -> Limits:
        return service.engine.context(FeedRequest(user_id=user_id, **fields), at).query.limits

    return look


@pytest.fixture(scope="session")
def at_level() -> Callable[..., None]:
    """`at_level(service, user_id, level, at)` puts a person on a loop level."""

    def put(service: Any, user_id: str, level: int, at: int) -> None:
        def change(state: UserState) -> UserState:
            loop = msgspec.structs.replace(state.safety.loop, level=level, raised_at=at, clean_since=at)
            counted = msgspec.structs.replace(state.safety, loop=loop)
            return msgspec.structs.replace(state, safety=counted)

        update_state(service.engine, user_id, change)

    return put
