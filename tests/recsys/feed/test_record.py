"""A record keeps what a page was chosen from, and nothing of it changes on the way to disk and back."""

import gzip
import json
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from recsys.feed.record import FORMAT, RULES, candidates_of, pack, replay, unpack
from recsys.messages import FeedRequest


def test_a_record_comes_back_as_it_was_written(service):
    service.ask()
    decision = service.decisions()[0]
    assert unpack(pack(decision)) == decision


def test_candidates_come_back_with_their_dtypes_scores_and_sources(service):
    page = service.ask()
    decision = service.decisions()[0]
    candidates = candidates_of(decision)
    assert candidates["score"].dtype == np.float32
    assert all(candidates[name].dtype == np.dtype(dtype) for name, dtype in RULES.items())
    ids = service.engine.resources.catalogue_cache.items.item_ids
    for item, row in zip(page.items, decision.chosen, strict=True):
        assert ids[candidates.item_nos[row]] == item.item_id
        sources = [name for name in decision.sources if not np.isnan(candidates[f"rank_{name}"][row])]
        assert sources == item.sources
        assert item.score == pytest.approx(float(candidates["score"][row]), rel=1e-5)


def test_candidates_stand_best_first(service):
    service.ask()
    scores = candidates_of(service.decisions()[0])["score"]
    assert (np.diff(scores) <= 0).all()


def test_other_bytes_are_no_record(service):
    with pytest.raises(Exception, match=r"."):
        unpack(b"not a record")


def test_the_request_is_kept_so_that_it_can_be_asked_again(service):
    service.ask(size=7, mode="non_personalised")
    kept = msgspec.json.decode(service.decisions()[0].request, type=FeedRequest)
    assert (kept.size, kept.mode) == (7, "non_personalised")


def test_a_record_of_the_version_before_is_read_under_the_names_of_now(tmp_path):
    """Format 1 knew a new creator as a newcomer; such records stand in state files for weeks. They replay the same."""
    folder = Path(__file__).parents[2] / "fixtures" / "state"
    (tmp_path / "state.db").write_bytes(gzip.decompress((folder / "format-2.db.gz").read_bytes()))
    expected = json.loads((folder / "format-2.json").read_text("utf-8"))["decision"]
    connection = sqlite3.connect(tmp_path / "state.db")
    rows = connection.execute("SELECT decision FROM decisions ORDER BY seq").fetchall()
    connection.close()
    decisions = [unpack(packed) for (packed,) in rows]
    assert {decision.format for decision in decisions} == {FORMAT}
    chosen = {decision.request_id: decision.chosen for decision in decisions}
    assert chosen[expected["request_id"]] == expected["chosen"] != []
    assert all(replay(decision).rows.tolist() == decision.chosen for decision in decisions)
    assert {decision.new_creator_share for decision in decisions} == {expected["new_creator_share"]}
