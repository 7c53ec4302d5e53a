"""What is counted of creators: once per delivery, read again once a minute, and told when supply is too small."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.catalogue.items import creator_number
from recsys.clock import DAY, HOUR, MINUTE
from recsys.errors import StoreError
from recsys.exposure.counts import CreatorExposure
from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import DecisionRecord, ExposureCount, StoredAnswer
from recsys.types import Viewer
from recsys.user.state import UserState

VIEWER = Viewer(user_id="u", country="MA", region="MA-06", languages=("ary",), age_band="18+", personalised=True)


def deliver(store: MemoryStore, creator_id: str, n: int, at: int) -> None:
    tally = ExposureCount(
        creator_id=creator_id, day=at // DAY, country="MA", region="", way="merit", is_local=True, n=n
    )  # fmt: skip
    version = store.users.read("u").version
    answer = StoredAnswer(request_id=f"r{version}", user_id="u", at=at, body_hash="", answer=b"", decision=b"")
    store.users.write_if("u", UserState(), version, DecisionRecord(answer=answer, deliveries=(), tallies=(tally,)))


def test_counts_are_read_again_after_a_minute_and_not_before(morocco, evening):
    store = MemoryStore()
    reach = CreatorExposure(store.users, morocco)
    reach.refresh(evening)
    deliver(store, "c", 3, evening)
    reach.refresh(evening + MINUTE - 1)
    assert reach.now.deliveries == {}
    reach.refresh(evening + MINUTE)
    assert reach.now.deliveries == {creator_number("c"): 3}


def test_the_version_grows_only_when_a_creator_stops_being_new(morocco, evening, service):
    store, items = MemoryStore(), service.engine.resources.catalogue_cache.items
    creator_id, limit = items.creator_ids[1], morocco.locality.new_creator.impressions
    reach = CreatorExposure(store.users, morocco)
    versions = []
    for n, more in enumerate((limit - 1, 1, 1)):
        deliver(store, creator_id, more, evening)
        reach.refresh(evening + n * MINUTE)
        versions.append(reach.now.version)
    assert versions == [0, 1, 1]
    is_new = reach.now.is_new(items, limit)
    mine = items.creator_no == creator_number(creator_id)
    assert not is_new[mine].any() and is_new[~mine].all() and np.any(mine)


def test_a_store_that_does_not_answer_changes_nothing_and_is_told_once_a_minute(morocco, evening):
    class Down:
        def reach(self):
            raise StoreError("down")

    reach = CreatorExposure(Down(), morocco)
    said = [reach.refresh(evening + at) for at in (0, MINUTE - 1, MINUTE)]
    assert [text is not None for text in said] == [True, False, True] and "down" in said[0]
    assert reach.now.deliveries == {} and reach.now.factor == 1.0


@pytest.mark.parametrize("region", ["MA-06", "XX-99", None])
def test_a_small_supply_is_told_once_an_hour_for_each_region_and_counted_each_time(morocco, evening, region):
    reach, viewer = CreatorExposure(MemoryStore().users, morocco), replace(VIEWER, region=region)
    said = [reach.note_supply(viewer, 6, 2, evening + at) for at in (0, 1, HOUR - 1, HOUR)]
    known = region if region in morocco.regions else "MA"
    assert [text is not None for text in said] == [True, False, False, True]
    assert said[0].startswith(f"local supply in {known}: found enough for 2 of any 20, expected 6")
    assert reach.shrunk == {known: 4}


def test_one_who_has_seen_it_all_is_counted_and_no_alert_and_one_abroad_is_neither(morocco, evening):
    reach = CreatorExposure(MemoryStore().users, morocco)
    assert reach.note_supply(VIEWER, 6, 6, evening) is None and reach.shrunk == {"MA-06": 1}
    assert reach.note_supply(replace(VIEWER, country="FR"), 6, 0, evening) is None and reach.shrunk == {"MA-06": 1}
