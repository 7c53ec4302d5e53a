"""A page can be chosen again from its record, and every item has a reason that a plain recount agrees with."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import HOUR, MINUTE
from recsys.errors import DataError
from recsys.feed import record as records
from recsys.feed.answer import as_sent
from recsys.messages import Context
from recsys.safety.copies import evidence
from recsys.services.explain import record_of, replay, why

BANDS = ["under_13", "13-15", "16-17", "18+", "unknown", None]


@pytest.fixture(scope="session")
def risky(tiny):
    rows = tiny.items.select("item_id", "risk_tier").rows()
    return tuple(item_id for item_id, tier in rows if tier in ("R1", "R2", None))


requests = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["casa-adult", "agadir-teen", "rabat-parent", "u0007", "new"]),
        "surface": st.sampled_from(["for_you", "following", "local", "search", "together"]),
        "size": st.integers(1, 50),
        "mode": st.sampled_from(["personalised", "non_personalised"]),
        "explain": st.sampled_from(["none", "reasons", "full"]),
        "is_risky": st.booleans(),
        "band": st.sampled_from(BANDS),
        "hours": st.sampled_from([0, 0, 0, 1, 5, 24]),
    }
)


@settings(max_examples=20, deadline=None)
@given(asked=st.lists(requests, min_size=1, max_size=6))
def test_a_replay_is_the_page_byte_for_byte(make_service, risky, evening, asked):
    service, at = make_service(), evening
    service.is_adult("casa-adult")
    for n, fields in enumerate(asked):
        at += fields.pop("hours") * HOUR + 1
        only = risky if fields.pop("is_risky") else None
        service.ask(at=at, request_id=f"q{n}", candidate_ids=only, context=Context(age_band=fields.pop("band")),
                    query="a b c d e", **fields)  # fmt: skip
    for n in range(len(asked)):
        again = replay(service.engine, f"q{n}")
        assert again["identical"] and again["differences"] == []
        decision = records.unpack(service.store.decisions.of_request(f"q{n}").decision)
        selection = records.replay(decision)
        assert selection.rows.tolist() == decision.chosen
        assert selection.propensities.tobytes() == decision.propensities


def test_a_replay_does_not_change_when_the_world_does(service, evening):
    page = service.ask(request_id="q")
    for item in page.items[:3]:
        service.edit(item.item_id, risk_tier="R3")
    service.ask(at=evening + MINUTE)
    again = replay(service.engine, "q")
    assert again["identical"]
    assert {item.item_id for item in page.items[:3]} <= set(again["retrieval"]["gone"])


def test_an_altered_answer_is_noticed(service):
    service.ask(request_id="q")
    key = ("casa-adult", "q")
    stored = service.store._tables.decisions[key]
    answer = json.loads(as_sent(stored, service.engine.key))
    answer["items"][0]["propensity"] = 0.5
    altered = msgspec.json.encode(answer)
    service.store._tables.decisions[key] = type(stored)(
        **{name: getattr(stored, name) for name in stored.__slots__} | {"answer": altered}
    )
    again = replay(service.engine, "q")
    assert not again["identical"] and again["differences"]


def test_a_record_lists_candidates_best_first_and_marks_what_was_shown(service):
    page = service.ask(request_id="q")
    record = record_of(service.engine, "q")
    shown = [c["item_id"] for c in record["candidates"] if c["shown"]]
    assert set(shown) <= {item.item_id for item in page.items}
    scores = [c["score"] for c in record["candidates"]]
    assert scores == sorted(scores, reverse=True)
    json.dumps(record)  # plain values only
    assert "query" not in json.dumps(record["limits"])


@settings(max_examples=10, deadline=None)
@given(size=st.integers(1, 50), seed=st.integers(0, 5), user=st.sampled_from(["casa-adult", "agadir-teen"]))
def test_every_candidate_of_a_page_has_a_reason_that_a_recount_agrees_with(
    make_service, risky, evening, size, seed, user
):
    """
    Brute force: a candidate is shown, or, at every slot that went to a worse one, adding it would have broken a
    window, a gap, the creator's share or a floor. Without any of these it must have been outscored by all shown.
    """
    service = make_service().is_adult("casa-adult")
    for n in range(seed):
        service.ask(user, at=evening + n * MINUTE, size=17)
    at = evening + HOUR
    page = service.ask(user, at=at, size=size, request_id="q")
    decision = service.decisions(user)[-1]
    candidates = records.candidates_of(decision)
    ids = service.engine.resources.catalogue_cache.items.item_ids
    position = {item.item_id: item.position for item in page.items}
    for row, item_no in enumerate(candidates.item_nos.tolist()):
        found = why(service.engine, "q", ids[item_no])
        assert found["shown"] == (ids[item_no] in position)
        if found["shown"]:
            assert found["position"] == position[ids[item_no]] and found["removed_by"] is None
            assert any(rule["rule"].startswith("source:") for rule in found["rules"])
            continue
        worse = [slot for slot, taken in enumerate(decision.chosen) if taken > row]
        is_short = len(decision.chosen) < decision.size
        if found["removed_by"] == "outscored":
            assert not worse and not is_short
        else:
            assert (worse or is_short) and sum(r["slots"] for r in found["rules"]) >= 1
            assert is_true(
                found["removed_by"], decision, candidates, row, [*worse, *([len(decision.chosen)] * is_short)]
            )


def is_true(rule, decision, candidates, row, slots):
    """Whether a rule really kept the row out of at least one of the slots."""
    if rule.startswith("floor:"):
        return any(
            decision.forced[slot] == rule.removeprefix("floor:") for slot in slots if slot < len(decision.forced)
        )
    if rule == "exploration":
        return any(p < 1 for p in np.frombuffer(decision.propensities, "<f4"))
    before = [(d.tier, d.is_s4, d.creator_no, d.item_no, d.family) for d in decision.ledger.last]
    page = [(int(candidates["tier"][r]), bool(candidates["is_s4"][r]), int(candidates["creator_no"][r]),
             int(candidates.item_nos[r]), int(candidates["family"][r])) for r in decision.chosen]  # fmt: skip
    own = (int(candidates["tier"][row]), bool(candidates["is_s4"][row]), int(candidates["creator_no"][row]),
           int(candidates.item_nos[row]), int(candidates["family"][row]))  # fmt: skip
    for slot in slots:
        run = [*before, *page[:slot]]
        if rule == "creator_spacing":
            hit = sum(one[2] == own[2] for one in run[-19:]) >= decision.limits.creator_last_20
        elif rule == "duplicate":
            hit = any(evidence(candidates.columns, row, other) for other in decision.chosen[:slot])
        else:
            kind, name = rule.split(":", 1)
            hit = is_capped(kind, name, run, own, decision)
        if hit:
            return True
    return False


def is_capped(kind, name, run, own, decision):
    def counts(one):
        tier, is_s4 = one[0], one[1]
        is_it = {"R1": tier == 1, "R2": tier >= 2, "R1+R2": tier >= 1, "S4": is_s4}
        return is_it[name] if name in is_it else tier >= 2 and one[4] == own[4]

    if not counts(own):
        return False
    if kind == "gap":
        gap = decision.limits.gaps[name]
        return any(counts(one) for one in run[-gap:])
    return any(counts(one) for one in run) or any(decision.ledger.capped.values())


def test_a_draw_from_a_single_item_is_explained_as_a_draw(service):
    """The eleventh delivery is drawn; from one item that is no chance, and still no merit."""
    listed = [item.item_id for item in service.ask(dry_run=True, size=20).items]
    service.ask(size=10)
    one = next(
        i for i in listed if (page := service.ask(candidate_ids=(i,), dry_run=True).items) and page[0].is_exploration
    )
    (item,) = service.ask(candidate_ids=(one,), request_id="one").items
    assert (item.is_exploration, item.propensity) == (True, 1.0)
    assert {"rule": "exploration"} in why(service.engine, "one", one)["rules"]


def test_why_of_an_item_that_was_no_candidate_names_the_filter(service, tiny):
    service.ask(request_id="q")
    forbidden = next(row["item_id"] for row in tiny.items.iter_rows(named=True) if row["risk_tier"] == "R3")
    found = why(service.engine, "q", forbidden)
    assert not found["shown"] and found["removed_by"] == "tier" and found["rules"][0]["judged"] == "now"


def test_a_request_or_item_that_nobody_knows_is_a_sentence(service):
    with pytest.raises(DataError, match="request_id"):
        why(service.engine, "never", "v00001")
    service.ask(request_id="q")
    with pytest.raises(DataError, match="item_id"):
        why(service.engine, "q", "never")


def test_explaining_reserves_nothing(service, tiny):
    service.ask(request_id="q")
    before = service.store.users.read("casa-adult")
    replay(service.engine, "q")
    for item_id in tiny.items["item_id"][:20]:
        why(service.engine, "q", item_id)
    assert service.store.users.read("casa-adult") == before


def test_a_record_is_small(service):
    """About 5 bytes a candidate packed, and 1.5 kB; docs name the size."""
    for user in ("casa-adult", "agadir-teen"):
        service.ask(user)
        stored = service.store.decisions.of_user(user)[0]
        n = len(service.decisions(user)[0].item_nos) // 4
        assert len(stored.decision) < 8 * n + 2_500
