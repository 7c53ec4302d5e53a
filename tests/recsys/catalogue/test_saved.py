"""A table from its file is the table that every row of the store makes, or it is not used."""

import fcntl
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.catalogue.items import DTYPES, STRINGS, Items, mentions
from recsys.catalogue.saved import _note, open_table, table_key
from recsys.errors import StoreError
from recsys.services.items import delete_item, put_item
from recsys.stores import MemoryStore
from recsys.stores.protocols import Catalogue, CreatorChange, Stores

CODED: Final = ("language", "country", "region", "reviewed_fit", "audience", "declared_country", "declared_region")
WORDS: Final = ("", "burnout", "Tea \N{TEACUP WITHOUT HANDLE} zz", "a line\nand another", "كيفاش")


@dataclass
class Kept:
    """A store in memory, and the file of its table."""

    store: MemoryStore
    file: Path | None

    @property
    def stores(self) -> Stores:
        return replace(self.store.stores, table_file=self.file)

    @property
    def catalogue(self) -> Catalogue:
        return self.store.catalogue


@pytest.fixture
def kept(tmp_path) -> Kept:
    return Kept(MemoryStore(), tmp_path / "state.db.catalogue")


def table_of(service) -> Items:
    return service.engine.resources.catalogue_cache.items


def assert_same(one: Items, other: Items) -> None:
    """Equal in everything; codes may be numbered in another order."""
    for name in DTYPES:
        if name in CODED:
            names = [[items.name(code) for code in getattr(items, name).tolist()] for items in (one, other)]
            assert names[0] == names[1], name
        else:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
            assert getattr(one, name).dtype == getattr(other, name).dtype == DTYPES[name]
    for name in STRINGS:
        assert list(getattr(one, name)) == list(getattr(other, name)), name
    assert dict(one.index) == dict(other.index)
    assert (one.revision, one.newest_raise, dict(one.memory)) == (
        other.revision,
        other.newest_raise,
        dict(other.memory),
    )
    for name in ("hash_no", "is_hashed", "owner", "creator_text_no", "duration_text_no", "arrival", "hash_rows"):
        np.testing.assert_array_equal(getattr(one.copies, name), getattr(other.copies, name), name)


def is_mapped(items: Items) -> bool:
    """Whether the arrays are those of a file."""
    return not items.published_at.flags.owndata and not items.published_at.flags.writeable


def rewrite(file: Path, contents: bytes) -> None:
    """Another file in its place; who maps the former one keeps it."""
    file.unlink()
    file.write_bytes(contents)


CHANGES: Final = st.lists(
    st.one_of(
        st.tuples(st.just("tier"), st.integers(0, 8), st.sampled_from(["R0", "R1", "R3", None])),
        st.tuples(st.just("text"), st.integers(0, 12), st.sampled_from(WORDS)),
        st.tuples(st.just("down"), st.integers(0, 12), st.none()),
        st.tuples(st.just("creator"), st.integers(0, 5), st.sampled_from(["hidden", "FR", "MA"])),
        st.tuples(st.just("start"), st.just(0), st.none()),
    ),
    max_size=8,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_whatever_was_written_the_file_and_the_rows_make_one_table(
    make_service, tiny, evening, tmp_path_factory, steps
):
    kept = Kept(MemoryStore(), tmp_path_factory.mktemp("table") / "state.db.catalogue")
    service = make_service(kept)
    ids = [*tiny.items["item_id"][:9], *(f"new-{n}" for n in range(9, 13))]
    creator_ids = tiny.creators["creator_id"].to_list()
    for n, (what, which, value) in enumerate(steps):
        at = evening + n
        fields = {"creator_id": creator_ids[which % 5], "title": "A title", "risk_tier": "R1", "risk_source": "human"}
        if what == "tier":
            put_item(kept.catalogue, ids[which], {**fields, "risk_tier": value}, at)
        elif what == "text":
            put_item(kept.catalogue, ids[which], {**fields, "text": value, "perceptual_hash": "ab" * 8}, at)
        elif what == "down" and kept.catalogue.get(ids[which]) is not None:
            delete_item(kept.catalogue, ids[which], at)
        elif what == "creator":
            change = {"is_hidden": True} if value == "hidden" else {"country": value, "verified": True}
            kept.catalogue.put_creators([CreatorChange(fields={"creator_id": creator_ids[which], **change})], at)
        elif what == "start":
            service = make_service(kept)
    from_file = table_of(make_service(kept))
    assert is_mapped(from_file) and is_mapped(table_of(service))
    scratch = make_service(Kept(kept.store, None))
    assert_same(from_file, table_of(scratch))
    for word in ("zz", "burnout", "and another", "title a", "", "كيفاش"):
        assert mentions(from_file, word).tolist() == mentions(table_of(scratch), word).tolist()
    caches = [engine.engine.resources.catalogue_cache for engine in (make_service(kept), scratch)]
    assert caches[0].creators == caches[1].creators


def test_a_takedown_while_nothing_ran_binds_the_first_page(make_service, kept, evening):
    first = make_service(kept).is_adult("u")
    shown = [item.item_id for item in first.ask("u").items]
    for item_id in shown:
        delete_item(kept.catalogue, item_id, evening)
    again = make_service(kept)
    assert not set(shown) & {item.item_id for item in again.ask("someone-else").items}
    assert all(table_of(again).is_hidden[table_of(again).index[item_id]] for item_id in shown)


def test_a_start_with_the_file_reads_no_row_again(make_service, kept):
    make_service(kept)
    asked: list[int] = []

    class Watched:
        def __getattr__(self, name):
            return getattr(kept.store.catalogue, name)

        def since(self, revision):
            asked.append(revision)
            return kept.store.catalogue.since(revision)

    class Store:
        catalogue = Watched()
        stores = replace(kept.stores, catalogue=catalogue)

    items = table_of(make_service(Store()))
    assert asked == [2**62] and is_mapped(items)


def test_a_file_that_the_store_does_not_name_is_not_used(make_service, kept, evening, tiny):
    """Such as after an older copy of the store was brought back, or one byte of the file was damaged."""
    item_id = tiny.items["item_id"][0]
    other = Kept(MemoryStore(), kept.file)
    make_service(other)
    delete_item(other.catalogue, item_id, evening)
    make_service(other)  # the file says that the item is hidden, at a revision that this store will have too
    make_service(Kept(kept.store, None)).edit(item_id, title="Another title")
    items = table_of(make_service(kept))
    assert not items.is_hidden[items.index[item_id]] and items.revision == kept.catalogue.since(0).revision
    raw = bytearray(kept.file.read_bytes())
    raw[len(raw) // 2] ^= 1
    rewrite(kept.file, bytes(raw))
    assert_same(table_of(make_service(kept)), items)


def test_each_machine_on_a_store_keeps_a_file_of_its_own(make_service, kept, tiny, evening, tmp_path):
    """The second one does not cost the first one its file, and a takedown between is in both."""
    other = Kept(kept.store, tmp_path / "another" / "state.db.catalogue")
    other.file.parent.mkdir()
    make_service(kept)
    make_service(Kept(kept.store, None)).edit(tiny.items["item_id"][1], title="Another title")
    make_service(other)
    item_id = tiny.items["item_id"][0]
    delete_item(kept.catalogue, item_id, evening)
    before = [place.file.stat().st_mtime_ns for place in (kept, other)]
    key = table_key(make_service(kept).engine.resources.policy.market, tiny.version)
    assert open_table(other.file, kept.store.controllers, key) is not None
    for place in (kept, other):
        items = table_of(make_service(place))
        assert items.is_hidden[items.index[item_id]] and is_mapped(items)
    assert all(place.file.stat().st_mtime_ns > then for place, then in zip((kept, other), before, strict=True))


def test_the_store_names_the_files_of_the_last_machines_only(kept):
    notes = kept.store.controllers
    for n in range(100):
        _note(notes, bytes([n]) * 32)
    assert notes.read("table of the catalogue") == b"".join(bytes([n]) * 32 for n in range(99, 35, -1))


@pytest.mark.parametrize("contents", [b"", b"\xff" * 8, b"\0" * 64])
def test_a_file_that_is_no_table_is_made_again_even_if_it_is_named(make_service, kept, morocco, tiny, contents):
    expected, controllers = table_of(make_service(kept)), kept.store.controllers
    rewrite(kept.file, contents)
    name = "table of the catalogue"
    controllers.replace(name, controllers.read(name), hashlib.sha256(contents).digest())
    key = table_key(morocco, tiny.version)
    assert open_table(kept.file, controllers, key) is None
    assert_same(table_of(make_service(kept)), expected)
    assert open_table(kept.file, controllers, key) is not None


def test_other_rules_another_artifact_or_program_make_another_table(make_service, kept, morocco, tiny, monkeypatch):
    make_service(kept)
    stricter, key = replace(morocco, label_threshold=0.99), table_key(morocco, tiny.version)
    controllers = kept.store.controllers
    assert open_table(kept.file, controllers, key) is not None
    for other in (table_key(stricter, tiny.version), table_key(morocco, "another"), b""):
        assert open_table(kept.file, controllers, other) is None
    assert_same(
        table_of(make_service(kept, market=stricter)),
        table_of(make_service(Kept(kept.store, None), market=stricter)),
    )
    monkeypatch.setattr("recsys.catalogue.saved._program", lambda: b"another program")
    assert table_key(morocco, tiny.version) != key


def test_where_no_file_can_be_written_the_service_starts_all_the_same(make_service, tmp_path):
    nowhere = Kept(MemoryStore(), tmp_path / "no-such-folder" / "state.db.catalogue")
    assert_same(table_of(make_service(nowhere)), table_of(make_service(Kept(nowhere.store, None))))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_takes_no_note_is_no_reason_not_to_start(make_service, kept):
    make_service(Kept(kept.store, None))

    class Full:
        read = staticmethod(kept.store.controllers.read)

        def replace(self, name, before, after):
            raise StoreError("the disk is full")

    class Store:
        catalogue = kept.catalogue
        stores = replace(kept.stores, controllers=Full())

    assert_same(table_of(make_service(Store())), table_of(make_service(Kept(kept.store, None))))


def test_nothing_is_left_beside_the_file_but_what_somebody_writes(make_service, kept):
    """A file of somebody else stays, whatever its name begins with: an operator may call the table `state`."""
    name = kept.file.name
    killed, written, of_others, state = (
        kept.file.parent / name for name in (f"{name}.a.unfinished", f"{name}.b.unfinished", "c", f"{name}.db")
    )
    for path in (killed, written, of_others, state):
        path.write_bytes(b"part")
    with written.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        make_service(kept)
    assert sorted(kept.file.parent.iterdir()) == sorted([kept.file, written, of_others, state])


def test_a_file_is_replaced_whole_and_for_this_user_alone(make_service, kept):
    service = make_service(kept)
    service.edit(table_of(service).item_ids[1], title="New")
    make_service(kept)
    assert list(kept.file.parent.iterdir()) == [kept.file]
    assert kept.file.stat().st_mode & 0o77 == 0  # what people made is for this user alone


def test_a_file_that_is_written_over_in_place_changes_no_tier_and_no_takedown(make_service, kept, tiny, evening):
    make_service(kept)
    put_item(kept.catalogue, tiny.items["item_id"][0], {"creator_id": "c", "title": "t", "risk_tier": "R3"}, evening)
    delete_item(kept.catalogue, tiny.items["item_id"][1], evening)
    items = table_of(make_service(kept))
    assert is_mapped(items)
    before = {name: getattr(items, name).tolist() for name in ("tier", "minor_tier", "is_hidden", "peak_tier")}
    size = kept.file.stat().st_size
    with kept.file.open("r+b") as file:
        file.write(bytes(size))
    assert {name: getattr(items, name).tolist() for name in before} == before
