"""What `AuditLog` promises: entries in order, in the transaction of what they tell, for 400 days."""

import json
from dataclasses import replace

import pytest

from recsys.clock import DAY
from recsys.errors import Conflict
from recsys.stores.audit import AuditEntry, audit_entry
from recsys.stores.protocols import CreatorChange
from recsys.stores.retention import AUDIT_RETENTION_MS

NOW = 1_780_000_000_000


def entry(n, at=NOW):
    return audit_entry(at, "moderation", "takedown", item_id=f"v{n}")


def logged(store, since=0, after=0, n=100):
    return [audited.entry for audited in store.audit.page(since, after, n)]


def test_entries_are_read_in_the_order_in_which_they_came(store):
    store.audit.append([entry(1), entry(2)])
    store.audit.append([entry(3, NOW - DAY)])
    assert logged(store) == [entry(1), entry(2), entry(3, NOW - DAY)]
    assert logged(store, since=NOW) == [entry(1), entry(2)]
    assert entry(1) == AuditEntry(NOW, "moderation", '{"action":"takedown","item_id":"v1"}')


def test_pages_hold_every_entry_once(store):
    store.audit.append([entry(n) for n in range(25)])
    read, after = [], 0
    while page := store.audit.page(0, after, 10):
        read += [audited.entry for audited in page]
        after = page[-1].seq
    assert read == [entry(n) for n in range(25)]


def test_an_entry_is_one_line_whatever_it_holds(store):
    odd = audit_entry(NOW, "local", "label", item_id='a\nb\u202e"')
    store.audit.append([odd])
    assert "\n" not in odd.what and json.loads(logged(store)[0].what)["item_id"] == 'a\nb\u202e"'


def test_a_change_of_the_catalogue_is_logged_with_it_or_not_at_all(store, make):
    store.catalogue.put([make.change("v1")], NOW, [entry(1)])
    store.catalogue.put_creators([CreatorChange(fields={"creator_id": "c1"})], NOW, [entry(2)])
    with pytest.raises(Conflict):
        store.catalogue.put([replace(make.change("v1", "R2"), expects=99)], NOW, [entry(3)])
    store.catalogue.put([make.change("v1")], NOW, [entry(4)])  # the same again writes nothing
    assert logged(store) == [entry(1), entry(2)]


def test_an_erasure_is_logged_by_a_hash_that_joins_nothing(store, make):
    store.users.write_if("somebody", make.state(1), 0)
    assert store.users.erase("somebody", NOW, None, version=99, who="support") is None
    assert logged(store) == []
    store.users.erase("somebody", NOW, None, who="support")
    [erased] = logged(store)
    person = json.loads(erased.what)["person"]
    assert erased.who == "support" and json.loads(erased.what)["action"] == "erasure"
    assert "somebody" not in erased.what and len(person) == 64
    assert bytes.fromhex(person) not in store.cutoffs.forgotten().before
    store.users.erase("somebody", NOW, None)
    store.users.erase("somebody else", NOW, None)
    again = [json.loads(e.what)["person"] for e in logged(store)][1:]  # of two people: they may come in either order
    assert len(again) == 2 and again.count(person) == 1


def test_a_time_that_is_set_is_logged_with_it(store):
    store.users.commit_time(NOW + DAY)
    store.users.set_time(NOW, [entry(1)])
    assert store.committed_at() == NOW and logged(store) == [entry(1)]


def test_entries_stay_400_days_and_no_place_comes_again(store):
    store.audit.append([entry(1), entry(2, NOW + 1)])
    last = store.audit.page(0, 0, 10)[-1].seq
    assert AUDIT_RETENTION_MS == 400 * DAY
    assert store.prune(NOW + 400 * DAY)["audit"] == 0
    assert store.prune(NOW + 400 * DAY + 1)["audit"] == 1
    assert store.prune(NOW + 400 * DAY + 2)["audit"] == 1
    store.audit.append([entry(3)])
    assert store.audit.page(0, 0, 10)[0].seq == last + 1
