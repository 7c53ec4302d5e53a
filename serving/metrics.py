"""
What the service counts of itself, for Prometheus: `GET /metrics`. docs/running.md explains each metric.

Labels have few values: routes as the description names them, statuses, reasons and tiers. None holds an id.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final, cast

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from recsys.clock import SECOND, from_text, now
from recsys.feed.engine import Engine, Page
from recsys.feed.plan import Plan
from recsys.services.bulk import BulkReceipt
from recsys.services.events import EventReceipt
from recsys.stores.protocols import DecisionRecord, Read, Stores, UserStore, Version
from recsys.user.state import UserState
from recsys.vocabulary import LANGUAGES, TIERS
from serving.admission import FEED
from serving.calls import CALL
from serving.logs import is_followed

log = logging.getLogger("sanad.serving")

_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_OVERLAP_WEIGHT: Final = 0.01  # of the newest page
_ALERTS: Final = {"local supply": "supply", "safe feed": "safe_feed"}
"""How an alert of the engine begins, and its kind."""


class _Item(msgspec.Struct):
    item_id: str
    family: str | None
    language: str | None = None


class _Shortfall(msgspec.Struct):
    missing: int
    because: dict[str, int]


class _PageFacts(msgspec.Struct):
    """The part of a page that is counted."""

    items: list[_Item]
    shortfall: _Shortfall
    degraded: list[str]
    replayed: bool
    dry_run: bool = False


_FACTS: Final = msgspec.json.Decoder(_PageFacts)


class Metrics:
    """Counters of one service. Safe to use from several threads."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        self._requests: Final = counter("sanad_requests", "Requests answered.", ["route", "status"])
        self._stages: Final = Histogram(
            "sanad_stage_seconds", "Time of a stage.", ["stage"], buckets=_BUCKETS_S, registry=self.registry
        )
        self._pages: Final = counter("sanad_pages", "Pages made.", ["kind"])
        self._degraded: Final = counter("sanad_pages_degraded", "Degraded pages.", ["what"])
        self._items: Final = counter("sanad_page_items", "Items of fresh pages.")
        self._unlabelled: Final = counter("sanad_page_items_unlabelled", "Items of fresh pages without a label.")
        self._languages: Final = counter("sanad_page_languages", "Items of fresh pages by language.", ["language"])
        self._events: Final = counter("sanad_events", "Events reported, but for history.", ["outcome"])
        self._missing: Final = counter("sanad_page_items_missing", "Items that fresh pages lack.")
        self._lost: Final = counter("sanad_candidates_lost", "Candidates lost by pages that lack items.", ["reason"])
        self._capped: Final = counter("sanad_page_slots_capped", "Slots whose best candidate only a cap kept out.")
        self._overlap: Final = gauge("sanad_page_overlap", "Share of a page that the page before it held too.")
        self._page_before: frozenset[str] = frozenset()
        self._mean_overlap = 0.0
        self._delivered: Final = counter("sanad_items_delivered", "Items that the ledger counted.", ["tier", "local"])
        self._retries: Final = counter("sanad_ledger_retries", "Pages planned again: another was committed first.")
        self._alerts: Final = counter("sanad_alerts", "Sentences for the operator.", ["kind"])
        self._refused: Final = counter("sanad_callers_refused", "Calls refused for their key.", ["why"])
        self._onward: Final = counter("sanad_events_onward", "Events sent onwards.")
        self._onward_age: Final = gauge("sanad_events_onward_age_seconds", "Age of the oldest event still to be sent.")
        self._begin_at_zero()
        self._in_flight: Final = gauge("sanad_requests_in_flight", "Requests being answered.")
        self._catalogue: Final = gauge("sanad_catalogue_items", "Items of the catalogue.", ["label"])
        self._tiers: Final = gauge("sanad_catalogue_tier_items", "Items of the catalogue that have a label.", ["tier"])
        self._info: Final = gauge("sanad_model_info", "1 for the versions in service.", ["model", "policy"])
        self._trained: Final = gauge("sanad_model_trained_timestamp_seconds", "When the model in service was trained.")
        self._configured: Final = gauge(
            "sanad_config_loaded_timestamp_seconds", "When policy and experiments were read."
        )
        self._configured.set(now() / SECOND)
        self._reload_failed: Final = gauge("sanad_reload_failed", "1 while the last reading again failed.", ["what"])
        self._trained_at: Final[dict[str, float]] = {}
        self._count_request: Final = lru_cache(1_000)(self._requests.labels)
        self._time_stage: Final = {name: self._stages.labels(name) for name in STAGES}
        self._count_language: Final = {name: self._languages.labels(name) for name in (*LANGUAGES, "other")}
        self._count_delivered: Final = {
            (tier, is_local): self._delivered.labels(name, "yes" if is_local else "no")
            for tier, name in enumerate(TIERS)
            for is_local in (False, True)
        }

    def _begin_at_zero(self) -> None:
        """A rate of what is not there yet is none: an alert would miss the first time, or that nothing ever comes."""
        starts = (
            (self._events, ("accepted", "duplicate", "rejected")),
            (self._alerts, (*_ALERTS.values(), "other")),
            (self._degraded, ("ledger",)),
        )
        for counter, values in starts:
            for value in values:
                counter.labels(value)

    def refused(self, why: str) -> None:
        """Count a call refused for its key: `key` (none known), `scope`, `rate`, or `csrf` (a token)."""
        self._refused.labels(why).inc()

    def shed(self) -> None:
        """Count a page that was refused by its head alone."""
        self._count_request(FEED, "503").inc()

    def in_flight(self, n_requests: int) -> None:
        """How many requests are being answered."""
        self._in_flight.set(n_requests)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer and its time."""
        self._count_request(route, str(status)).inc()
        self._time_stage["request"].observe(seconds)

    def took(self, stage: str, seconds: float) -> None:
        """Count the time of a stage that ended now, one of `STAGES`, and trace it where its call is traced."""
        self._time_stage[stage].observe(seconds)
        call = CALL.get()
        if call is not None and call.trace is not None:
            call.trace.add(stage, seconds)

    def count_page(self, page: Page) -> None:
        """Count a page by what its answer says."""
        facts = _FACTS.decode(page.answer)
        kind = "dry_run" if facts.dry_run else "replayed" if facts.replayed else "fresh"
        self._pages.labels(kind).inc()
        for what in facts.degraded:
            self._degraded.labels(what).inc()
        if kind != "fresh":
            return
        self._items.inc(len(facts.items))
        self._unlabelled.inc(sum(item.family == "unlabelled" for item in facts.items))
        for item in facts.items:
            self._count_language[item.language if item.language in LANGUAGES else "other"].inc()
        self._note_overlap(frozenset(item.item_id for item in facts.items))
        if facts.shortfall.missing:
            self._missing.inc(facts.shortfall.missing)
            for reason, n in facts.shortfall.because.items():
                self._lost.labels(reason).inc(n)

    def _note_overlap(self, item_ids: frozenset[str]) -> None:
        """A sliding mean. Pages that are counted at the same moment may miss each other."""
        if not item_ids:
            return
        overlap = len(item_ids & self._page_before) / len(item_ids)
        self._page_before = item_ids
        self._mean_overlap += _OVERLAP_WEIGHT * (overlap - self._mean_overlap)
        self._overlap.set(self._mean_overlap)

    def count_plan(self, plan: Plan, seconds: float) -> None:
        """Count a page that was reserved by what its selection says, and the time that it took to make."""
        self._capped.inc(plan.selection.refusals)
        self.took("plan", seconds)

    def count_events(self, told: EventReceipt | BulkReceipt) -> None:
        """Count what became of a batch of events."""
        outcomes = (("accepted", told.accepted), ("duplicate", told.duplicates), ("rejected", len(told.rejected)))
        for outcome, n in outcomes:
            self._events.labels(outcome).inc(n)

    def sent_onwards(self, n_events: int) -> None:
        """Count events that were sent onwards."""
        self._onward.inc(n_events)

    def sending_onwards(self, age_s: float) -> None:
        """Note the age of the oldest event that is being sent onwards; 0 = none waits."""
        self._onward_age.set(age_s)

    def count_commit(self, record: DecisionRecord | None, is_written: bool) -> None:
        """Count what a ledger took, or that it refused because another page came first."""
        if record is None:
            return
        if not is_written:
            self._retries.inc()
            return
        for delivery in record.deliveries:
            if not delivery.is_open:
                self._count_delivered[delivery.tier, delivery.is_local].inc()

    def alert(self, sentence: str) -> None:
        """Count a sentence for the operator by its kind."""
        kind = next((kind for opening, kind in _ALERTS.items() if sentence.startswith(opening)), "other")
        self._alerts.labels(kind).inc()

    def reloaded(self, what: str, *, is_good: bool) -> None:
        """Note whether keys, rules or the log level could be read again."""
        self._reload_failed.labels(what).set(not is_good)
        if is_good and what == "rules":
            self._configured.set(now() / SECOND)

    def loaded(self, version: str, created_at: str) -> None:
        """Note when a model that may be served was trained."""
        self._trained_at[version] = from_text(created_at) / SECOND

    def text(self, engine: Engine) -> bytes:
        """All metrics in the text format of Prometheus, with those of the engine in service."""
        model, policy = engine.resources.model, engine.resources.policy.market
        self._info.clear()
        self._info.labels(model.version, policy.version).set(1)
        self._trained.set(self._trained_at.get(model.version, 0.0))
        items = engine.resources.catalogue_cache.items
        is_labelled = items.exists & items.is_labelled
        self._catalogue.labels("yes").set(int(is_labelled.sum()))
        for number, name in enumerate(TIERS):
            self._tiers.labels(name).set(int((items.tier[is_labelled] == number).sum()))
        self._catalogue.labels("no").set(int((items.exists & ~items.is_labelled).sum()))
        return generate_latest(self.registry)


STAGES: Final = ("body", "wait", "page", "read", "plan", "commit", "request")
"""
Of a request: its body, the wait for a thread, the page in the engine, the whole. Of a page: two calls of the store, and
between them the plan (sources, ranking, slots).
"""


class MeasuredUsers:
    """A user store that is timed where a page waits for it. Everything else is the store's own."""

    def __init__(self, users: UserStore, metrics: Metrics) -> None:
        self._users: Final = users
        self._metrics: Final = metrics

    def __getattr__(self, name: str) -> object:
        return getattr(self._users, name)

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """See `UserStore.read`."""
        with self._timed("read"):
            return self._users.read(user_id, request_id)

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """See `UserStore.write_if`."""
        with self._timed("commit"):
            is_written = self._users.write_if(user_id, state, version, record)
        self._metrics.count_commit(record, is_written)
        if record is not None and is_followed():
            what = "page reserved" if is_written else "another page came first"
            log.info(what, extra={"items": len(record.deliveries)})
        return is_written

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._metrics.took(stage, time.perf_counter() - started)


def measured(stores: Stores, metrics: Metrics) -> Stores:
    """The stores, with the one of users timed."""
    return replace(stores, users=cast(UserStore, MeasuredUsers(stores.users, metrics)))


def counted(alert: Callable[[str], None], metrics: Metrics) -> Callable[[str], None]:
    """An alert that is counted too."""

    def both(sentence: str) -> None:
        metrics.alert(sentence)
        alert(sentence)

    return both
