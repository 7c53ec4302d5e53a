"""Putting an engine together: an artifact is put whole, also in parts and after a crash between them."""

import gc

import pytest

from recsys.errors import StoreError
from recsys.feed import build
from recsys.stores import MemoryStore


def rows_of(store):
    return [(row.item_no, row.fields, row.is_edited) for row in store.catalogue.since(0).rows]


def test_an_artifact_is_put_in_parts_as_it_is_at_once(make_service, tiny, monkeypatch):
    at_once, in_parts = MemoryStore(), MemoryStore()
    make_service(at_once)
    monkeypatch.setattr(build, "_ITEMS_IN_PART", 7)
    make_service(in_parts)
    assert rows_of(in_parts) == rows_of(at_once) and len(rows_of(at_once)) == len(tiny.items)
    assert in_parts.catalogue.source() == at_once.catalogue.source() is not None
    revision = in_parts.catalogue.since(0).revision
    make_service(in_parts)
    assert in_parts.catalogue.since(0).revision == revision  # it is not put again


def test_a_crash_between_two_parts_costs_another_put_and_loses_nothing(tiny, evening, monkeypatch):
    store, n_calls = MemoryStore(), 0
    monkeypatch.setattr(build, "_ITEMS_IN_PART", 50)

    class Failing:
        def __getattr__(self, name):
            return getattr(store.catalogue, name)

        def put(self, changes, at, source):
            nonlocal n_calls
            n_calls += 1
            if n_calls == 3:
                raise StoreError("the disk is full")
            return store.catalogue.put(changes, at, source=source)

    with pytest.raises(StoreError):
        build.put_artifact(Failing(), tiny, evening)
    assert len(rows_of(store)) == 100 and store.catalogue.source() is None
    build.put_artifact(store.catalogue, tiny, evening)
    assert len(rows_of(store)) == len(tiny.items) and store.catalogue.source() is not None


def test_the_collector_is_as_it_was_after_a_start(make_service, monkeypatch):
    make_service()
    assert gc.isenabled()
    monkeypatch.setattr(build, "put_artifact", lambda *given: pytest.fail("no"))
    with pytest.raises(pytest.fail.Exception):
        make_service()
    assert gc.isenabled()
