"""Attacks on labels, copies, places and supply (policy-spec 11). What other work finishes is tested as far as it is."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.catalogue.creators import Creator
from recsys.catalogue.items import is_unlearnable
from recsys.clock import HOUR, MINUTE, SECOND
from recsys.feed.answer import answer_of
from recsys.messages import Context
from recsys.safety.harm_terms import harm_terms_of
from recsys.services.creators import exposure, patch_creator, put_creator
from recsys.services.explain import why
from recsys.services.floor_audit import audit
from recsys.services.items import delete_item, patch_item, put_item
from recsys.services.profiles import put_profile
from recsys.services.reviews import answer_review, ask_review
from recsys.stores.protocols import ItemChange

BANDS = ("under_13", "13-15", "16-17", "18+")
NEW = {"creator_id": "newcomer", "title": "a title of my own", "country": "MA", "region": "MA-06", "language": "ary"}


def ids(page):
    return [item.item_id for item in page.items]


def ledger_of(service, user_id="casa-adult"):
    return service.store.users.read(user_id).state.safety.ledger


def of_age(service, band, at):
    put_profile(service.engine, band, {"age_band": band, "age_source": "verified", "country": "MA"}, at)
    return band


# 7: mislabelled or unlabelled; downgraded by an edit; raised after serving


@pytest.mark.parametrize("band", BANDS)
def test_attack_07_what_nobody_labelled_counts_as_r2_and_is_not_for_minors(service, by_tier, evening, band):
    page = service.ask(of_age(service, band, evening), candidate_ids=tuple(by_tier[None]), size=20)
    if band == "18+":
        assert [(item.tier, item.family) for item in page.items] == [("R2", "unlabelled")]
        assert len(ledger_of(service, band).capped["R2"]) == 1
    else:
        assert page.items == []


def test_attack_07_filter_and_validator_agree_on_what_is_unlabelled(service, by_tier, evening):
    """A model that is sure of R2 and of no family, or a label of that family, is no label that a minor may rely on."""
    teen, row = of_age(service, "16-17", evening), service.store.catalogue.get(by_tier["R0"][0]).fields
    raised = {"predicted_tier": "R2", "label_confidence": 0.95}
    for n, label in enumerate((raised, {"risk_tier": "R2", "risk_family": "unlabelled"})):
        fields = {**row, "item_id": f"doubtful-{n}", "title": f"doubtful {n}", **label}
        service.store.catalogue.put([ItemChange(fields=fields)], evening)
    page = service.ask(teen, candidate_ids=("doubtful-0", "doubtful-1"))
    assert page.items == [] and page.shortfall.because["unlabelled"] == 2 and service.alerts == []


def test_attack_07_taking_a_label_away_or_lowering_it_frees_nothing(service, by_tier, evening):
    service.is_adult("casa-adult")
    shown = service.ask(candidate_ids=tuple(by_tier["R2"])).items[0].item_id
    before = ledger_of(service).capped["R2"]
    for n, label in enumerate(({"risk_tier": "R0", "risk_family": None}, {"risk_tier": None, "risk_family": None})):
        service.edit(shown, **label)
        service.ask(size=1, candidate_ids=tuple(by_tier["R0"]), at=evening + (n + 1) * MINUTE)
        assert ledger_of(service).capped["R2"] == before
    number = service.engine.resources.catalogue_cache.items.index[shown]
    assert is_unlearnable(service.engine.resources.catalogue_cache.items)[number]  # what was ever R2 is never a taste


def test_attack_07_a_label_raised_after_serving_counts_backwards(service, by_tier, evening):
    service.is_adult("casa-adult")
    shown = [item.item_id for item in service.ask(size=20).items if item.tier == "R0"][:6]
    for item_id in shown:
        service.edit(item_id, risk_tier="R2", risk_family="body")
    page = service.ask(candidate_ids=tuple(by_tier["R2"]), at=evening + HOUR)
    assert page.items == [] and ledger_of(service).capped["R2"] == (evening,) * 6
    assert ledger_of(service).capped["R2:body"] == (evening,) * 6


@pytest.mark.parametrize("tier", ["R3", "R4"])
def test_attack_07_no_edit_of_its_words_puts_r3_or_r4_on_a_page(service, evening, tier):
    """New words need a new label, and no label counts as R2, which is served: what is never served keeps its own."""
    service.is_adult("casa-adult")
    catalogue, label = service.store.catalogue, {"risk_tier": tier, "risk_source": "human"}
    edits = {
        "words": lambda item_id: patch_item(catalogue, item_id, {"title": "words that nobody read"}, evening),
        "label": lambda item_id: patch_item(catalogue, item_id, {"risk_tier": None}, evening),
        "upload": lambda item_id: put_item(catalogue, item_id, {**NEW, "title": "words, once more"}, evening),
    }
    for item_id, edit in edits.items():
        put_item(catalogue, item_id, {**NEW, "title": f"said by {item_id}", **label}, evening)
        edit(item_id)
        assert ids(service.ask(candidate_ids=(item_id,))) == []
        patch_item(catalogue, item_id, {"risk_tier": "R0"}, evening)  # somebody looked
    assert len(service.ask(candidate_ids=tuple(edits), size=3).items) == 2  # of one creator; what they said is forgiven


# 8: coded words, Arabizi digits, elongation, homoglyphs, text only on screen or in audio


@pytest.mark.parametrize(
    "query",
    ["zzforbidden", "ZZFORBIDDEN!!", "zzforbiiiidden", "z z f o r b i d d e n", "zz\u0301forbidden", "ＺＺforbidden"],
)
def test_attack_08_a_search_is_understood_through_spacing_elongation_and_marks(service, evening, query):
    known = replace(service.engine.resources, harm_terms=harm_terms_of(["zzforbidden"]))
    coded = service.broken(resources=known)
    coded.is_adult("casa-adult")
    page = coded.ask(surface="search", query=query)
    assert page.safety.loop_level == 1 and [card.card_id for card in page.cards][:1] == ["crisis"]
    assert not any(b"zz" in d.request for d in coded.decisions())


def test_attack_08_what_is_only_on_screen_or_in_audio_comes_as_a_label(service, by_tier, evening):
    """The platform reads screen and sound; its tier binds the next page, whatever the text says."""
    service.is_adult("casa-adult")
    item_id = by_tier["R0"][0]
    service.edit(item_id, title="🙂", text=None, risk_tier="R3", risk_family="despair", risk_source="platform")
    for surface in ("for_you", "search", "local"):
        query = "🙂" if surface == "search" else None
        assert ids(service.ask(surface=surface, query=query, candidate_ids=(item_id,))) == []


# 10: new creator, no history; new creator tagged S4 by self


def test_attack_10_what_a_new_creator_says_of_itself_is_believed_by_nobody(service, evening):
    service.is_adult("casa-adult")
    put_item(service.store.catalogue, "self-tagged", {**NEW, "topics": ["S4"]}, evening)
    page = service.ask(candidate_ids=("self-tagged",))
    assert [(item.tier, item.family) for item in page.items] == [("R2", "unlabelled")]  # not hope, not supportive
    assert "supportive" not in {reason.code for reason in page.items[0].reasons}
    assert service.ask("nobody", candidate_ids=("self-tagged",)).items == []


@pytest.mark.parametrize("label", [{}, {"risk_tier": "R0"}, {"risk_tier": "R0", "risk_source": "model"},
                                   {"risk_tier": "R0", "risk_source": "human", "risk_confidence": 0.5}])  # fmt: skip
def test_attack_10_only_what_was_reviewed_is_explored(service, evening, label):
    put_item(service.store.catalogue, "unreviewed", {**NEW, "topics": ["S3"], **label}, evening)
    reviewed = {**NEW, "topics": ["S3"], "risk_tier": "R0", "risk_source": "partner", "title": "another title"}
    put_item(service.store.catalogue, "reviewed", reviewed, evening)
    for n in range(6):
        service.ask("u0009", at=evening + n * MINUTE)
    items = service.engine.resources.catalogue_cache.items
    assert items.is_reviewed[items.index["reviewed"]] and not items.is_reviewed[items.index["unreviewed"]]
    explored = [
        item.item_id
        for decision in service.decisions("u0009")
        for item in _answer(service, decision.request_id).items
        if item.is_exploration
    ]
    assert "unreviewed" not in explored


def _answer(service, request_id):
    return answer_of(service.store.decisions.of_request(request_id), service.engine.key)


def test_attack_10_a_new_creators_reviewed_work_is_tried_and_no_more_than_its_share(make_service, tiny, evening):
    """Reviewed local R0 of hardly delivered creators is drawn uniformly, at most once a page; unreviewed work never."""
    service = make_service().is_adult("casa-adult")
    for n in range(6):
        put_creator(service.store.catalogue, f"new-{n}", {"country": "MA", "place_source": "partner"}, evening)
        source = {"risk_source": "human"} if n < 3 else {"risk_source": "model", "risk_confidence": 0.99}
        fields = {"creator_id": f"new-{n}", "title": f"first {n}", "language": "ary", "topics": ["S3"], **source}
        put_item(service.store.catalogue, f"new-{n}", {**fields, "risk_tier": "R0"}, evening)
    explored = []
    for n in range(12):
        page = service.ask(f"reader-{n}" if n else "casa-adult", size=20, at=evening)
        tried = [item for item in page.items if item.is_exploration]
        assert len(tried) <= 1
        explored += tried
    items = service.engine.resources.catalogue_cache.items
    assert explored and all(items.is_reviewed[items.index[item.item_id]] for item in explored)
    assert all(item.tier == "R0" and 0 < item.propensity <= 1 for item in explored)
    assert not {item.item_id for item in explored} & {"new-3", "new-4", "new-5"}


# 11: local inventory empty, tiny, all risky, one creator only


def _market(tiny, change):
    """The tiny artifact with another inventory; the same rows, so that every vector still fits."""
    return replace(tiny, items=change(tiny.items))


LOCAL = (pl.col("country") == "MA") | pl.col("language").is_in(["ary", "ary-Latn", "zgh", "zgh-Latn"])
INVENTORIES = {
    "empty": lambda items: items.with_columns(is_hidden=pl.col("is_hidden") | LOCAL),
    "tiny": lambda items: items.with_columns(is_hidden=pl.col("is_hidden") | (LOCAL & (pl.col("item_id") > "v00020"))),
    "all risky": lambda items: items.with_columns(
        risk_tier=pl.when(LOCAL).then(pl.lit("R2")).otherwise("risk_tier"),
        risk_family=pl.when(LOCAL).then(pl.lit("despair")).otherwise("risk_family"),
    ),
    "one creator": lambda items: items.with_columns(
        creator_id=pl.when(LOCAL).then(pl.lit("c0001")).otherwise("creator_id")
    ),
}


@pytest.mark.parametrize("name", INVENTORIES)
def test_attack_11_the_local_floor_shrinks_with_its_supply(make_service, tiny, evening, name):
    service = make_service(artifact=_market(tiny, INVENTORIES[name]))
    spoken = ["ary", "ary-Latn", "ar", "fr", "zgh", "en"]
    put_profile(service.engine, "adult", {"age_band": "18+", "age_source": "verified", "country": "MA",
                                          "region": "MA-06", "languages": spoken}, evening)  # fmt: skip
    service.ask("adult", at=evening, dry_run=True)  # neither counted nor told: nobody was shown anything
    assert service.alerts == [] and not service.engine.resources.exposure.shrunk
    pages = [service.ask("adult", at=evening + n * MINUTE) for n in range(3)]
    shown = [item for page in pages for item in page.items]
    assert len(shown) >= 40 and len({item.item_id for item in shown}) == len(shown)  # full, and no repetition
    assert sum(item.tier == "R2" for item in shown) <= 3  # risky local items fill no floor
    supply = service.decisions("adult")[0].supply
    assert supply.local <= {"empty": 0, "tiny": 19, "all risky": 0, "one creator": 2}[name]
    local = [item for item in shown[:20] if item.locality.match in ("region", "neighbour", "country", "dialect")]
    assert len([item for item in local if item.tier == "R0"]) >= min(supply.local, 2) - (name == "all risky") * 2
    is_told = [alert for alert in service.alerts if alert.startswith("local supply in MA-06")]
    assert service.alerts == is_told and len(is_told) == 1  # three pages in an hour, one alert
    assert service.engine.resources.exposure.shrunk == {"MA-06": 3}
    assert all(audit(decision).below_supply == 0 for decision in service.decisions("adult"))


def test_attack_11_who_is_abroad_raises_no_alert_about_the_market(make_service, tiny, evening):
    service = make_service(artifact=_market(tiny, INVENTORIES["empty"]))
    put_profile(service.engine, "away", {"age_band": "18+", "age_source": "verified", "country": "FR"}, evening)
    service.ask("away", at=evening)
    assert service.alerts == [] and not service.engine.resources.exposure.shrunk


# 12: local creator ring: fake location, VPN, bought audience


def test_attack_12_places_weigh_by_their_evidence(service, evening):
    view = service.engine.resources.catalogue_cache
    creators = {
        "partner-verified": Creator(creator_id="partner-verified", country="MA", region="MA-06", is_verified=True),
        "says-so": Creator(creator_id="says-so", country="MA", region="MA-06"),
        "moved": Creator(creator_id="moved", country="FR", region="FR-IDF", is_verified=True),
    }
    view.creators = {**view.creators, **creators}
    plain = {"title": "", "risk_tier": "R0", "risk_source": "human", "language": "en", "topics": ["S3"]}
    claims = {
        "verified": {"creator_id": "partner-verified", "title": "one"},
        "declared": {"creator_id": "says-so", "title": "two"},
        "contradicted": {"creator_id": "moved", "title": "three", "country": "MA", "region": "MA-06"},
        "unknown": {"creator_id": "nobody-knows", "title": "four"},
    }
    for item_id, claim in claims.items():
        put_item(service.store.catalogue, item_id, {**plain, **claim}, evening)
    service.is_adult("casa-adult")
    both = Context(country="MA", region="MA-06", languages=("ary", "en"))
    everything = service.ask(candidate_ids=tuple(claims), context=both, dry_run=True)
    score = {item.item_id: item.locality.score for item in everything.items}
    assert score["verified"] == 1.0 > score["declared"] == pytest.approx(0.6)
    moved = next(item.locality for item in everything.items if item.item_id == "contradicted")
    assert (moved.match, moved.source) == ("language", "platform")  # a partner says France: that is believed
    unknown = next(item for item in everything.items if item.item_id == "unknown")
    assert unknown.locality.match in ("unknown", "language") and (unknown.locality.score or 0) < 0.4
    assert ids(service.ask(candidate_ids=("unknown",), surface="local", context=both)) == []


def test_attack_12_a_ring_cannot_buy_more_than_the_creator_cap(service, by_tier, evening):
    """A bought audience is likes and views of the ring's items: no window reads them, two in twenty stay two."""
    service.is_adult("casa-adult")
    for n in range(10):
        fields = {**NEW, "creator_id": "ring", "title": f"ring {n}", "risk_tier": "R0", "risk_source": "human"}
        put_item(service.store.catalogue, f"ring-{n}", {**fields, "topics": ["S3"]}, evening)
    fans = [f"fan-{n}" for n in range(30)]
    for fan in fans:
        service.tell(*({"kind": "like", "item_id": f"ring-{n}"} for n in range(10)), user_id=fan)
    shown = [item for n in range(3) for item in service.ask(size=20, at=evening + n * SECOND).items]
    for start in range(len(shown) - 19):
        assert sum(item.creator_id == "ring" for item in shown[start : start + 20]) <= 2


def test_attack_12_a_ring_that_says_it_is_local_fills_no_slot_of_the_floor(make_service, tiny, evening):
    """
    Accounts that claim the viewer's region, in a language anybody speaks, with an audience bought in the country. Their
    word weighs in the score; the floor waits for a partner, the platform, or local speech.
    """
    gone = _market(tiny, INVENTORIES["empty"])
    service = make_service(artifact=gone).is_adult("casa-adult")
    catalogue = service.store.catalogue
    for n in range(12):
        claim = {"country": "MA", "region": "MA-06", "languages": ["ary"], "audience": "MA", "followers": 10**6}
        put_creator(catalogue, f"ring-{n}", claim, evening)
        fields = {"creator_id": f"ring-{n}", "title": f"ring {n}", "language": "fr", "topics": ["S3"]}
        put_item(catalogue, f"ring-{n}", {**fields, "risk_tier": "R0", "risk_source": "human"}, evening)
    here = Context(country="MA", region="MA-06")
    page = service.ask(context=here)
    assert service.decisions()[0].supply.local == 0 and "local" not in service.decisions()[0].forced
    ring = [item.locality for item in page.items if item.creator_id.startswith("ring")]
    assert all(near.source == "declared" for near in ring)
    for n in range(12):
        patch_creator(catalogue, f"ring-{n}", {"place_source": "partner"}, evening)
    service.ask(at=evening + SECOND, context=here)
    assert service.decisions()[1].supply.local > 0


# 21: embedding drift: the model learns R2 by proxy


def test_attack_21_dose_can_be_counted_by_label_and_by_creator(service, by_tier, evening):
    """What R2's neighbours, sounds and creators get is readable from the records; R2 itself has no score of its own."""
    service.is_adult("casa-adult")
    service.tell(*({"kind": "complete", "item_id": item_id} for item_id in by_tier["R2"][::2]))
    for n in range(4):
        service.ask(size=20, at=evening + n * MINUTE, candidate_ids=(*by_tier["R2"], *by_tier["R0"][:60]))
    ledger = ledger_of(service)
    by_creator = {
        d.creator_no: sum(e.tier >= 2 for e in ledger.last if e.creator_no == d.creator_no) for d in ledger.last
    }
    assert sum(by_creator.values()) == sum(d.tier >= 2 for d in ledger.last)
    decision = service.decisions()[-1]
    tiers = np.frombuffer(decision.columns["tier"], "i1")
    scores = np.frombuffer(decision.scores, "<f4")
    assert len(set(scores[tiers >= 2].tolist())) == 1  # a constant: no proxy of R2 is ranked by


def test_attack_21_a_copy_of_r2_stops_being_a_taste(service, by_tier, evening):
    service.is_adult("casa-adult")
    proxy = by_tier["R0"][3]
    service.tell({"kind": "like", "item_id": proxy})
    before = service.ask(dry_run=True, explain="full", request_id="same")
    for item_id in (by_tier["R2"][0], proxy):
        service.edit(item_id, perceptual_hash="0123456789abcdef", risk_source="platform")
    after = service.ask(dry_run=True, explain="full", request_id="same")
    items = service.engine.resources.catalogue_cache.items
    assert items.tier[items.index[proxy]] == 2
    assert {i.item_id: i.score_parts for i in after.items} != {i.item_id: i.score_parts for i in before.items}


# 22: over-blocking of help-seekers, LGBT or religious content, survivors


def test_attack_22_a_label_that_was_wrong_can_be_taken_back_at_once(service, by_tier, evening):
    """The appeal's effect: a relabelled item is served on the next page, to everybody who did not see it yet."""
    service.is_adult("casa-adult")
    survivor = by_tier["R2"][0]
    assert [item.tier for item in service.ask(candidate_ids=(survivor,), dry_run=True).items] == ["R2"]
    service.edit(survivor, risk_tier="R0", risk_family=None, topics=["S4"], risk_source="human", risk_confidence=1.0)
    page = service.ask(candidate_ids=(survivor,))
    assert [(item.tier, item.topics) for item in page.items] == [("R0", ["S4"])]


def test_attack_22_asking_for_help_never_costs_somebody_the_help(service, by_tier, evening):
    """Support and refusals tighten what is risky; supportive topics and the card stay, at every level."""
    service.is_adult("casa-adult")
    heavy = by_tier["R2"][0]
    service.edit(heavy, topics=["S1"])
    service.tell(
        {"kind": "not_interested", "item_id": heavy}, {"kind": "too_much", "item_id": heavy},
        {"kind": "support_requested"},
    )  # fmt: skip
    page = service.ask(at=evening + SECOND)
    topics = {topic for item in page.items for topic in item.topics}
    assert page.cards[0].card_id == "support" and page.safety.loop_level >= 1
    assert len(page.items) == 20 and {"S1", "S3"} & topics
    assert {item.tier for item in page.items} <= {"R0", "R1", "R2"}


def test_attack_22_every_absence_has_a_reason_that_can_be_audited(service, by_tier, evening):
    service.is_adult("casa-adult")
    service.ask(candidate_ids=(*by_tier["R2"], *by_tier["R3"]), request_id="r", size=20)
    for item_id in (*by_tier["R2"], *by_tier["R3"]):
        found = why(service.engine, "r", item_id)
        is_cap = str(found["removed_by"]).startswith(("cap:", "gap:"))
        known = ("tier", "duplicate", "creator_spacing", "language", "seen")
        assert found["shown"] or is_cap or found["removed_by"] in known, found
    gone = by_tier["R0"][0]
    delete_item(service.store.catalogue, gone, evening)
    assert why(service.engine, "r", gone)["removed_by"] in ("hidden", "excluded", "seen")


def test_attack_22_what_our_own_label_raised_says_so_and_a_review_takes_it_back(service, by_tier, evening):
    """The report names the kind of evidence, and no word; the answer of a person ends the raise on the next page."""
    service.is_adult("casa-adult")
    row = service.store.catalogue.get(by_tier["R0"][0]).fields
    raised = {"predicted_tier": "R2", "predicted_family": "body", "label_confidence": 0.95, "label_version": "heads"}
    fields = {**row, "item_id": "raised", "title": "unheard words", "creator_id": "survivor", **raised}
    service.store.catalogue.put([ItemChange(fields=fields)], evening)
    [label] = exposure(service.engine, "survivor", evening)["labels"]
    assert (label["tier"], label["source"], label["evidence"]) == ("R2", "predicted", "text")
    assert "unheard" not in str(label)
    ask_review(service.engine, "raised", evening)
    answered = answer_review(service.engine, "raised", {"risk_tier": "R0"}, evening + HOUR)
    assert answered["outcome"] == "changed"
    assert [item.tier for item in service.ask(candidate_ids=("raised",), at=evening + HOUR).items] == ["R0"]
