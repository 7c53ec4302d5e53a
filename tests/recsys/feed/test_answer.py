"""An answer comes back from its store byte for byte, whatever has changed since."""

from dataclasses import replace

import msgspec
import pytest

from recsys.clock import DAY, HOUR, MINUTE
from recsys.feed.answer import answer_of, as_sent, pack_answer
from recsys.feed.engine import feed
from recsys.messages import FeedRequest, FeedResponse
from recsys.services.items import delete_item


def sent_and_stored(service, at, **fields):
    request = FeedRequest(user_id="casa-adult", request_id="once", **fields)
    body = feed(service.engine, request, at).answer
    return body, service.store.users.read("casa-adult", "once").answer


@pytest.mark.parametrize("explain", ["none", "reasons", "full"])
@pytest.mark.parametrize("surface", ["for_you", "search", "following"])
def test_an_answer_comes_back_byte_for_byte(service, evening, explain, surface):
    body, stored = sent_and_stored(service, evening, size=20, explain=explain, surface=surface, query="la vie")
    assert as_sent(stored, service.engine.key) == body
    assert len(stored.answer) < len(body) / 3


def test_it_does_so_after_takedowns_labels_and_another_model(service, evening):
    service.is_adult("casa-adult")
    body, stored = sent_and_stored(service, evening, size=20)
    items = answer_of(stored, service.engine.key).items
    delete_item(service.store.catalogue, items[0].item_id, evening)
    service.edit(items[1].item_id, risk_tier="R2", risk_family="despair")
    service.edit(items[2].item_id, creator_id="somebody else", topics=["S1"], language="fr")
    service.ask(at=evening + MINUTE)
    resources = service.engine.resources
    other = replace(resources, model=replace(resources.model, version="another"))
    service.broken(resources=other).ask(at=evening + HOUR)
    assert as_sent(service.store.users.read("casa-adult", "once").answer, service.engine.key) == body


def test_a_repeat_has_the_body_that_was_sent(service, evening):
    body, _ = sent_and_stored(service, evening, size=20)
    again, _ = sent_and_stored(service, evening + DAY, size=20)
    assert again == body.replace(b'"replayed":false', b'"replayed":true')


def test_no_signature_is_stored(service, evening):
    """They say nothing that the record does not, and 12 random bytes each do not compress."""
    body, stored = sent_and_stored(service, evening, size=20)
    response = msgspec.json.decode(body, type=FeedResponse)
    unsigned = [msgspec.structs.replace(item, tracking_token="") for item in response.items]
    assert pack_answer(msgspec.structs.replace(response, items=unsigned, cursor="")) == stored.answer


def test_answers_of_versions_before_are_as_they_were(service, evening):
    body, stored = sent_and_stored(service, evening)
    assert as_sent(replace(stored, answer=body), b"whatever") == body
