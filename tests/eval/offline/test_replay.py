"""Pages as of then: the rules that make the rankings comparable."""

import numpy as np
import pytest

from eval.offline.replay import RANKINGS, Replayed, replay
from eval.offline.split import hold_out
from recsys.metrics import EMPTY, auc


@pytest.fixture(scope="module")
def replayed(small) -> Replayed:  # type: ignore[no-untyped-def]  # the fixture of this folder
    return replay(small.artifact, small.market, hold_out(small.artifact, small.data).people, k=20)


def test_no_ranking_shows_what_a_person_had_met_or_what_was_not_there_yet(small, replayed: Replayed) -> None:  # type: ignore[no-untyped-def]
    ids = small.artifact.items["item_id"].to_list()
    for row, person in enumerate(replayed.people):
        known = {replayed.items.index[ids[int(n)]] for n in person.known}
        for name in RANKINGS:
            page = replayed.pages[name][row]
            page = page[page != EMPTY]
            assert known.isdisjoint(page.tolist())
            assert np.all(replayed.items.published_at[page] <= person.at)
            assert len(set(page.tolist())) == len(page)


def test_no_ranking_shows_what_is_never_served(replayed: Replayed) -> None:
    for page in replayed.pages.values():
        assert np.all(replayed.items.tier[page[page != EMPTY]] <= 2)


def test_the_engine_keeps_its_caps_where_other_rankings_need_not(small, replayed: Replayed) -> None:  # type: ignore[no-untyped-def]
    cap = small.market.locality.creator_last_20
    for page in replayed.pages["engine"]:
        creators = replayed.items.creator_no[page[page != EMPTY]]
        assert np.unique(creators, return_counts=True)[1].max(initial=0) <= cap


def test_a_hit_is_an_item_that_the_person_wanted(small, replayed: Replayed) -> None:  # type: ignore[no-untyped-def]
    ids = small.artifact.items["item_id"].to_list()
    for row, person in enumerate(replayed.people):
        wanted = {ids[int(n)] for n in person.wanted}
        assert replayed.n_relevant[row] == len(wanted)
        page, hits = replayed.pages["popularity"][row], replayed.is_relevant["popularity"][row]
        assert [replayed.items.item_ids[n] in wanted for n in page] == hits.tolist()


def test_two_replays_are_equal(small, replayed: Replayed) -> None:  # type: ignore[no-untyped-def]
    people = replayed.people[:5]
    again = replay(small.artifact, small.market, people, k=20)
    for name in RANKINGS:
        assert np.array_equal(again.pages[name], replayed.pages[name][:5])


def test_the_engine_needed_no_mending(replayed: Replayed) -> None:
    assert replayed.notices == ()


@pytest.mark.parametrize(
    ("scores", "is_wanted", "expected"),
    [
        ([3, 2, 1], [True, False, False], 1.0),
        ([1, 2, 3], [True, False, False], 0.0),
        ([3, 2, 1, 0], [True, False, True, False], 3 / 4),  # of four pairs one is the wrong way round
        ([1, 1], [True, False], 0.5),
        ([np.nan, 1], [False, True], 1.0),  # unknown is below all
    ],
)
def test_order_among_shown_by_hand(scores: list[float], is_wanted: list[bool], expected: float) -> None:
    assert auc(np.array(scores, np.float32), np.array(is_wanted)) == expected


def test_order_needs_both_kinds() -> None:
    assert np.isnan(auc(np.array([1.0], np.float32), np.array([True])))
