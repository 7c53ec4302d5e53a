"""What is counted of creators: once per delivery, read again once a minute, and told when supply is too small."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.catalogue.items import creator_number
from recsys.clock import DAY, HOUR, MINUTE
from recsys.errors import StoreError
from recsys.exposure.counts import CreatorExposure
from recsys.policy.schema import Market
from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import DecisionRecord, ExposureCount, StoredAnswer
from recsys.types import Viewer
from recsys.user.state import UserState

VIEWER = Viewer(user_id="u", country="MA", region="MA-06", languages=("ary",), age_band="18+", personalised=True)


def exposure_of(store: MemoryStore, market: Market) -> CreatorExposure:
    return CreatorExposure(store.exposure, store.controllers, market)


def deliver(store: MemoryStore, creator_id: str, n: int, at: int) -> None:
    count = ExposureCount(
        creator_id=creator_id, day=at // DAY, country="MA", region="", attribution="merit", is_local=True, n=n
    )  # fmt: skip
    version = store.users.read("u").version
    answer = StoredAnswer(request_id=f"r{version}", user_id="u", at=at, body_hash="", answer=b"", decision=b"")
    store.users.write_if("u", UserState(), version, DecisionRecord(answer=answer, deliveries=(), exposure=(count,)))


def test_counts_are_read_again_after_a_minute_and_not_before(morocco, evening):
    store = MemoryStore()
    exposure = exposure_of(store, morocco)
    exposure.refresh(evening)
    deliver(store, "c", 3, evening)
    exposure.refresh(evening + MINUTE - 1)
    assert exposure.now.deliveries == {}
    exposure.refresh(evening + MINUTE)
    assert exposure.now.deliveries == {creator_number("c"): 3}


def test_the_version_grows_only_when_a_creator_stops_being_new(morocco, evening, service):
    store, items = MemoryStore(), service.engine.resources.catalogue_cache.items
    creator_id, limit = items.creator_ids[1], morocco.locality.new_creator.impressions
    exposure = exposure_of(store, morocco)
    versions = []
    for n, more in enumerate((limit - 1, 1, 1)):
        deliver(store, creator_id, more, evening)
        exposure.refresh(evening + n * MINUTE)
        versions.append(exposure.now.version)
    assert versions == [0, 1, 1]
    creators = np.unique(items.creator_no)
    is_new = exposure.now.is_new(creators, limit)
    mine = creators == creator_number(creator_id)
    assert not is_new[mine].any() and is_new[~mine].all() and np.any(mine)


def test_a_store_that_does_not_answer_changes_nothing_and_is_told_once_a_minute(morocco, evening):
    class Down:
        def totals(self):
            raise StoreError("down")

    exposure = CreatorExposure(Down(), MemoryStore().controllers, morocco)
    sentences = [exposure.refresh(evening + at) for at in (0, MINUTE - 1, MINUTE)]
    assert [text is not None for text in sentences] == [True, False, True] and "down" in sentences[0]
    assert exposure.now.deliveries == {} and exposure.now.factor == 1.0


@pytest.mark.parametrize("region", ["MA-06", "XX-99", None])
def test_a_small_supply_is_told_once_an_hour_for_each_region_and_counted_each_time(morocco, evening, region):
    exposure, viewer = exposure_of(MemoryStore(), morocco), replace(VIEWER, region=region)
    sentences = [exposure.note_supply(viewer, 6, 2, evening + at) for at in (0, 1, HOUR - 1, HOUR)]
    known = region if region in morocco.regions else "MA"
    assert [text is not None for text in sentences] == [True, False, False, True]
    assert sentences[0].startswith(f"local supply in {known}: found enough for 2 of any 20, expected 6")
    assert exposure.shrunk == {known: 4}


def test_one_who_has_seen_it_all_is_counted_and_no_alert_and_one_abroad_is_neither(morocco, evening):
    exposure = exposure_of(MemoryStore(), morocco)
    assert exposure.note_supply(VIEWER, 6, 6, evening) is None and exposure.shrunk == {"MA-06": 1}
    assert exposure.note_supply(replace(VIEWER, country="FR"), 6, 0, evening) is None and exposure.shrunk == {
        "MA-06": 1
    }
