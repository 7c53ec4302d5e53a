"""A record keeps what a page was chosen from, and nothing of it changes on the way to disk and back."""

import gzip
import json
import sqlite3
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from recsys.clock import MINUTE
from recsys.errors import StoreError
from recsys.feed import record
from recsys.feed.record import FORMAT, LISTED, RULES, Decision, candidates_of, pack, precision_of, replay, unpack
from recsys.messages import FeedRequest

PLAIN = set(Decision.__struct_fields__) - {"scores", "columns", "parts", "from_sources", "parts_to"}


@pytest.fixture
def whole(service, evening, monkeypatch):
    """The decisions of three pages before they were packed, and their bytes."""
    made = []
    monkeypatch.setattr(record, "pack", lambda decision: made.append((decision, pack(decision))) or made[-1][1])
    for n in range(3):
        service.ask(at=evening + n * MINUTE, size=20, explain="full")
    return made


def test_a_record_comes_back_but_for_what_it_says_it_leaves_out(whole):
    for decision, packed in whole:
        again = unpack(packed)
        assert {name: getattr(again, name) for name in PLAIN} == {name: getattr(decision, name) for name in PLAIN}
        before, after = candidates_of(decision), candidates_of(again)
        kept = sorted({*range(min(LISTED, len(before))), *decision.chosen})
        for name in ("tier", "family", "is_s4", "is_supportive", "is_local", "is_explorable", "is_new_creator"):
            assert np.array_equal(before[name], after[name]), name
        for name in ("match", *(f"rank_{source}" for source in decision.sources)):
            assert np.array_equal(before[name][kept], after[name][kept], equal_nan=name.startswith("rank_")), name
        for name in ("score", "creator_no", "topics"):
            assert np.array_equal(before[name][decision.chosen], after[name][decision.chosen])
        assert np.allclose(before["score"], after["score"], atol=np.ptp(before["score"]) / 255)


def test_a_packed_record_replays_as_the_whole_one(whole):
    for decision, packed in whole:
        before, after = replay(decision), replay(unpack(packed))
        for name in ("is_exploration", "forced", "blocked", "refusals", "floor_missed"):
            assert getattr(before, name) == getattr(after, name), name
        assert before.rows.tolist() == after.rows.tolist() == decision.chosen
        assert before.propensities.tobytes() == after.propensities.tobytes() == decision.propensities


def test_parts_say_how_exactly_they_are_kept(whole):
    for decision, packed in whole:
        again = unpack(packed)
        for name, part in decision.parts.items():
            before, after = np.frombuffer(part, "<f2"), np.frombuffer(again.parts[name], "<f2")
            for row in range(len(before)):
                precision = precision_of(again, name, row)
                if precision == "float16":
                    assert before[row : row + 1].tobytes() == after[row : row + 1].tobytes()
                elif precision == "8 bits" and np.isfinite(before[row]):
                    assert after[row] == pytest.approx(before[row], rel=0.13, abs=1e-4)
                else:
                    assert np.isnan(after[row])
        assert {precision_of(again, name, row) for name in again.parts for row in range(120)} <= {
            "float16", "8 bits", "none",
        }  # fmt: skip
        assert all(precision_of(decision, name, 0) == "float16" for name in decision.parts)


def test_a_record_of_a_format_that_no_version_wrote_is_refused(whole):
    packed = msgspec.msgpack.decode(whole[0][1])
    with pytest.raises(StoreError, match="found a decision record of format 4, expected 5"):
        unpack(msgspec.msgpack.encode([4, *packed[1:]]))


def test_a_record_of_format_3_is_read_as_it_was(whole):
    """They stand in state files for weeks: all columns whole, in one compressed piece."""
    decision = whole[0][0]
    former = msgspec.to_builtins(decision, builtin_types=(bytes,)) | {"format": 3}
    del former["parts_to"]
    assert unpack(zlib.compress(msgspec.msgpack.encode(former), 1)) == decision


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
