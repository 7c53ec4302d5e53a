"""
Many devices of one person at once, on one state file, with processes that are killed: no window is ever exceeded, and
every page that was answered is in the ledger exactly once. Counted afterwards by brute force over the decision records.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from recsys.clock import DAY, MINUTE, SECOND
from recsys.feed.record import candidates_of, unpack
from recsys.feed.slate import delivered
from recsys.vocabulary import FAMILIES
from serving.stores.open import open_store, state_of

USER = "one person"
N_PROCESSES, N_THREADS, N_REQUESTS = 4, 16, 6
CLIENT = """
import itertools, json, os, signal, sys, threading
from dataclasses import replace
from pathlib import Path
import msgspec, numpy as np
from recsys.models.artifact import load_artifact
from recsys.feed.build import build_engine
from recsys.feed.engine import feed
from recsys.experiments.payload import Experiments
from recsys.messages import FeedRequest, FeedResponse
from recsys.policy.checks import load_market
from serving.stores.open import open_store, state_of

folder, policy, path, user, me, start, n_threads, n_requests, dies_at = sys.argv[1:]
me, start, n_threads, n_requests, dies_at = int(me), int(start), int(n_threads), int(n_requests), int(dies_at)
artifact, market, store = load_artifact(Path(folder)), load_market(Path(policy)), open_store(state_of(path)).stores
risky = tuple(r["item_id"] for r in artifact.items.iter_rows(named=True) if r["risk_tier"] in ("R1", "R2", None))
lock, commits, names = threading.Lock(), itertools.count(1), itertools.count()

class Users:
    read, deliveries = store.users.read, store.users.deliveries

    @staticmethod
    def write_if(*args):
        is_written = store.users.write_if(*args)
        is_own = len(args) > 3 and not args[3].answer.request_id.startswith("shared")
        if is_written and is_own and next(commits) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)  # reserved, and nobody will ever be told
        return is_written

engine = build_engine(
    artifact, market, Experiments(), stores=replace(store, users=Users()), key=b"k",
    new_id=lambda: f"{me}-{next(names)}", at=start, alert=lambda sentence: print("alert", sentence, flush=True),
)

def client(n):
    rng = np.random.default_rng([me, n])
    skew = 5_000 * (n % 2)
    for k in range(n_requests):
        shared = f"shared-{n}-{k}" if k == 0 else f"{me}-{n}-{k}"  # the same id from every process: a retry storm
        request = FeedRequest(
            user_id=user, size=[1, 3, 10, 20, 50][(n + k) % 5], request_id=shared,
            candidate_ids=risky if n % 3 else None, surface=["for_you", "local"][n % 2],  # a search may repeat
        )
        for attempt in range(3):
            page = feed(engine, request, start + skew + 1_000 * k + int(rng.integers(1_000)))
            answer = msgspec.json.decode(page.answer, type=FeedResponse)
            with lock:
                line = {"request_id": answer.request_id, "items": [i.item_id for i in answer.items],
                        "degraded": answer.degraded, "replayed": answer.replayed}
                print("page", json.dumps(line), flush=True)
            if page.retry_after_s is None and attempt:
                break

print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=client, args=(n,)) for n in range(n_threads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@dataclass(frozen=True)
class Shown:
    """One delivery, under which limits, in which session."""

    delivery: object
    limits: object
    session: int


def everything_shown(decisions):
    shown = []
    for decision in decisions:
        page = delivered(candidates_of(decision), np.array(decision.chosen, np.intp), decision.at)
        shown += [Shown(d, decision.limits, decision.ledger.session_started_at) for d in page]
    return shown


def exceeded(shown):
    """Every window of every counter, at every delivery, counted over everything ever shown."""
    tiers = {"R1": (1, 1), "R2": (2, 9), "R1+R2": (1, 9)}
    wrong = []
    for counter in ("R1", "R2", "R1+R2", "S4", *FAMILIES):

        def is_of(d, counter=counter):
            if counter == "S4":
                return d.is_s4
            if counter in FAMILIES:
                return d.tier >= 2 and d.family == FAMILIES.index(counter)
            return tiers[counter][0] <= d.tier <= tiers[counter][1]

        places = [n for n, one in enumerate(shown) if is_of(one.delivery)]
        for k, n in enumerate(places):
            one = shown[n]
            windows = one.limits.windows["R2" if counter in FAMILIES else counter]
            past = places[: k + 1]
            found = {
                "last_20": sum(p > n - 20 for p in past),
                "session": sum(shown[p].session == one.session for p in past),
                "rolling_24h": sum(shown[p].delivery.at >= one.delivery.at - DAY for p in past),
                "rolling_7d": sum(shown[p].delivery.at >= one.delivery.at - 7 * DAY for p in past),
            }
            for window, count in found.items():
                cap = getattr(windows, window)
                if cap is not None and count > (-(-cap // 2) if counter in FAMILIES else cap):
                    wrong.append(f"{counter} {window} at {n}: {count} > {cap}")
            if k and n - places[k - 1] - 1 < one.limits.gaps.get(counter, 0):
                wrong.append(f"{counter} at {n}: gap of {n - places[k - 1] - 1}")
    items = Counter(one.delivery.item_no for one in shown)
    return wrong + [f"item {c} {n} times" for c, n in items.items() if n > 1]


def started(folder, policy, path, process, start, dies_at):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    numbers = [process, start, N_THREADS, N_REQUESTS, dies_at]
    command = [sys.executable, "-c", CLIENT, *map(str, [folder, policy, path, USER, *numbers])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_64_clients_of_one_person_with_kills_never_exceed_a_window(tiny_folder, make_service, tmp_path, evening):
    check_processes(tiny_folder, make_service, tmp_path / "state.db", evening, [0, 9, 0, 4])


@pytest.mark.slow
@pytest.mark.soak
def test_processes_on_one_postgres_never_exceed_a_window(tiny_folder, make_service, postgres, evening, is_soak):
    state = postgres.url(postgres.new_database())
    check_processes(tiny_folder, make_service, state, evening, [0, 9, 0, 4] if is_soak else [0, 4])


def check_processes(tiny_folder, make_service, path, evening, deaths):
    """Processes on one state, each with many clients of one person; some die after so many commits of theirs."""
    policy = Path(__file__).parents[2] / "policies" / "morocco.yaml"
    store = open_store(state_of(path))
    make_service(store).is_adult(USER)
    running = [started(tiny_folder, policy, path, n, evening, dies_at) for n, dies_at in enumerate(deaths)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [-signal.SIGKILL if dies_at else 0 for dies_at in deaths]

    lines = [line for output in outputs for line in output.split("\n")]
    answered = [json.loads(line[5:]) for line in lines if line.startswith("page ") and line.endswith("}")]
    assert not [line for line in lines if line.startswith("alert")]
    decisions = [unpack(stored.decision) for stored in store.decisions.of_user(USER)]
    shown = everything_shown(decisions)
    n_risky = sum(one.delivery.tier >= 1 for one in shown)
    n_busy = sum(page["degraded"] == ["busy"] for page in answered)
    print(f"{len(answered)} answers, {n_busy} busy, {len(decisions)} pages, {len(shown)} shown, {n_risky} R1 or R2")
    assert exceeded(shown) == []
    assert len(decisions) > 40 and n_risky >= (8 if len(deaths) > 2 else 5)  # fewer processes ask less often

    rows = store.users.deliveries(USER, 0)
    assert Counter((d.at, d.item_no) for d in rows) == Counter((s.delivery.at, s.delivery.item_no) for s in shown)
    items = make_service(store).engine.resources.catalogue_cache.items
    page_of = {d.request_id: [items.item_ids[candidates_of(d).item_nos[row]] for row in d.chosen] for d in decisions}
    assert len(page_of) == len(decisions)  # no request was reserved twice
    for page in answered:
        if page["degraded"] == ["busy"]:
            assert page["items"] == []
        else:  # every answer, also of a retry and from another process, is the one page that was reserved
            assert page["items"] == [i for i in page_of[page["request_id"]]]
    n_unanswered = len(set(page_of) - {page["request_id"] for page in answered if page["degraded"] != ["busy"]})
    assert n_unanswered >= sum(map(bool, deaths))  # the killed ones: reserved, never answered, and counted all the same
    assert store.users.read(USER).state.safety.ledger.n_delivered == len(shown)
    store.close()


class Interleaved(RuleBasedStateMachine):
    """
    Two devices and the platform, with every page able to be overtaken between its read and its write: by another
    page, an event, a relabelling or a takedown.
    """

    make, risky, calm, start = None, (), (), 0

    @initialize()
    def begin(self):
        self.service = type(self).make().is_adult(USER)
        self.at, self.n, self.pages = self.start, 0, {}
        self.raised = set()

    def _request(self, size, is_risky, request_id):
        listed = (*self.risky, *self.calm[:5]) if is_risky else None
        return self.service.ask(USER, at=self.at, size=size, candidate_ids=listed, request_id=request_id)

    def _page(self, size, is_risky, between=()):
        """One page; before each of its first writes, something else of `between` happens."""
        outer, waiting = self, list(between)
        users = self.service.store.users

        class Overtaken:
            read, deliveries = users.read, users.deliveries

            def write_if(self, *args):
                if waiting:
                    waiting.pop()()
                return users.write_if(*args)

        self.n += 1
        request_id, real = f"p{self.n}", self.service
        self.service = real.broken(users=Overtaken())
        try:
            page = outer._request(size, is_risky, request_id)
        finally:
            self.service = real
        self.pages[request_id] = (size, is_risky, page)

    def _other(self, size, is_risky):
        self.n += 1
        request_id, real = f"p{self.n}", self.service
        self.service = type(real)(engine=self.clean.engine, store=real.store, alerts=real.alerts)
        try:
            self.pages[request_id] = (size, is_risky, self._request(size, is_risky, request_id))
        finally:
            self.service = real

    @property
    def clean(self):
        return self.service.broken(users=self.service.store.users)

    @rule(size=st.integers(1, 50), is_risky=st.booleans(), skew=st.sampled_from([0, 5 * SECOND, -5 * SECOND]))
    def a_page(self, size, is_risky, skew):
        self.at += skew
        self._page(size, is_risky)

    @rule(
        size=st.integers(1, 50), is_risky=st.booleans(),
        others=st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=7),
    )  # fmt: skip
    def a_page_overtaken_by_pages(self, size, is_risky, others):
        self._page(size, is_risky, [lambda s=s, r=r: self._other(s, r) for s, r in others])

    @rule(size=st.integers(1, 20), n=st.integers(0, 60))
    def a_page_overtaken_by_a_label(self, size, n):
        item_id = self.calm[n % len(self.calm)]
        self.raised.add(item_id)

        def between():
            self.service.edit(item_id, risk_tier="R2", risk_family="body")
            self._other(1, False)

        self._page(size, False, [between])

    @rule(n=st.integers(0, 60), kind=st.sampled_from(["view", "complete", "not_interested", "like"]))
    def an_event(self, n, kind):
        self.n += 1
        # of what was delivered, so that no open elsewhere adds to what the records show
        shown = [i.item_id for _, _, page in self.pages.values() for i in page.items]
        if shown:
            self.clean.tell({"kind": kind, "item_id": shown[n % len(shown)]}, user_id=USER, at=self.at + self.n)

    @rule(hours=st.sampled_from([1, 7, 23, 24, 25, 24 * 7, 24 * 31]))
    def time_passes(self, hours):
        self.at += hours * 60 * MINUTE

    @rule(data=st.data())
    def a_retry(self, data):
        if not self.pages:
            return
        request_id = data.draw(st.sampled_from(sorted(self.pages)))
        size, is_risky, first = self.pages[request_id]
        stored = self.service.store.users.read(USER, request_id).answer
        n_delivered = self.service.store.users.read(USER).state.safety.ledger.n_delivered
        if stored is None or self.at - stored.at > DAY:
            return
        again = self._request(size, is_risky, request_id)
        after = self.service.store.users.read(USER).state.safety.ledger.n_delivered
        assert again.replayed and after >= n_delivered
        sent = [item.item_id for item in first.items]
        assert [i for i in sent if i in {item.item_id for item in again.items}] == [i.item_id for i in again.items]

    @invariant()
    def nothing_is_exceeded(self):
        if not hasattr(self, "service"):
            return
        shown = everything_shown(self.service.decisions(USER))
        month = [one for one in shown if one.delivery.at >= self.at - 30 * DAY]
        assert [w for w in exceeded(shown) if not w.startswith("item")] == []
        assert [w for w in exceeded(month) if w.startswith("item")] == []
        assert self.service.alerts == []

    @invariant()
    def every_page_is_reserved_once(self):
        if not hasattr(self, "service"):
            return
        decided = {d.request_id: d for d in self.service.decisions(USER)}
        for request_id, (_, _, page) in self.pages.items():
            if page.degraded == ["busy"]:
                assert request_id not in decided and page.items == []
            else:
                assert len(decided[request_id].chosen) == len(page.items)
        ledger = self.service.store.users.read(USER).state.safety.ledger
        assert ledger.n_delivered == sum(len(d.chosen) for d in decided.values())


@pytest.mark.slow
def test_no_interleaving_of_pages_labels_events_and_retries_breaks_a_window(make_service, tiny, evening):
    rows = tiny.items.select("item_id", "risk_tier").rows()
    Interleaved.make = staticmethod(make_service)
    Interleaved.risky = tuple(item_id for item_id, tier in rows if tier in ("R1", "R2", None))
    Interleaved.calm = tuple(item_id for item_id, tier in rows if tier == "R0")
    Interleaved.start = evening
    run_state_machine_as_test(Interleaved, settings=settings(max_examples=15, stateful_step_count=12, deadline=None))
