"""The live table: never behind what a page needs, never changed under a page."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from recsys.catalogue.new_creators import ExposureSnapshot
from recsys.services.items import delete_item
from recsys.types import Viewer

VIEWER = Viewer(user_id="u", country="MA", region="MA-06", languages=("ary",), age_band="18+", personalised=True)


def test_a_newer_revision_is_fetched_and_an_older_table_stays_as_it_was(service, tiny, evening):
    view, item_id = service.engine.resources.catalogue_cache, tiny.items["item_id"][0]
    old = view.items
    delete_item(service.store.catalogue, item_id, evening)
    assert view.at_least(old.revision) is old
    new = view.at_least(service.store.catalogue.since(0).revision)
    number = old.index[item_id]
    assert new.is_hidden[number] and not old.is_hidden[number]


def test_what_is_worked_out_for_a_kind_of_viewer_is_kept_until_the_catalogue_changes(service, tiny, evening):
    view, model = service.engine.resources.catalogue_cache, service.engine.resources.model
    first = view.for_viewer(view.items, model, VIEWER, ExposureSnapshot(), is_minor=False)
    other = replace(VIEWER, user_id="other")
    assert view.for_viewer(view.items, model, other, ExposureSnapshot(), is_minor=False) is first
    assert view.for_viewer(view.items, model, VIEWER, ExposureSnapshot(), is_minor=True) is not first
    delete_item(service.store.catalogue, tiny.items["item_id"][0], evening)
    newer = view.at_least(view.items.revision + 1)
    assert view.for_viewer(newer, model, VIEWER, ExposureSnapshot(), is_minor=False) is not first


class EmptiedMeanwhile(dict):
    """What another thread empties, for a newer catalogue or newer votes, right after somebody saw that it is full."""

    def __len__(self):
        found = super().__len__()
        self.clear()
        return found


def test_a_page_does_not_fail_where_kinds_of_viewers_are_dropped_meanwhile(service, monkeypatch):
    monkeypatch.setattr("recsys.catalogue.cache.MAX_VIEWER_KINDS", 1)
    cache, model = service.engine.resources.catalogue_cache, service.engine.resources.model
    cache._by_viewer = EmptiedMeanwhile({("another",): None})
    kind = cache.for_viewer(cache.items, model, VIEWER, ExposureSnapshot(), is_minor=False)
    assert [*cache._by_viewer.values()] == [kind]


def test_minors_count_a_doubtful_label_one_tier_higher(service, tiny, evening):
    item_id = next(r["item_id"] for r in tiny.items.iter_rows(named=True) if r["risk_tier"] == "R0")
    service.edit(item_id, risk_source="model", risk_confidence=0.79, topics=["S3"])
    cache, model = service.engine.resources.catalogue_cache, service.engine.resources.model
    items = cache.at_least(service.store.catalogue.since(0).revision)
    adult, minor = (
        cache.for_viewer(items, model, VIEWER, ExposureSnapshot(), is_minor=is_minor).rules
        for is_minor in (False, True)
    )
    number = items.index[item_id]
    assert (adult["tier"][number], minor["tier"][number]) == (0, 1)
    assert adult["is_supportive"][number] and not minor["is_supportive"][number]


def test_the_orders_hold_every_number_once_and_each_row_finds_its_item(service):
    view, model = service.engine.resources.catalogue_cache, service.engine.resources.model
    orders = view.rankings(view.items, model, "MA")
    everything = list(range(len(view.items)))
    assert sorted(orders.popular.tolist()) == sorted(orders.index.newest.tolist()) == everything
    assert (view.items.row[orders.index.of_row] == np.arange(model.n_rows)).all()
    assert view.rankings(view.items, model, "XX") is view.rankings(view.items, model, None)


def test_many_threads_see_one_table(service, tiny, evening):
    view = service.engine.resources.catalogue_cache
    for item_id in tiny.items["item_id"][:5]:
        delete_item(service.store.catalogue, item_id, evening)
    revision = service.store.catalogue.since(0).revision
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: view.at_least(revision), range(64)))
    assert len({id(table) for table in tables}) == 1 and tables[0].revision == revision
