"""One request after another: what a feed promises, whatever happens around it."""

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import MINUTE
from recsys.errors import DataError, StoreError
from recsys.feed import engine as engine_module
from recsys.feed.answer import as_sent
from recsys.feed.record import candidates_of
from recsys.feed.slate import delivered
from recsys.messages import Context
from recsys.policy.limits import Limits
from recsys.services.items import put_item
from recsys.services.profiles import update_state
from recsys.services.rights import erase, put_controls, reset
from recsys.user.state import Controls, Delivery

SURFACES = ("for_you", "following", "related", "search", "local", "together")


@dataclass(frozen=True)
class Shown:
    """One delivery, under which limits, in which session."""

    delivery: Delivery
    limits: Limits
    session: int


def everything_shown(service, user_id):
    """Every delivery of every record, as the page was chosen."""
    shown = []
    for decision in service.decisions(user_id):
        page = delivered(candidates_of(decision), np.array(decision.chosen, np.intp), decision.at)
        shown += [Shown(d, decision.limits, decision.ledger.session_started_at) for d in page]
    return shown


def ids(page):
    return [item.item_id for item in page.items]


requests = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["casa-adult", "agadir-teen", "new"]),
        "surface": st.sampled_from(SURFACES),
        "size": st.integers(1, 50),
        "dry_run": st.sampled_from([False, False, False, True]),
        "mode": st.sampled_from(["personalised", "non_personalised"]),
        "risky": st.sampled_from(["no", "no", "R1", "R2", "both"]),
    }
)


class Failing:
    """A store whose named calls raise."""

    def __init__(self, store, *names):
        self.store, self.names = store, names

    def __getattr__(self, name):
        if name in self.names:
            return self.fail
        return getattr(self.store, name)

    def fail(self, *_, **__):
        raise StoreError("no disk")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_window_is_ever_exceeded_on_any_surface_by_any_sequence(
    make_service, by_tier, dumb_recount, steps, evening, data
):
    service, at = make_service(), evening
    service.is_adult("casa-adult")
    lists = {"no": None, "R1": by_tier["R1"], "R2": by_tier["R2"] + by_tier[None]}
    lists["both"] = [*lists["R1"], *lists["R2"]]
    for asked in data.draw(st.lists(requests, min_size=5, max_size=15)):
        at += data.draw(st.sampled_from(steps))
        only = lists[asked.pop("risky")]
        anchor = by_tier["R0"][0] if asked["surface"] == "related" else None
        service.ask(
            at=max(at, evening), candidate_ids=None if only is None else tuple(only), anchor_item_id=anchor,
            query="video" if asked["surface"] == "search" else None, **asked,
        )  # fmt: skip
    for user_id in ("casa-adult", "agadir-teen", "new"):
        assert dumb_recount(everything_shown(service, user_id)) == []
    assert service.alerts == []


def test_a_request_for_nothing_but_risk_gets_what_the_windows_admit(service, by_tier, evening):
    service.is_adult("casa-adult")
    page = service.ask(size=50, candidate_ids=tuple(by_tier["R2"]))
    assert len(page.items) == 1  # the gap of 6 cannot be filled from R2 alone
    assert page.shortfall.missing == 49
    assert page.shortfall.because["gap:R2"] > 0


@pytest.mark.parametrize("surface", SURFACES)
def test_r3_and_r4_are_on_no_page_of_any_surface(service, by_tier, surface):
    service.is_adult("casa-adult")
    forbidden = (*by_tier["R3"], *by_tier["R4"])
    anchor = by_tier["R0"][0] if surface == "related" else None
    page = service.ask(surface=surface, candidate_ids=forbidden, anchor_item_id=anchor, query="a")
    assert page.items == []


def test_a_dry_run_reserves_nothing_and_shows_the_next_page(service):
    dry = service.ask(dry_run=True, request_id="r")
    read = service.store.users.read("casa-adult", "r")
    assert dry.dry_run and read.answer is None and read.state.safety.ledger.n_delivered == 0
    assert ids(service.ask(request_id="r")) == ids(dry)


@pytest.mark.parametrize("size", [0, -1, 51, 10_000])
def test_a_page_of_no_or_of_too_many_items_is_refused(service, size):
    with pytest.raises(DataError, match="size"):
        service.ask(size=size)


def test_an_unknown_person_is_13_to_15_and_gets_a_full_page_without_r2(service):
    page = service.ask("nobody knows me")
    assert len(page.items) == 20 and page.safety.age_band == "13-15"
    assert {item.tier for item in page.items} <= {"R0", "R1"}


@pytest.mark.parametrize("band", ["under_13", "13-15", "16-17", "unknown"])
def test_minors_never_get_what_is_unlabelled_or_raised_by_doubt(service, by_tier, band, evening):
    service.is_adult("casa-adult")
    doubtful = by_tier["R2"][0]
    service.edit(doubtful, risk_source="model", risk_confidence=0.5)
    listed = (*by_tier[None], doubtful)
    assert service.ask(candidate_ids=listed, context=Context(age_band=band)).items == []
    at_r1 = by_tier["R1"][0]
    service.edit(at_r1, risk_source="model", risk_confidence=0.5, risk_family="despair", topics=[])
    page = service.ask(candidate_ids=(at_r1,), context=Context(age_band=band), dry_run=True)
    assert [item.tier for item in page.items] == ([] if band == "under_13" else ["R2"])


def test_a_person_without_history_gets_a_page_of_their_market(service):
    page = service.ask("u0000 new", context=Context(country="MA", languages=("ary", "fr")))
    assert len(page.items) == 20
    assert sum(item.locality.match in ("region", "neighbour", "country", "dialect") for item in page.items) >= 6


def test_an_empty_catalogue_gives_an_empty_page(make_service, tiny):
    empty = replace(
        tiny, items=tiny.items.clear(), spaces={}, indexes={}, histories={}, safe_feed=(),
        popularity=replace(tiny.popularity, scores=np.zeros((len(tiny.popularity.markets) + 1, 0), np.float32)),
    )  # fmt: skip
    service = make_service(artifact=empty)
    for surface in SURFACES:
        if surface != "related":
            page = service.ask(surface=surface, query="a")
            assert page.items == [] and page.shortfall.missing == 20 and page.degraded == []
    assert [alert[:12] for alert in service.alerts] == ["local supply"]
    assert service.broken(users=Failing(service.store.users, "read")).ask().items == []


def test_an_empty_state_file_and_a_new_item_are_enough_for_a_page(make_service, tiny, evening):
    service = make_service()
    fields = {"creator_id": "new-creator", "title": "salam", "risk_tier": "R0", "risk_source": "partner"}
    put_item(service.store.catalogue, "brand-new", fields, evening)
    assert ids(service.ask(candidate_ids=("brand-new",))) == ["brand-new"]


def test_a_related_page_without_an_anchor_says_what_is_missing(service):
    with pytest.raises(DataError, match="anchor_item_id"):
        service.ask(surface="related")


def test_non_personalised_uses_no_history_at_all(service, evening):
    place = Context(country="MA", region="MA-06", languages=("ary", "fr"), age_band="13-15")
    people = ["u0003", "u0004", "nobody"]
    items = service.engine.resources.catalogue_cache.items
    likes, follows = (
        {"kind": "like", "item_id": items.item_ids[5]},
        {"kind": "follow", "creator_id": items.creator_ids[7]},
    )
    service.tell(likes, follows, user_id="u0003")
    pages = [service.ask(u, mode="non_personalised", request_id="same", context=place) for u in people]
    assert ids(pages[0]) == ids(pages[1]) == ids(pages[2]) and len(pages[0].items) == 20
    assert [i.score for i in pages[0].items] == [i.score for i in pages[2].items]


@pytest.mark.parametrize("switch", ["controls", "consent", "under_13"])
def test_every_no_to_personalisation_holds(service, switch):
    if switch == "under_13":
        page = service.ask("u0003", context=Context(age_band="under_13"))
    else:

        def refuse(state):
            person = state.person
            if switch == "controls":
                person = msgspec.structs.replace(person, controls=Controls(personalised=False))
            else:
                person = msgspec.structs.replace(person, profile=msgspec.structs.replace(person.profile, consent=False))
            return msgspec.structs.replace(state, person=person)

        update_state(service.engine, "u0003", refuse)
        page = service.ask("u0003")
    assert page.items and not any({"cf", "content"} & set(item.sources) for item in page.items)


def test_propensity_is_one_but_for_a_uniform_draw_and_at_most_one_slot_explores(service, evening):
    n_explored = 0
    for n in range(6):
        page = service.ask("u0009", at=evening + n * MINUTE)
        explored = [item for item in page.items if item.is_exploration]
        assert len(explored) <= 1
        assert all(item.propensity == 1 for item in page.items if not item.is_exploration)
        assert all(0 < item.propensity < 1 for item in explored)
        n_explored += len(explored)
    assert n_explored > 0


def test_positions_count_from_one_and_every_item_says_why(service):
    page = service.ask()
    assert [item.position for item in page.items] == list(range(1, 21))
    assert all(item.reasons for item in page.items)


def test_what_was_searched_is_kept_nowhere(service):
    service.ask(surface="search", query="sirri jiddan", request_id="s")
    stored = service.store.decisions.of_request("s")
    assert b"sirri" not in as_sent(stored, service.engine.key)
    assert all(b"sirri" not in part for part in (service.decisions()[0].request, stored.body_hash.encode()))


def test_conflicts_are_answered_on_the_new_ledger(make_service, by_tier, evening):
    """Another device commits between every read and write: the page is chosen again on what is left."""
    service = make_service().is_adult("casa-adult")
    other = replace(service)
    risky = tuple(by_tier["R2"][:10])

    class Raced:
        deliveries = service.store.users.deliveries

        def __init__(self):
            self.n = 0

        def read(self, *args):
            found = service.store.users.read(*args)
            if self.n < 2:
                self.n += 1
                other.ask(candidate_ids=risky, at=evening + self.n)
            return found

        write_if = service.store.users.write_if

    page = service.broken(users=Raced()).ask(candidate_ids=risky, at=evening)
    assert page.items == []  # the gap of 6 since the other device's R2
    assert len(everything_shown(service, "casa-adult")) == 1


def test_an_attempt_after_a_conflict_sees_a_label_that_came_between(make_service, evening):
    service = make_service().is_adult("casa-adult")
    listed = tuple(ids(service.ask(dry_run=True, size=10)))

    class Raced:
        deliveries, raced = service.store.users.deliveries, False

        def read(self, *args):
            return service.store.users.read(*args)

        def write_if(self, user_id, state, version, record):
            if not self.raced:
                self.raced = True
                service.edit(listed[0], risk_tier="R2", risk_family="despair")
                return False
            return service.store.users.write_if(user_id, state, version, record)

    page = service.broken(users=Raced()).ask(candidate_ids=listed, size=10)
    raised = next(item for item in page.items if item.item_id == listed[0])
    assert raised.tier == "R2"
    calm = sorted(item.score for item in page.items if item.tier == "R0")
    assert raised.score <= calm[len(calm) // 2]  # it lost its own score with its label


@pytest.mark.parametrize("wish", [erase, reset, lambda *who: put_controls(*who[:2], {"personalised": False}, who[2])])
def test_an_attempt_after_a_conflict_uses_nothing_that_the_person_took_back_between(make_service, evening, wish):
    """What is answered and kept in the record is as if the wish had come first."""
    service = make_service().is_adult("casa-adult")
    liked = ids(service.ask(dry_run=True, size=20))
    service.tell(*({"kind": "like", "item_id": item_id} for item_id in liked))

    class Raced:
        raced = False

        def __getattr__(self, name):
            return getattr(service.store.users, name)

        def write_if(self, *args):
            if not self.raced:
                self.raced = True
                wish(service.engine, "casa-adult", evening)
            return service.store.users.write_if(*args)

    service.broken(users=Raced()).ask(size=10, request_id="raced")
    (kept,) = service.decisions()
    columns = candidates_of(kept).columns
    assert kept.request_id == "raced" and not np.any(columns["p_cf"]) and not np.any(columns["p_content"])


def test_only_so_many_attempts_are_made():
    assert engine_module.MAX_RESERVE_TRIES == 6
