"""Items over the wire: what was taken down stays down, and every wrong field is a sentence."""

import pytest

from recsys.clock import to_text
from recsys.errors import Conflict, DataError
from recsys.services.items import delete_item, get_item, patch_item, put_item, put_items
from recsys.stores.protocols import ItemChange

BAD_ITEMS = [
    ({"colour": "red"}, "colour"),
    ({"creator_id": None}, "creator_id"),
    ({"title": 7}, "title"),
    ({"title": "x" * 10_000_000}, "title"),
    ({"risk_tier": "R9"}, "risk_tier"),
    ({"topics": "S3"}, "topics"),
    ({"topics": ["S13"]}, "topics"),
    ({"risk_confidence": float("nan")}, "risk_confidence"),
    ({"risk_confidence": 1.5}, "risk_confidence"),
    ({"duration_s": -1}, "duration_s"),
    ({"min_age": 12.5}, "min_age"),
    ({"is_hidden": "no"}, "is_hidden"),
    ({"published_at": "soon"}, "published_at"),
    ({"published_at": 5}, "published_at"),
    ({"country": "Morocco"}, "country"),
]


@pytest.mark.parametrize(("fields", "name"), BAD_ITEMS)
def test_a_wrong_item_is_refused_with_a_short_sentence_and_changes_nothing(service, evening, fields, name):
    catalogue = service.store.catalogue
    before = catalogue.since(0).revision
    with pytest.raises(DataError, match=f"^{name}: found") as error:
        put_item(catalogue, "new", {"creator_id": "c", "title": "t", **fields}, evening)
    assert len(str(error.value)) < 400 and catalogue.since(0).revision == before


def test_an_item_is_put_changed_taken_down_and_never_forgotten(service, evening):
    catalogue = service.store.catalogue
    put_item(catalogue, "new", {"creator_id": "c", "title": "t", "risk_tier": "R0"}, evening)
    assert get_item(catalogue, "new")["published_at"] == to_text(evening)
    assert patch_item(catalogue, "new", {"topics": ["S3"]}, evening)["risk_tier"] == "R0"
    assert patch_item(catalogue, "new", {"title": "better"}, evening)["risk_tier"] is None  # new words, new label
    assert patch_item(catalogue, "new", {"title": "best", "risk_tier": "R0"}, evening)["risk_tier"] == "R0"
    assert delete_item(catalogue, "new", evening)
    assert get_item(catalogue, "new")["is_hidden"] is True
    put_item(catalogue, "new", {"creator_id": "c", "title": "t", "risk_tier": "R0"}, evening)
    assert get_item(catalogue, "new")["is_hidden"] is True  # a routine upload brings nothing back
    assert patch_item(catalogue, "never", {}, evening) is None and not delete_item(catalogue, "never", evening)
    assert get_item(catalogue, "never") is None


def test_a_patch_beside_a_takedown_never_brings_the_item_back(service) -> None:
    catalogue = service.engine.resources.catalogue_cache.catalogue
    item_id = service.engine.resources.catalogue_cache.items.item_ids[1]
    row = catalogue.get(item_id)
    delete_item(catalogue, item_id, 1)
    late = ItemChange(fields=row.fields, expects=row.revision)
    with pytest.raises(Conflict):
        catalogue.put([late], 2)
    assert patch_item(catalogue, item_id, {"title": "a new title"}, 3)["is_hidden"] is True


def test_only_a_false_brings_back_what_was_taken_down(service, evening) -> None:
    """A client that sends every field sends null for those it does not know."""
    catalogue, fields = service.store.catalogue, {"creator_id": "c", "title": "t", "risk_tier": "R0"}
    put_item(catalogue, "new", fields, evening)
    delete_item(catalogue, "new", evening)
    assert put_item(catalogue, "new", {**fields, "is_hidden": None}, evening)["is_hidden"] is True
    assert patch_item(catalogue, "new", {"is_hidden": None}, evening)["is_hidden"] is True
    assert put_item(catalogue, "new", {**fields, "is_hidden": False}, evening)["is_hidden"] is False


def test_an_upload_beside_a_takedown_never_brings_the_item_back(service, evening) -> None:
    store, fields = service.store.catalogue, {"creator_id": "c", "title": "t", "risk_tier": "R0"}
    put_item(store, "new", fields, evening)

    class TakenDownMeanwhile:
        def __getattr__(self, name):
            return getattr(store, name)

        def put(self, changes, at, audit):
            if not store.get("new").fields.get("is_hidden"):
                delete_item(store, "new", at)
            return store.put(changes, at, audit)

    assert put_item(TakenDownMeanwhile(), "new", {**fields, "title": "better"}, evening)["is_hidden"] is True
    assert get_item(store, "new")["title"] == "better"


def test_a_takedown_in_the_middle_of_a_bulk_write_holds(service, evening, monkeypatch):
    catalogue = service.store.catalogue
    row = {"item_id": "new", "creator_id": "c", "title": "t"}
    assert put_items(catalogue, [row], evening) == {}
    put, calls = type(catalogue).put, []

    def put_late(self, *arguments, **named):
        calls.append(arguments)
        if len(calls) == 1:
            delete_item(catalogue, "new", evening)
        return put(self, *arguments, **named)

    monkeypatch.setattr(type(catalogue), "put", put_late)
    rows = [{**row, "title": "other"}, {"item_id": "beside", "creator_id": "c", "title": "t"}]
    assert put_items(catalogue, rows, evening) == {}
    assert (get_item(catalogue, "new")["title"], get_item(catalogue, "new")["is_hidden"]) == ("other", True)
    assert get_item(catalogue, "beside")["title"] == "t"


def test_an_item_that_comes_in_while_a_batch_is_open_keeps_its_takedown(service, evening, monkeypatch):
    catalogue = service.store.catalogue
    put, calls = type(catalogue).put, []

    def put_late(self, *arguments, **named):
        calls.append(arguments)
        if len(calls) == 1:
            put_item(catalogue, "new", {"creator_id": "c", "title": "t", "risk_tier": "R4", "is_hidden": True}, evening)
        return put(self, *arguments, **named)

    monkeypatch.setattr(type(catalogue), "put", put_late)
    assert put_items(catalogue, [{"item_id": "new", "creator_id": "c", "title": "t"}], evening) == {}
    assert (get_item(catalogue, "new")["is_hidden"], get_item(catalogue, "new")["risk_tier"]) == (True, "R4")
