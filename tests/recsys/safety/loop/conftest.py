"""A catalogue with something of every kind, and somebody who scrolls and reacts."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest

from recsys.catalogue.items import Items, apply_delta, empty_items
from recsys.clock import from_text
from recsys.feed.events import apply_events, record_page
from recsys.safety.harm_terms import harm_terms_of, redact_query
from recsys.safety.ledger import server_time, touch
from recsys.safety.loop.levels import (
    note_page,
    update_level,
)
from recsys.safety.loop.state import (
    LoopContext,
    loop_context_of,
)
from recsys.stores.protocols import CatalogueDelta, ItemRow, Logged, StatedWording
from recsys.types import Event
from recsys.user.state import (
    Delivery,
    LoopState,
    UserState,
)

AT = from_text("2026-09-21T14:00:00Z")  # 14:00 in Casablanca


PLACEHOLDER = harm_terms_of(["zzforbidden", "zz two words"])


TABLE = [  # item_no 1, 2, ...
    {"risk_tier": "R0", "topics": ["S3"]},
    {"risk_tier": "R1", "topics": ["S11"]},
    {"risk_tier": "R2", "risk_family": "despair", "topics": ["S1"]},
    {"risk_tier": "R3", "creator_id": "risky"},
    {"topics": ["S3"]},  # unlabelled
    {"risk_tier": "R2", "risk_family": "body"},
    *({"risk_tier": "R2", "risk_family": "despair"} for _ in range(4)),
    *({"risk_tier": "R0", "topics": ["S10"]} for _ in range(6)),
    {"risk_tier": "R2", "risk_source": "model"},  # not sure: R3 for minors
]


@pytest.fixture(scope="session")
def items(market) -> Items:
    rows = tuple(
        ItemRow(
            item_no=n, wordings=(StatedWording(None, 0, 0),), revision=1, peak_tier=0, is_edited=False,
            fields={"item_id": f"v{n}", "creator_id": "calm", "published_at": 0, "title": f"T{n}"}
            | {"risk_source": "human", **fields},
        )
        for n, fields in enumerate(TABLE, start=1)
    )  # fmt: skip
    return apply_delta(
        empty_items(), CatalogueDelta(revision=1, newest_raise=0, rows=rows), market=market, creators={}, rows={}
    )  # fmt: skip


@pytest.fixture(scope="session")
def loop_context(policy) -> LoopContext:
    return loop_context_of(policy, "18+", None, PLACEHOLDER)


@dataclass
class Someone:
    """A person who scrolls and reacts, through the same functions as a feed."""

    loop_context: LoopContext
    items: Items
    state: UserState = field(default_factory=UserState)
    at: int = AT
    n_events: int = 0

    @property
    def loop(self) -> LoopState:
        return self.state.safety.loop

    def page(self, *tiers: int, refusals: int = 0, wait: int = 0, topics: int = 0) -> "Someone":
        rules, counted = self.loop_context.market.session, self.state.safety
        self.at = server_time(counted.ledger, self.at + wait)
        counted = msgspec.structs.replace(counted, ledger=touch(counted.ledger, self.at, rules))
        self.state = update_level(msgspec.structs.replace(self.state, safety=counted), self.loop_context, self.at)
        n = self.state.safety.ledger.n_delivered
        deliveries = tuple(
            Delivery(at=self.at, item_no=n + k, creator_no=n + k, tier=tier, topics=topics)
            for k, tier in enumerate(tiers)
        )
        self.state = record_page(self.state, deliveries, self.at, self.loop_context.market)
        self.state = note_page(
            self.state, refusals=refusals, deliveries=deliveries, loop_context=self.loop_context, at=self.at
        )  # fmt: skip
        return self

    def tell(self, kind: str, item: int | None = None, *, event_id: str | None = None, **fields: object) -> "Someone":
        self.n_events += 1
        fields["query"] = redact_query(self.loop_context.harm_terms, fields.get("query"))  # as the intake keeps it
        event = Event(
            event_id=event_id or f"e{self.n_events}", user_id="u", kind=kind, at=0,
            item_id=None if item is None else f"v{item}", **fields,
        )  # fmt: skip
        logged = Logged(seq=self.n_events, received_at=self.at, event=event)
        self.state = apply_events(self.state, [logged], items=self.items, loop_context=self.loop_context).state
        return self


@pytest.fixture(scope="session")
def new_someone(policy, items) -> Callable[..., Someone]:
    """Somebody of an age band, about whom nothing is known yet."""
    return lambda band="18+": Someone(loop_context_of(policy, band, None, PLACEHOLDER), items)


@pytest.fixture
def someone(new_someone) -> Someone:
    return new_someone()
