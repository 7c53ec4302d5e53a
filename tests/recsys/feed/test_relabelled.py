"""A label that is raised counts backwards, a takedown binds the next page, and risk teaches nothing."""

from dataclasses import replace

import pytest

from recsys.clock import MINUTE
from recsys.services.items import delete_item
from recsys.stores.protocols import ItemChange


def ids(page):
    return [item.item_id for item in page.items]


def scores_of(service, user_id, listed):
    """Every candidate's score and parts, without a page being served."""
    page = service.ask(user_id, candidate_ids=listed, dry_run=True, explain="full", request_id="same", size=50)
    return {item.item_id: (item.score, item.score_parts) for item in page.items}


def service_at(service):
    return service.store.committed_at()


def test_a_takedown_binds_the_next_page_of_every_worker(make_service, evening):
    one = make_service()
    other = make_service(one.store)
    listed = tuple(ids(one.ask(dry_run=True)))
    delete_item(one.store.catalogue, listed[0], evening)
    for worker in (one, other):
        assert listed[0] not in ids(worker.ask(candidate_ids=listed, dry_run=True))


def test_a_raised_label_recounts_past_exposures_and_lowering_frees_nothing(service, by_tier, evening):
    service.is_adult("casa-adult")
    page = service.ask(size=20)
    calm = [item for item in page.items if item.tier == "R0"][:6]
    for item in calm:
        service.edit(item.item_id, risk_tier="R2", risk_family="despair")
    after = service.ask(candidate_ids=tuple(by_tier["R2"]), at=evening + MINUTE)
    assert after.items == [] and after.safety.remaining["R2"]["rolling_24h"] == 0  # 6 in 24 h
    for item in calm:
        service.edit(item.item_id, risk_tier="R0", risk_family=None)
    after = service.ask(candidate_ids=tuple(by_tier["R2"]), at=evening + 2 * MINUTE)
    assert after.items == [] and after.safety.remaining["R2"]["rolling_24h"] == 0


@pytest.mark.parametrize(
    ("user_id", "change"),
    [("casa-adult", {"topics": ["S11"]}), ("agadir-teen", {"risk_source": "model", "risk_confidence": 0.3})],
)
def test_a_raise_by_grief_or_by_doubt_recounts_too(service, evening, user_id, change):
    service.is_adult("casa-adult")
    page = service.ask(user_id, size=20)
    calm = next(item for item in page.items if item.tier == "R0" and "S11" not in item.topics)
    before = service.store.users.read(user_id).state.safety.ledger.capped.get("R1", ())
    service.edit(calm.item_id, **change)
    service.ask(user_id, at=evening + MINUTE, size=1, candidate_ids=())
    after = service.store.users.read(user_id).state.safety.ledger.capped["R1"]
    assert len(after) == len(before) + 1


def test_a_copy_that_is_labelled_higher_recounts_the_copy_that_was_delivered(service, by_tier, evening):
    service.is_adult("casa-adult")
    item = next(item for item in service.ask(size=20).items if item.tier == "R0")
    service.edit(item.item_id, perceptual_hash="0123456789abcdef")
    row = service.store.catalogue.get(item.item_id)
    copy = {**row.fields, "item_id": "copy", "risk_tier": "R2", "risk_family": "despair", "risk_source": "human"}
    service.store.catalogue.put([ItemChange(fields=copy)], evening)
    service.ask(at=evening + MINUTE, size=1)
    ledger = service.store.users.read("casa-adult").state.safety.ledger
    assert evening in ledger.capped["R2"]


def test_watching_nothing_but_r2_gives_the_scores_of_somebody_who_watched_nothing(service, by_tier):
    calm = tuple(by_tier["R0"][:60])
    for person in ("watcher", "nobody"):
        service.is_adult(person)
    before = scores_of(service, "watcher", calm)
    risky = [*by_tier["R2"], *by_tier[None], *by_tier["R3"]]
    kinds = ["view", "complete", "like", "share", "save", "helped", "rewatch", "comment"]
    service.tell(*({"kind": kind, "item_id": item_id} for item_id in risky for kind in kinds[:3]), user_id="watcher")
    service.tell(
        *({"kind": kind, "item_id": risky[0]} for kind in kinds), user_id="watcher", at=1 + service_at(service)
    )
    taste = service.store.users.read("watcher").state.interactions
    assert taste.items == ()
    after = scores_of(service, "watcher", calm)
    common = set(after) & set(before)
    assert len(common) >= 15 and all(after[i] == before[i] for i in common)


def test_r2_watched_before_its_label_was_raised_stops_counting(service, by_tier):
    service.is_adult("watcher")
    calm = tuple(by_tier["R0"][:60])
    liked = by_tier["R0"][70]
    before = scores_of(service, "watcher", calm)
    service.tell({"kind": "like", "item_id": liked}, user_id="watcher")
    learned = scores_of(service, "watcher", calm)
    assert learned != before
    service.edit(liked, risk_tier="R2", risk_family="despair")
    service.edit(liked, risk_tier="R0", risk_family=None)  # what was ever R2 is not learned from
    after = scores_of(service, "watcher", calm)
    assert all(after[i] == before[i] for i in set(after) & set(before))


def test_a_refusal_of_r2_is_learned(service, by_tier):
    service.is_adult("watcher")
    service.tell({"kind": "not_interested", "item_id": by_tier["R2"][0]}, user_id="watcher")
    service.ask("watcher")
    assert service.store.users.read("watcher").state.interactions.weights == (-1.0,)


@pytest.mark.parametrize(
    ("user_id", "label", "rules"),
    [
        # sure for a minor at the threshold of .8, one tier higher at one of .9
        ("agadir-teen", {"risk_source": "platform", "risk_confidence": 0.85}, {"label_threshold": 0.9}),
        ("casa-adult", {"topics": ["S12"]}, {"grief_topic": "S12"}),  # grief counts as R1
    ],
)
def test_another_rule_of_labels_counts_the_past_again_from_the_next_start(
    make_service, morocco, by_tier, evening, user_id, label, rules
):
    def r1_after(service, minutes):
        service.ask(user_id, size=1, candidate_ids=(), request_id=f"r-{minutes}", at=evening + minutes * MINUTE)
        return len(service.store.users.read(user_id).state.safety.ledger.capped.get("R1", ()))

    service = make_service().is_adult("casa-adult")
    shown = next(item.item_id for item in service.ask(user_id, size=20).items if item.tier == "R0")
    row = service.store.catalogue.get(shown)
    service.store.catalogue.put([ItemChange(fields={**row.fields, **label})], evening)
    service.edit(by_tier["R1"][0], risk_tier="R2", risk_family="body")  # a raise: all is counted at this revision
    before = r1_after(service, 1)
    assert r1_after(make_service(service.store), 2) == before
    after = r1_after(make_service(service.store, market=replace(morocco, **rules)), 3)
    assert after > before
    assert r1_after(make_service(service.store), 4) == after  # counts only go up


def test_a_start_with_the_same_rules_writes_no_revision(make_service, morocco):
    service = make_service()
    revision = service.store.catalogue.since(0).revision
    make_service(service.store)
    assert service.store.catalogue.since(0).revision == revision
    make_service(service.store, market=replace(morocco, grief_topic="S12"))
    assert service.store.catalogue.since(0).revision == revision + 1
