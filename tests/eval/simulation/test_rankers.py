"""The rankers that know no ledger, each on a page that can be worked out by hand."""

import numpy as np

from eval.simulation.rankers import RankerInput, calibrate, cap_per_page, mmr, score_only


def ranked(scores, *, vectors=None, themes=None, is_r2=None, history_shares=(0.0, 0.0)) -> RankerInput:
    n = len(scores)
    return RankerInput(
        scores=np.array(scores, np.float32),
        vectors=np.array(np.eye(n) if vectors is None else vectors, np.float32),
        themes=np.array([0] * n if themes is None else themes),
        is_r2=np.array([False] * n if is_r2 is None else is_r2),
        history_shares=np.array(history_shares, np.float64),
    )


def test_the_score_alone_takes_the_best() -> None:
    assert score_only(ranked([3, 2, 1]), 2).tolist() == [0, 1]
    assert score_only(ranked([3]), 2).tolist() == [0]


def test_mmr_leaves_out_what_is_similar_to_the_page() -> None:
    # 0.7 x scores (1, 0.9, 0) less 0.3 x similarity: after the first, its twin is worth 0.33 and the other 0
    twins = [[1, 0], [1, 0], [0, 1]]
    assert mmr(ranked([1.0, 0.9, 0.0], vectors=twins), 3).tolist() == [0, 1, 2]
    # with scores (1, 0.4, 0.3, 0) the twin is worth -0.02 and the third 0.21
    assert mmr(ranked([1.0, 0.4, 0.3, 0.0], vectors=[*twins, [0, 1]]), 2).tolist() == [0, 2]


def test_calibration_gives_the_themes_of_the_history_their_share() -> None:
    page = ranked(np.linspace(1, 0, 20), themes=[0] * 10 + [1] * 10, history_shares=(0.5, 0.5))
    themes = page.themes[calibrate(page, 10)]
    assert 4 <= int((themes == 1).sum()) <= 5
    assert calibrate(ranked([3, 2, 1]), 2).tolist() == [0, 1], "without a history the score decides"


def test_the_cap_per_page_starts_anew_every_ten_slots() -> None:
    page = ranked(np.arange(40, 0, -1), is_r2=[True] * 20 + [False] * 20)
    chosen = page.is_r2[cap_per_page(page, 20)]
    assert chosen[:10].tolist() == [True, True] + [False] * 8
    assert chosen[10:].tolist() == [True, True] + [False] * 8


def test_the_cap_per_page_ends_a_page_early_where_only_r2_is_left() -> None:
    assert len(cap_per_page(ranked([3, 2, 1], is_r2=[True] * 3), 3)) == 2
