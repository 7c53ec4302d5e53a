"""Attacks on the counting itself: paging, parallel devices, clocks, surfaces, stores (policy-spec 11)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from recsys.clock import DAY, HOUR, MINUTE, SECOND, from_datetime, from_text, to_datetime, zone
from recsys.errors import DataError, StoreError
from recsys.feed.engine import feed
from recsys.feed.sources import BY_SURFACE
from recsys.messages import Context, FeedRequest, PauseChoice
from recsys.policy.limits import is_at_least_as_strict
from recsys.services.events import accept_events
from recsys.services.profiles import put_profile
from recsys.services.rights import erase
from recsys.user.state import SafetyState, UserState, pack
from serving.stores.sqlite.store import SqliteStore

SURFACES = ("for_you", "following", "related", "search", "local", "together")


def ids(page):
    return [item.item_id for item in page.items]


def ledger_of(service, user_id="casa-adult"):
    return service.store.users.read(user_id).state.safety.ledger


# 1: page size 1, deep paging, cursor replay or edit, refresh spam


def test_attack_01_paging_one_by_one_and_replaying_cursors_wins_nothing(service, risky, by_tier, evening, exceeded):
    service.is_adult("casa-adult")
    wanted = (*risky, *by_tier["R0"][:80])
    page = service.ask(size=1, candidate_ids=wanted)
    for n in range(1, 90):
        if page.cursor is None:
            break
        asked = {"size": 1, "candidate_ids": wanted, "cursor": page.cursor, "at": evening + n * SECOND}
        page = service.ask(**asked)
        again = service.ask(**asked)
        assert ids(again) == ids(page)
    assert n > 30
    assert ledger_of(service).n_delivered == sum(len(d.chosen) for d in service.decisions())
    assert exceeded(service) == []


def test_attack_01_an_edited_cursor_is_refused_and_refreshing_wins_nothing(service, risky, evening, exceeded):
    service.is_adult("casa-adult")
    cursor = service.ask(size=1).cursor
    for forged in (cursor[:-1], cursor[1:], cursor.swapcase(), cursor + "A"):
        with pytest.raises(DataError, match="cursor"):
            service.ask(cursor=forged)
    shown = [ids(service.ask(size=50, candidate_ids=risky, at=evening + n)) for n in range(60)]
    assert sum(map(len, shown)) <= 10  # R1 and R2 together in one session
    assert exceeded(service) == [] and service.alerts == []


# 2: parallel requests, two devices, retry storms, crash between reserve and reply


class Crashing:
    """A store behind which every third write is committed, and the process dies before it can say so."""

    def __init__(self, users):
        self.users, self.n = users, 0

    def __getattr__(self, name):
        return getattr(self.users, name)

    def write_if(self, *args):
        is_written = self.users.write_if(*args)
        self.n += is_written
        if is_written and self.n % 3 == 0:
            raise StoreError("the process ended here")
        return is_written


@pytest.mark.parametrize("n_clients", [2, 8, 64])
def test_attack_02_parallel_devices_with_retries_and_crashes(
    make_service, risky, tmp_path, evening, exceeded, n_clients
):
    path = tmp_path / "state.db"
    stores = [SqliteStore(path), SqliteStore(path)]
    devices = [make_service(store) for store in stores]
    devices[0].is_adult("casa-adult")
    devices[1] = devices[1].broken(users=Crashing(stores[1].users))

    def client(n):
        request = {"size": (1, 5, 50)[n % 3], "candidate_ids": risky, "request_id": f"r{n // 2}", "at": evening + n}
        size = {"size": (1, 5, 50)[(n // 2) % 3]}  # the same question from both devices
        for _ in range(2):
            devices[n % 2].ask(**{**request, **size})

    with ThreadPoolExecutor(min(16, n_clients)) as pool:
        list(pool.map(client, range(n_clients)))
    assert exceeded(devices[0]) == []
    shown = sum(len(d.chosen) for d in devices[0].decisions())
    assert 0 < shown == ledger_of(devices[0]).n_delivered <= 10
    for store in stores:
        store.close()


def test_attack_02_a_page_that_was_reserved_and_never_answered_counts_and_comes_again(service, by_tier, evening):
    service.is_adult("casa-adult")
    listed = tuple(by_tier["R2"])

    class Dies(Crashing):
        def write_if(self, *args):
            self.users.write_if(*args)
            raise StoreError("the process ended here")

    lost = service.broken(users=Dies(service.store.users)).ask(candidate_ids=listed, request_id="r")
    assert lost.degraded == ["ledger"] and {item.tier for item in lost.items} <= {"R0"}
    assert ledger_of(service).capped["R2"] == (evening,)
    retried = service.ask(candidate_ids=listed, request_id="r", at=evening + SECOND)
    assert retried.replayed and [item.tier for item in retried.items] == ["R2"]
    assert ledger_of(service).capped["R2"] == (evening,)


# 3: prefetch 50 and never view


def test_attack_03_what_was_prefetched_counts_until_it_ages_out(service, by_tier, evening):
    service.is_adult("casa-adult")
    page = service.ask(size=50, candidate_ids=(*by_tier["R2"], *by_tier["R0"][:40]))
    n = sum(item.tier == "R2" for item in page.items)
    assert n >= 2  # not one of them is ever viewed
    service.tell({"kind": "undo", "value": page.items[0].tracking_token[:50]})  # a client claims that it was not shown

    def left(at):
        return service.ask(size=1, dry_run=True, at=at).safety.remaining["R2"]

    assert left(evening + HOUR)["rolling_24h"] == left(evening + DAY)["rolling_24h"] == 6 - n
    assert left(evening + DAY + 1)["rolling_24h"] == 6
    assert left(evening + 7 * DAY)["rolling_7d"] == 21 - n
    assert left(evening + 7 * DAY + 1)["rolling_7d"] == 21


# 4: session reset, re-login, reinstall, second profile, account switch


def test_attack_04_no_new_session_device_or_login_frees_a_window(service, risky, evening, exceeded):
    service.is_adult("casa-adult")
    shown = 0
    for n in range(30):  # a new session, device and app every time, 31 minutes apart
        page = service.ask(
            size=50, candidate_ids=risky, session_id=f"s{n}", context=Context(device=f"d{n}"),
            at=evening + n * 31 * MINUTE,
        )  # fmt: skip
        shown += sum(item.tier == "R2" for item in page.items)
    assert shown <= 6 and exceeded(service) == []  # 6 in 24 hours, however many sessions


def test_attack_04_erasing_the_account_and_coming_back_keeps_the_counters(service, by_tier, evening):
    service.is_adult("casa-adult")
    for n in range(2):
        service.ask(candidate_ids=tuple(by_tier["R2"]), at=evening + n * 31 * MINUTE)
        service.ask(size=20, at=evening + n * 31 * MINUTE + MINUTE)
    before = ledger_of(service).capped
    erase(service.engine, "casa-adult", evening + 2 * HOUR)
    assert len(before["R2"]) >= 2 and ledger_of(service).capped == before


def test_attack_04_a_new_account_is_of_the_youngest_band_with_base_caps(service, limits_now, evening):
    book = service.engine.resources.policy
    for claim in (None, "18+", "16-17", "unknown"):
        limits = limits_now(service, "second profile", evening, context=Context(age_band=claim))
        assert is_at_least_as_strict(limits, book.limits["13-15", 0, False])


# 6: clocks


def shifts():
    """The instants of 2026's first half at which Morocco's clock shifts for Ramadan, as the pinned data has them."""
    casablanca = zone("Africa/Casablanca")
    hours = range(from_text("2026-01-01T00:00:00Z"), from_text("2026-06-30T00:00:00Z"), HOUR)
    offsets = {at: to_datetime(at).astimezone(casablanca).utcoffset() for at in hours}
    return [(at, offsets[at]) for at in hours if offsets[at] != offsets.get(at - HOUR, offsets[at])]


def test_attack_06_the_night_moves_with_ramadan(service):
    assert [offset for _, offset in shifts()] == [
        timedelta(0),
        timedelta(hours=1),
    ]  # in Ramadan UTC, before and after +1
    put_profile(service.engine, "teen", {"age_band": "16-17", "age_source": "verified", "country": "MA"}, 0)
    casablanca = zone("Africa/Casablanca")
    dawns = set()
    for shift, _ in shifts():
        for day in (shift - DAY, shift + DAY):
            dawn = from_datetime(to_datetime(day).astimezone(casablanca).replace(hour=7, minute=0, second=0))
            dawns.add(to_datetime(dawn).hour)
            for who, at, is_night in (("teen", dawn - SECOND, True), ("teen", dawn, False)):
                page = service.ask(who, at=at, dry_run=True)
                assert page.safety.is_night is is_night
                assert (page.pause is not None and page.pause.kind == "night") is is_night
    assert dawns == {6, 7}  # the same local hour is another one by UTC


@pytest.mark.parametrize("which", [0, 1])
def test_attack_06_a_shift_of_the_local_clock_frees_no_window(service, by_tier, which):
    service.is_adult("casa-adult")
    shift = shifts()[which][0]
    start = shift - 10 * HOUR
    for item_id in (item_id for tier in ("R0", "R2") for item_id in by_tier[tier]):
        service.edit(item_id, published_at="2020-01-01T00:00:00Z")
    for n in range(3):
        service.ask(candidate_ids=tuple(by_tier["R2"]), at=start + n * MINUTE)
        service.ask(size=20, at=start + n * MINUTE + SECOND)
    used = len(ledger_of(service).capped["R2"])
    page = service.ask(size=1, dry_run=True, at=start + DAY - 1)  # 23:59:59.999 hours, whatever the wall clock says
    assert used >= 3 and page.safety.remaining["R2"]["rolling_24h"] == max(0, 6 - used)


@pytest.mark.parametrize("skew", [-5 * SECOND, -2 * DAY, -400 * DAY])
def test_attack_06_a_server_whose_clock_is_behind_frees_nothing(make_service, risky, evening, exceeded, skew):
    one = make_service().is_adult("casa-adult")
    other = make_service(one.store)
    for n in range(40):
        (one, other)[n % 2].ask(size=5, candidate_ids=risky, at=evening + n * 40 * MINUTE + (n % 2) * skew)
    assert exceeded(one) == []
    times = [decision.at for decision in one.decisions()]
    assert times == sorted(times)


def test_attack_06_the_clients_clock_moves_no_window(service, by_tier, evening, limits_now):
    service.is_adult("casa-adult")
    service.ask(candidate_ids=tuple(by_tier["R2"]))
    before = ledger_of(service).capped["R2"]
    said = ["2026-11-18T18:30:00Z", "2026-11-22T18:30:00Z", "2026-12-31T23:59:60Z", "2026-02-30T00:00:00Z"]
    events = [
        {"event_id": f"e{n}", "user_id": "casa-adult", "kind": "view", "item_id": by_tier["R2"][n], "at": at}
        for n, at in enumerate(said)
    ]
    answer = accept_events(service.engine, events, evening)
    assert answer.accepted == 1 and [r.index for r in answer.rejected] == [1, 2, 3]  # late is fine, the future not
    service.ask(size=1, at=evening + SECOND)
    after = ledger_of(service).capped["R2"]
    assert after in (before, (*before, evening))  # it counts when the server heard of it, not two days ago
    by_day = limits_now(service, "casa-adult", evening)
    abroad = limits_now(service, "casa-adult", evening, context=Context(country="US", region="US-NY"))
    assert is_at_least_as_strict(abroad, by_day)  # another zone takes no night away
    night = evening + 7 * HOUR
    assert service.ask(at=night, dry_run=True, context=Context(country="US")).safety.is_night


def test_attack_06_a_country_adds_night_hours_and_takes_none_away(service):
    """On 1 July Paris is an hour ahead of Casablanca: its night begins earlier, and the market's still ends late."""
    put_profile(service.engine, "teen", {"age_band": "16-17", "age_source": "verified", "country": "MA"}, 0)
    kinds = []  # evening at home, in France, in a country that does not exist; then the morning
    for at in ("2026-07-01T20:30:00Z", "2026-07-02T05:30:00Z"):
        for country in (None, "FR", "XX"):
            page = service.ask("teen", at=from_text(at), dry_run=True, context=Context(country=country))
            kinds.append(page.pause is not None and page.pause.kind == "night")
    assert kinds == [False, True, False, True, True, True]
    put_profile(service.engine, "teen", {"age_band": "16-17", "age_source": "verified", "country": "FR"}, 0)
    assert service.ask("teen", at=from_text("2026-07-01T20:30:00Z")).pause.kind == "night"


def test_attack_06_a_leap_day_is_a_day(service, by_tier):
    service.is_adult("casa-adult")
    start = from_text("2028-02-28T18:30:00Z")
    service.ask(candidate_ids=tuple(by_tier["R2"]), at=start)
    assert service.ask(size=1, dry_run=True, at=start + DAY).safety.remaining["R2"]["rolling_24h"] == 5
    assert service.ask(size=1, dry_run=True, at=start + DAY + 1).safety.remaining["R2"]["rolling_24h"] == 6


# 15: night, first open after midnight


def test_attack_15_midnight_gives_no_second_dose(service, by_tier, evening, exceeded):
    service.is_adult("casa-adult")
    midnight = from_text("2026-11-21T00:00:00Z")  # in Casablanca too
    for n in range(4):
        listed = (*by_tier["R2"], *by_tier["R0"][40 * n : 40 * n + 40])
        service.ask(size=50, candidate_ids=listed, at=midnight - 3 * HOUR + n * 40 * MINUTE)
    shown = len(ledger_of(service).capped["R2"])
    late = service.ask(size=50, candidate_ids=tuple(by_tier["R2"] + by_tier["R0"]), at=midnight + MINUTE)
    assert shown >= 3 and late.safety.is_night
    assert late.safety.remaining["R2"]["rolling_24h"] == 0  # half of 6 by night, and the evening still counts
    assert "R2" not in {item.tier for item in late.items}
    assert exceeded(service) == []


def test_attack_15_a_minor_who_opens_at_night_gets_r0_after_a_choice(service, risky, by_tier, evening):
    put_profile(service.engine, "teen", {"age_band": "16-17", "age_source": "verified"}, evening)
    at = from_text("2026-11-21T00:01:00Z")
    page = service.ask("teen", at=at, candidate_ids=(*risky, *by_tier["R0"]))
    assert page.items == [] and page.pause.kind == "night" and page.pause.needs_choice
    choice = PauseChoice(pause_id=page.pause.pause_id, choice="continue")
    after = service.ask("teen", at=at + SECOND, candidate_ids=(*risky, *by_tier["R0"]), pause_choice=choice)
    assert after.items and {item.tier for item in after.items} == {"R0"}


# 18: candidate set 100 % R2


@pytest.mark.parametrize("size", [20, 50])
def test_attack_18_a_set_of_nothing_but_r2(service, by_tier, evening, exceeded, size):
    service.is_adult("casa-adult")
    page = service.ask(size=size, candidate_ids=(*by_tier["R2"], *by_tier[None]))
    assert 0 < len(page.items) <= 2 and page.shortfall.missing == size - len(page.items)
    assert page.shortfall.because
    rest = by_tier["R0"][:25]
    with_rest = service.ask(size=20, candidate_ids=(*by_tier["R2"], *rest), at=evening + 31 * MINUTE)
    tiers = [item.tier for item in with_rest.items]
    assert 1 <= tiers.count("R2") <= 2 and tiers.count("R0") == len(tiers) - tiers.count("R2") > 10
    assert exceeded(service) == []


# 19: caps interplay


def test_attack_19_joint_creator_duplicate_and_locality_binding_at_once(make_service, tiny, risky, evening, exceeded):
    service = make_service().is_adult("casa-adult")
    crowd = tiny.items["creator_id"].value_counts(sort=True)["creator_id"][:2].to_list()
    theirs = [row["item_id"] for row in tiny.items.iter_rows(named=True) if row["creator_id"] in crowd]
    for n, item_id in enumerate(theirs[:6]):  # copies of each other, by the same few creators
        service.edit(item_id, title=f"same words {n // 3}", text=None)
    pages = [service.ask(size=50, candidate_ids=(*risky, *theirs), at=evening + n * HOUR) for n in range(12)]
    assert exceeded(service) == [] and service.alerts == []
    assert any(page.items for page in pages) and all(page.shortfall.missing for page in pages)
    reasons = {reason for page in pages for reason in page.shortfall.because}
    assert {"creator_spacing", "cap:R1+R2"} & reasons and not any(page.degraded for page in pages)


# 23: follow feed, search, related, comments, push as side doors


def test_attack_23_every_surface_has_the_same_ledger_and_tiers(service, by_tier, risky, evening, exceeded):
    service.is_adult("casa-adult")
    assert set(BY_SURFACE) == set(SURFACES)
    forbidden = (*by_tier["R3"], *by_tier["R4"])
    creators = {service.store.catalogue.get(item_id).fields["creator_id"] for item_id in (*risky, *forbidden)}
    service.tell(*({"kind": "follow", "creator_id": creator} for creator in creators - _makers(service, forbidden)))
    shown = []
    for n in range(24):
        surface = SURFACES[n % len(SURFACES)]
        page = service.ask(
            surface=surface, size=30, at=evening + n * MINUTE, query="a" if surface == "search" else None,
            anchor_item_id=by_tier["R2"][n % 5] if surface == "related" else None,
            candidate_ids=(*risky, *forbidden) if n % 2 else None,
        )  # fmt: skip
        shown += page.items
    assert not {item.item_id for item in shown} & set(forbidden)
    assert sum(item.tier == "R2" for item in shown) <= 3  # one session, whatever the surfaces
    assert exceeded(service) == []


def _makers(service, item_ids):
    return {service.store.catalogue.get(item_id).fields["creator_id"] for item_id in item_ids}


# 24: ledger down, partial shard loss, restore from backup


@pytest.mark.parametrize("call", ["read", "write_if"])
def test_attack_24_without_a_ledger_the_safe_feed_and_nothing_else(service, evening, call):
    class Down:
        def __getattr__(self, name):
            if name == call:
                raise StoreError("a shard is gone")
            return getattr(service.store.users, name)

    page = service.broken(users=Down()).ask(size=50)
    assert page.items and page.degraded == ["ledger"]
    for item in page.items:
        row = service.store.catalogue.get(item.item_id).fields
        assert row["risk_tier"] == "R0" and not {"S4", "S11"} & set(row["topics"])


def test_attack_24_a_state_older_than_its_deliveries_is_counted_up(service, by_tier, evening):
    service.is_adult("casa-adult")
    users = service.store.users
    service.ask(size=20)
    older = users.read("casa-adult").state
    service.ask(candidate_ids=tuple(by_tier["R2"]), at=evening + HOUR)
    newer = ledger_of(service).capped["R2"]
    users.write_if("casa-adult", older, users.read("casa-adult").version)
    service.edit(by_tier["R0"][0], risk_tier="R1")  # after any raise, every state counts its deliveries again
    service.ask(size=1, at=evening + 2 * HOUR)
    assert set(newer) <= set(ledger_of(service).capped["R2"])


def test_attack_24_after_a_restore_events_sent_again_count_what_the_copy_forgot(
    tmp_path, make_service, by_tier, evening
):
    store = SqliteStore(tmp_path / "state.db")
    service = make_service(store).is_adult("casa-adult")
    service.ask(size=20, request_id="before the copy")
    store.close()
    copy = (tmp_path / "state.db").read_bytes()

    store = SqliteStore(tmp_path / "state.db")
    service = make_service(store)
    item = service.ask(candidate_ids=tuple(by_tier["R2"]), at=evening + HOUR, request_id="forgotten").items[0]
    viewed = {"event_id": "v1", "user_id": "casa-adult", "kind": "view", "item_id": item.item_id}
    accept_events(service.engine, [viewed], evening + HOUR)
    service.ask(size=1, at=evening + HOUR + MINUTE)
    before = len(ledger_of(service).capped["R2"])
    store.close()

    for name in ("state.db-wal", "state.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "state.db").write_bytes(copy)
    store = SqliteStore(tmp_path / "state.db")
    service = make_service(store)
    assert "R2" not in ledger_of(service).capped
    for _ in range(2):  # sent twice, counted once
        accept_events(service.engine, [viewed], evening + 2 * HOUR)
        service.ask(size=1, at=evening + 2 * HOUR)
    assert len(ledger_of(service).capped["R2"]) == before == 1
    store.close()


def test_attack_24_a_damaged_state_is_no_empty_ledger(tmp_path, make_service, evening):
    store = SqliteStore(tmp_path / "state.db")
    service = make_service(store).is_adult("casa-adult")
    service.ask()
    assert pack(UserState(safety=SafetyState()))  # what a fresh state would be; a damaged one must not turn into it
    store._database.write(lambda connection: connection.execute("UPDATE users SET safety = x'00ff'").rowcount)
    page = service.ask(at=evening + MINUTE)
    assert page.degraded == ["ledger"] and {item.tier for item in page.items} == {"R0"}
    assert feed(service.engine, FeedRequest(user_id="somebody else"), evening).retry_after_s is None
    store.close()
