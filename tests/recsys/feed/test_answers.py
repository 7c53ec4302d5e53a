"""What an answer tells beside the items: texts that were asked for, a score's parts, and what nobody knows."""

import hashlib
import hmac

import msgspec
import pytest

from recsys.clock import DAY
from recsys.errors import StoreError
from recsys.messages import FeedRequest
from recsys.services.explain import replay
from recsys.services.profiles import put_profile
from recsys.services.rights import erase

INCLUDE = ("title", "creator", "caption")


def test_an_item_has_just_the_texts_that_were_asked_for(service):
    plain = service.ask(request_id="plain").items[0]
    assert {"title", "creator", "caption"}.isdisjoint(msgspec.to_builtins(plain))
    for n, include in enumerate((("title",), ("creator", "caption"), INCLUDE)):
        item = service.ask(request_id=f"q{n}", include=include).items[0]
        assert msgspec.to_builtins(item).keys() & set(INCLUDE) == set(include)


def test_the_texts_are_those_of_the_catalogue_of_now(service, tiny):
    page = service.ask(request_id="q", include=INCLUDE)
    rows = {row["item_id"]: row for row in tiny.items.iter_rows(named=True)}
    for item in page.items:
        assert (item.title, item.caption) == (rows[item.item_id]["title"], rows[item.item_id].get("text"))
        assert item.creator.creator_id == item.creator_id and isinstance(item.creator.verified, bool)
    service.edit(page.items[0].item_id, title="Another title")
    again = service.ask(request_id="q", include=INCLUDE)
    assert again.replayed and again.items[0].title == "Another title"


def test_no_text_is_kept_with_the_answer(service):
    page = service.ask(request_id="q", include=INCLUDE)
    kept = service.store.decisions.of_request("q").answer
    assert page.items[0].title.encode() not in kept


def test_a_catalogue_that_does_not_answer_costs_the_texts_alone(service, monkeypatch):
    catalogue = service.store.catalogue

    class Broken:
        def __getattr__(self, name):
            return getattr(catalogue, name)

        def get(self, item_id):
            raise StoreError("down")

    monkeypatch.setattr(service.engine.resources.catalogue_cache, "catalogue", Broken())
    page = service.ask(request_id="q", include=("title",))
    assert page.items and page.degraded == ["include"]


def test_a_body_without_a_later_field_hashes_as_before_the_field_was_there():
    """A repeat across an upgrade is the same request; the fields are those of the version before, in order."""
    request = FeedRequest(user_id="u", request_id="q")
    later = ("include", "topics", "languages_only")
    fields = {name: value for name, value in msgspec.to_builtins(request).items() if name not in later}
    former = hmac.new(b"k", msgspec.json.encode(fields), hashlib.sha256).hexdigest()
    assert request.body_hash(b"k") == former
    assert msgspec.structs.replace(request, include=("title",)).body_hash(b"k") != former


@pytest.mark.parametrize("user_id", ["casa-adult", "new"])
def test_a_score_is_the_weighted_sum_of_its_parts(service, by_tier, user_id):
    service.is_adult(user_id)
    service.tell({"kind": "not_interested", "item_id": by_tier["R1"][0]}, user_id=user_id)
    page = service.ask(user_id, size=50, explain="full")
    for item in page.items:
        total = sum(page.score_weights.get(name, 0.0) * part for name, part in item.score_parts.items())
        assert item.score == pytest.approx(total, abs=1e-3)
        assert (item.score_parts.keys() == {"constant"}) == (item.tier == "R2")


def test_parts_and_weights_come_with_a_full_explanation_only(service):
    raw = msgspec.to_builtins(service.ask(explain="reasons"))
    assert "score_weights" not in raw and "score_parts" not in raw["items"][0]


def test_unknown_ids_are_counted_whether_or_not_something_is_missing(service, by_tier):
    assert service.ask("casa-adult").shortfall.because == {}
    known = tuple(by_tier["R0"][:3])
    page = service.ask("casa-adult", candidate_ids=(*known, "typo-1", "typo-2", "typo-1"), size=2)
    assert page.shortfall.missing == 0 and page.shortfall.because == {"unknown": 2}
    assert service.ask("nobody", size=1).shortfall.because == {"unknown": 1}
    assert service.ask("nobody", candidate_ids=("typo",)).shortfall.because["unknown"] == 2


@pytest.mark.parametrize("how", ["profile", "like", "follow"])
def test_a_person_of_whom_anything_was_said_is_known(service, evening, tiny, how):
    item = tiny.items.row(0, named=True)
    if how == "profile":
        put_profile(service.engine, "nobody", {"country": "MA"}, evening)
    elif how == "like":
        service.tell({"kind": "like", "item_id": item["item_id"]}, user_id="nobody")
    else:
        service.tell({"kind": "follow", "creator_id": item["creator_id"]}, user_id="nobody")
    assert "unknown" not in service.ask("nobody").shortfall.because


def test_an_erased_person_is_unknown(service, evening):
    erase(service.engine, "casa-adult", evening, "local")
    assert service.ask("casa-adult", at=evening + DAY).shortfall.because["unknown"] == 1


def test_what_is_unknown_breaks_no_replay(service):
    service.ask("nobody", candidate_ids=("typo",), request_id="q")
    assert replay(service.engine, "q")["identical"]
