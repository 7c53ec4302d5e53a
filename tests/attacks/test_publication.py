"""Nothing is shown before its time of publication, on any surface or list."""

import pytest

from recsys.clock import DAY, to_text
from recsys.errors import DataError
from recsys.services.items import put_item
from recsys.services.lists import for_anybody


@pytest.mark.parametrize("surface", ["for_you", "related", "search", "local", "together"])
def test_nothing_is_shown_before_its_time_of_publication(service, by_tier, evening, surface):
    service.is_adult("casa-adult")
    item_id, later = by_tier["R0"][0], evening + 30 * DAY
    row = service.store.catalogue.get(item_id).fields
    known = {name: value for name, value in row.items() if name not in ("item_id", "published_at")}
    put_item(service.store.catalogue, item_id, {**known, "published_at": to_text(later)}, evening)
    for at, is_out in ((evening, False), (later - 1, False), (later, True)):
        page = service.ask(
            at=at, surface=surface, candidate_ids=(item_id,), anchor_item_id=by_tier["R0"][1], query="x", dry_run=True
        )
        assert not page.items or is_out
    listed = for_anybody(service.engine.resources.catalogue_cache.items, evening)
    assert not listed[service.engine.resources.catalogue_cache.items.index[item_id]]


@pytest.mark.parametrize("published_at", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T00:00:00Z"])
def test_an_instant_outside_the_data_contract_is_refused_over_the_wire(service, evening, published_at):
    with pytest.raises(DataError, match=r"published_at: found .* expected an instant from 1990"):
        put_item(
            service.store.catalogue, "new", {"creator_id": "c", "title": "t", "published_at": published_at}, evening
        )
