"""An old copy of a server that is put back frees no cap and brings nobody back, as far as the sink tells."""

import shutil
from dataclasses import replace

import pytest

from recsys.clock import DAY, now
from recsys.errors import StoreError
from tests.serving.stores.redis.load import write


def put_back(server, folder, *, copy):
    """Copy the files of a server, or put the copy in their place."""
    server.kill()
    source, target = (server.folder, folder) if copy else (folder, server.folder)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    server.start()


def test_pages_that_the_copy_lacks_put_their_part_in_doubt_and_no_other(server, open_store, make, tmp_path):
    store = open_store(server)
    people = [f"u{n}" for n in range(20)]
    assert all(write(store, make, user_id, 1) for user_id in people)
    assert len(store.decisions.newest(99)) == 20
    put_back(server, tmp_path / "copy", copy=True)
    assert write(store, make, "u0", 2) and store.decisions.of_request("u0-2") is not None
    put_back(server, tmp_path / "copy", copy=False)
    later = open_store(server)
    with pytest.raises(StoreError, match="pages are from the safe feed until"):
        write(later, make, "u0", 3)
    assert sum(_is_written(later, make, user_id) for user_id in people) >= 15


def test_a_page_of_days_ago_that_the_copy_lacks_is_a_doubt_too(server, open_store, make, tmp_path):
    """Nobody of that part has a page of the last days, so only older records tell of it; caps reach back so far."""
    store, at = open_store(server), now()
    put_back(server, tmp_path / "copy", copy=True)
    for user_id, days in (("u0", 6), ("u1", 3), ("u2", 2), ("u3", 1), ("u4", 0)):
        version = store.users.read(user_id).version
        page = make.page(user_id, user_id, 1)
        page = replace(page, answer=replace(page.answer, at=at - days * DAY))
        assert store.users.write_if(user_id, make.state(1), version, page)
    assert len(store.decisions.newest(9)) == 5
    put_back(server, tmp_path / "copy", copy=False)
    later = open_store(server)
    with pytest.raises(StoreError, match="pages are from the safe feed until"):
        write(later, make, "u0", 2)


def _is_written(store, make, user_id):
    try:
        return write(store, make, user_id, 4)
    except StoreError:
        return False


def test_a_start_over_whole_files_doubts_nothing(server, open_store, make):
    store = open_store(server)
    assert write(store, make, "u", 1) and len(store.decisions.newest(9)) == 1
    store.users.erase("v", 1, None)
    server.kill()
    server.start()
    again = open_store(server)
    assert write(again, make, "u", 2) and again.erased_again == 0


def test_who_was_erased_since_the_copy_is_erased_again_at_the_highest_level(server, open_store, make, tmp_path):
    store = open_store(server)
    assert write(store, make, "u", 1) and write(store, make, "w", 1)
    put_back(server, tmp_path / "copy", copy=True)
    assert store.users.erase("u", 1, None) is not None
    assert store.decisions.newest(9)[0].user_id == "w"
    put_back(server, tmp_path / "copy", copy=False)
    assert store.users.read("u").state == make.state(1), "the copy brought them back"
    later = open_store(server)
    assert later.erased_again == 1
    state = later.users.read("u").state
    assert state.safety.is_erased and state.safety.loop.level == 2 and state.safety.ledger.n_delivered == 0
    assert later.users.read("w").state == make.state(1)
    assert open_store(server).erased_again == 0, "once"


def test_who_had_events_alone_in_the_copy_or_nothing_is_erased_again(server, open_store, make, tmp_path):
    store = open_store(server)
    store.events.append([make.event("e", "u")], 1)
    put_back(server, tmp_path / "copy", copy=True)
    assert write(store, make, "later", 1)
    erased_at = now()
    assert store.users.erase("u", erased_at - 9 * DAY, None) and store.users.erase("later", erased_at, None)
    assert not store.decisions.newest(9)
    put_back(server, tmp_path / "copy", copy=False)
    again = open_store(server)
    assert again.erased_again == 2 and again.events.since("u", 0) == ()
    assert all(again.users.read(user_id).state.safety.loop.level == 2 for user_id in ("u", "later"))
    assert min(again.cutoffs.forgotten().before.values()) >= erased_at
    assert len(again.cutoffs.forgotten().before) == 2 and open_store(server).erased_again == 0


def test_notes_of_erasures_stay_400_days(server, open_store, tmp_path):
    store = open_store(server)
    store.users.erase("u", 1, None)
    store.decisions.newest(9)
    for at, n_files in ((400 * DAY + 1, 2), (400 * DAY + 2, 0)):
        store.prune(at)
        assert len(list((tmp_path / "records").rglob("erased/*.*"))) == n_files


def test_who_came_back_by_themselves_stays(server, open_store, make):
    store = open_store(server)
    store.users.erase("v", now(), None)
    store.events.append([make.event("e", "v")], now())
    assert write(store, make, "u", 1)
    store.users.erase("u", 1, None)
    assert write(store, make, "u", 2)
    assert store.decisions.newest(9)
    again = open_store(server)
    assert again.erased_again == 0 and again.users.read("u").state == make.state(2)
    assert len(again.events.since("v", 0)) == 1
