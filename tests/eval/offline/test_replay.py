"""Pages as of then: the rules that make the rankings comparable."""

import numpy as np
import pytest

from eval.offline.holdout import hold_out
from eval.offline.replay import RANKINGS, ReplayResult, replay
from recsys.metrics import EMPTY, auc


@pytest.fixture(scope="module")
def replayed(small) -> ReplayResult:
    return replay(small.artifact, small.market, hold_out(small.artifact, small.data).people, k=20)


def test_no_ranking_shows_what_a_person_had_met_or_what_was_not_there_yet(small, replayed: ReplayResult) -> None:
    ids = small.artifact.items["item_id"].to_list()
    for row, person in enumerate(replayed.people):
        seen = {replayed.items.index[ids[int(n)]] for n in person.seen}
        for name in RANKINGS:
            page = replayed.pages[name][row]
            page = page[page != EMPTY]
            assert seen.isdisjoint(page.tolist())
            assert np.all(replayed.items.published_at[page] <= person.at)
            assert len(set(page.tolist())) == len(page)


def test_no_ranking_shows_what_is_never_served(replayed: ReplayResult) -> None:
    for page in replayed.pages.values():
        assert np.all(replayed.items.tier[page[page != EMPTY]] <= 2)


def test_the_engine_keeps_its_caps_where_other_rankings_need_not(small, replayed: ReplayResult) -> None:
    cap = small.market.locality.creator_last_20
    for page in replayed.pages["engine"]:
        creators = replayed.items.creator_no[page[page != EMPTY]]
        assert np.unique(creators, return_counts=True)[1].max(initial=0) <= cap


def test_a_hit_is_a_relevant_item(small, replayed: ReplayResult) -> None:
    ids = small.artifact.items["item_id"].to_list()
    for row, person in enumerate(replayed.people):
        relevant = {ids[int(n)] for n in person.relevant}
        assert replayed.n_relevant[row] == len(relevant)
        page, hits = replayed.pages["popularity"][row], replayed.is_relevant["popularity"][row]
        assert [replayed.items.item_ids[n] in relevant for n in page] == hits.tolist()


def test_two_replays_are_equal(small, replayed: ReplayResult) -> None:
    people = replayed.people[:5]
    again = replay(small.artifact, small.market, people, k=20)
    for name in RANKINGS:
        assert np.array_equal(again.pages[name], replayed.pages[name][:5])


def test_the_engine_needed_no_mending(replayed: ReplayResult) -> None:
    assert replayed.notices == ()


@pytest.mark.parametrize(
    ("scores", "is_relevant", "expected"),
    [
        ([3, 2, 1], [True, False, False], 1.0),
        ([1, 2, 3], [True, False, False], 0.0),
        ([3, 2, 1, 0], [True, False, True, False], 3 / 4),  # of four pairs one is the wrong way round
        ([1, 1], [True, False], 0.5),
        ([np.nan, 1], [False, True], 1.0),  # unknown is below all
    ],
)
def test_auc_by_hand(scores: list[float], is_relevant: list[bool], expected: float) -> None:
    assert auc(np.array(scores, np.float32), np.array(is_relevant)) == expected


def test_auc_needs_both_kinds() -> None:
    assert np.isnan(auc(np.array([1.0], np.float32), np.array([True])))
