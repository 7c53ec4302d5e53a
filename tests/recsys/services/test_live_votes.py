"""Votes of now: one a person, item and day; decayed; read again after a restart; without whoever was erased."""

import numpy as np
import pytest

from recsys.catalogue.live_popularity import SHRINKAGE, LiveVotes, popularity_now
from recsys.clock import DAY, HOUR, to_text
from recsys.messages import FeedRequest
from recsys.services import lists, live_votes, rights
from recsys.services.events import accept_events
from recsys.services.items import patch_item, put_item
from recsys.services.live_votes import REFRESH_MS, WINDOW, VoteCount
from recsys.services.profiles import put_profile


def send(service, at, kind="complete", **fields):
    event = {"event_id": f"{fields['user_id']} {fields['item_id']} {at} {kind}", "kind": kind, **fields}
    assert accept_events(service.engine, [event], at).accepted == 1


def votes_of(service, at, country=None):
    """The votes by item id, as a new count reads them."""
    VoteCount().refresh(service.engine, at)
    cache = service.engine.resources.catalogue_cache
    counts = cache.votes.by_country.get(country, [])
    return {cache.items.item_ids[n]: float(c) for n, c in zip(cache.votes.item_nos, counts, strict=False) if c}


@pytest.fixture
def calm(tiny):
    """Two R0 items."""
    rows = tiny.items.filter(tiny.items["risk_tier"] == "R0")
    return rows["item_id"].to_list()[:2]


def test_a_person_counts_once_for_an_item_and_day(service, calm, evening):
    first, second = calm
    for minute in range(5):
        send(service, evening + minute, user_id="u", item_id=first)
    send(service, evening, user_id="u", item_id=second)
    send(service, evening, user_id="w", item_id=first, kind="like")
    assert votes_of(service, evening) == {first: pytest.approx(2.0), second: pytest.approx(1.0)}


def test_a_vote_counts_half_after_two_days_and_nothing_after_a_week(service, calm, evening):
    send(service, evening, user_id="u", item_id=calm[0])
    assert votes_of(service, evening + 2 * DAY) == {calm[0]: pytest.approx(0.5)}
    assert votes_of(service, evening + WINDOW + 1) == {}


def test_what_says_little_or_is_past_is_no_vote(service, calm, evening):
    send(service, evening, user_id="u", item_id=calm[0], kind="impression")
    send(service, evening, user_id="u", item_id=calm[0], kind="not_interested")
    send(service, evening, user_id="u", item_id=calm[0], kind="view", watch_fraction=0.9)
    old = {"event_id": "h", "user_id": "u", "item_id": calm[0], "kind": "like", "at": evening - 30 * DAY}
    assert accept_events(service.engine, [old], evening, is_history=True).accepted == 1
    assert votes_of(service, evening) == {}


@pytest.mark.parametrize("is_first", [True, False])
def test_what_was_taken_back_counts_no_longer(service, calm, evening, is_first):
    """Before it was counted or after; another reaction to the same item stands."""
    first, second = calm
    counter, cache = VoteCount(), service.engine.resources.catalogue_cache
    for item_id, kind in ((first, "like"), (second, "like"), (second, "complete")):
        send(service, evening, user_id="u", item_id=item_id, kind=kind)
    if not is_first:
        counter.refresh(service.engine, evening)
        assert cache.votes.by_country[None].sum() == pytest.approx(2.0)
    for item_id in calm:
        undo = {"event_id": f"back {item_id}", "user_id": "u", "kind": "undo", "value": f"u {item_id} {evening} like"}
        assert accept_events(service.engine, [undo], evening).accepted == 1
    counter.refresh(service.engine, evening + REFRESH_MS)
    counts = dict(zip(cache.votes.item_nos.tolist(), cache.votes.by_country[None], strict=True))
    assert counts == {cache.items.index[second]: pytest.approx(1.0, abs=0.01)}


def test_an_engine_that_is_made_anew_counts_at_once(service, calm, evening):
    """A service that reads its policy again has a new table, of the same model."""
    counter, cache = VoteCount(), service.engine.resources.catalogue_cache
    send(service, evening, user_id="u", item_id=calm[0])
    counter.refresh(service.engine, evening)
    cache.votes = LiveVotes()
    counter.refresh(service.engine, evening + 1)
    assert cache.votes.by_country[None].sum() == pytest.approx(1.0, abs=0.01)


def test_what_another_process_put_gets_votes(service, calm, evening):
    """Its table is newer than the one of here."""
    new = {"creator_id": "c-new", "published_at": to_text(evening - DAY), "title": "new", "language": "fr",
           "risk_tier": "R0", "risk_source": "human"}  # fmt: skip
    cache = service.engine.resources.catalogue_cache
    before = cache.items
    put_item(service.store.catalogue, "brand-new", new, evening)
    send(service, evening, user_id="u", item_id="brand-new")
    cache.items = before
    assert votes_of(service, evening) == {"brand-new": pytest.approx(1.0)}


def test_nothing_of_risk_gets_votes_also_when_it_is_labelled_later(service, calm, tiny, evening):
    risky = tiny.items.filter(tiny.items["risk_tier"] == "R2")["item_id"][0]
    for item_id in (*calm, risky):
        send(service, evening, user_id="u", item_id=item_id)
    assert votes_of(service, evening).keys() == set(calm)
    patch_item(service.store.catalogue, calm[0], {"risk_tier": "R2", "risk_source": "human"}, evening)
    service.engine.resources.catalogue_cache.at_least(service.engine.stores.users.read("").revision)
    assert votes_of(service, evening).keys() == {calm[1]}


@pytest.mark.parametrize("change", [rights.erase, rights.reset])
def test_whoever_was_erased_or_reset_is_not_counted(service, calm, evening, change):
    counter = VoteCount()
    for user_id in ("u", "w"):
        send(service, evening, user_id=user_id, item_id=calm[0])
    counter.refresh(service.engine, evening)
    change(service.engine, "u", evening + HOUR)
    counter.refresh(service.engine, evening + 2 * HOUR)
    [counts] = [service.engine.resources.catalogue_cache.votes.by_country[None]]
    assert counts.sum() == pytest.approx(0.5 ** (2 / 48))  # that of w


@pytest.mark.parametrize(
    ("bound", "first", "later"),
    [("MAX_VOTES", [1, 1], [1, 1]), ("MAX_BEHIND", [2, 1], [2, 1]), ("MAX_READ", [1, 1], [2, 2])],
)
def test_of_a_flood_a_bounded_part_is_read_and_held(service, calm, evening, monkeypatch, bound, first, later):
    """Five votes, for the first and the second item in turn: of the newest 2, of the newest 3, of 2 and then 4."""
    monkeypatch.setattr(live_votes, bound, 3 if bound == "MAX_BEHIND" else 2)
    for n in range(5):
        send(service, evening, user_id=f"n{n}", item_id=calm[n % 2])
    counter, cache = VoteCount(), service.engine.resources.catalogue_cache
    for at, expected in ((evening, first), (evening + REFRESH_MS, later)):
        counter.refresh(service.engine, at)
        counts = dict(zip(cache.votes.item_nos.tolist(), cache.votes.by_country[None], strict=True))
        assert [round(counts[cache.items.index[item_id]]) for item_id in calm] == expected


def test_votes_are_told_apart_by_country(service, calm, evening):
    put = {"u": "MA", "w": "FR"}
    for user_id, country in put.items():
        put_profile(service.engine, user_id, {"country": country}, evening)
        send(service, evening, user_id=user_id, item_id=calm[0])
    assert votes_of(service, evening, "MA") == {calm[0]: pytest.approx(1.0)}
    assert votes_of(service, evening) == {calm[0]: pytest.approx(2.0)}


def test_what_many_act_on_trends_and_reaches_newcomers(service, calm, evening):
    """An item that came after the artifact, which nobody knew: many votes put it first."""
    new = {"creator_id": "c-new", "published_at": to_text(evening - DAY), "title": "new", "language": "fr",
           "risk_tier": "R0", "risk_source": "human", "topics": ["S3"]}  # fmt: skip
    put_item(service.store.catalogue, "brand-new", new, evening)
    ask = {"country": None, "region": None, "language": None, "size": 10, "at": evening}
    assert "brand-new" not in [item["item_id"] for item in lists.trending(service.engine, **ask)["items"]]
    for n in range(400):
        send(service, evening, user_id=f"n{n}", item_id="brand-new")
    VoteCount().refresh(service.engine, evening)
    assert lists.trending(service.engine, **ask)["items"][0]["item_id"] == "brand-new"
    plan = service.engine.plan(FeedRequest(user_id="newcomer", request_id="r", size=20), evening)
    query = plan.context.query
    assert query.items.item_ids[query.rankings.popular[0]] == "brand-new"


def test_rankings_count_votes_every_five_minutes(service, calm, evening):
    counter, cache = VoteCount(), service.engine.resources.catalogue_cache
    send(service, evening, user_id="u", item_id=calm[0])
    counter.refresh(service.engine, evening)
    before = cache.votes
    send(service, evening + 1, user_id="w", item_id=calm[0])
    counter.refresh(service.engine, evening + REFRESH_MS - 1)
    assert cache.votes is before
    counter.refresh(service.engine, evening + REFRESH_MS)
    assert cache.votes.version == before.version + 1


def test_without_votes_nothing_changes(service, evening):
    before = service.ask(request_id="r", dry_run=True).items
    VoteCount().refresh(service.engine, evening)
    assert service.engine.resources.catalogue_cache.votes.version == 0
    assert service.ask(request_id="r", dry_run=True).items == before


def test_votes_are_shrunk_to_what_the_artifact_learned(service, tiny):
    """Worked by hand: with as many votes as the shrinkage, half of the share is of now."""
    resources = service.engine.resources
    items, model = resources.catalogue_cache.items, resources.model
    item_no = items.index[tiny.items["item_id"][0]]
    learned = popularity_now(items, model, None, LiveVotes())
    votes = LiveVotes(version=1, item_nos=np.array([item_no], np.int32), by_country={None: np.array([SHRINKAGE])})
    now = popularity_now(items, model, None, votes)

    def shares(scores):
        raw = scores[items.row >= 0].astype(float) * model.popularity_spread + model.popularity_mean
        return np.expm1(raw) / model.n_rows

    place = int(np.searchsorted(np.flatnonzero(items.row >= 0), item_no))
    expected = shares(learned) / 2
    expected[place] += 0.5
    assert shares(now) == pytest.approx(expected, abs=1e-4)
