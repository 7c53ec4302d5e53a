"""The curve of recall against local share, on splits small enough to count by hand, and on the real one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.offline.locality_benchmark import run_benchmark
from eval.offline.place_splits import read_split
from recsys.data import locality_cost
from recsys.data.locality_split import UNKNOWN, LocalitySplit, hold_out_share
from recsys.errors import DataError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "lastfm-countries"


def write(folder: Path, **tables: str) -> dict[str, Path]:
    paths = {name: folder / f"{name}.csv" for name in tables}
    for name, text in tables.items():
        paths[name].write_text(text)
    return paths


TABLES = {
    "users": "user,country_iso2\nann,MA\nbob,FR\neve,\n",
    "items": "artist,n,country_iso2\na,5,MA\nb,4,FR\nc,3,\n",
    "train": "user,artist\nann,a\nann,b\nbob,b\nbob,b\neve,c\nzoe,a\n",
    "test": "user,artist\nann,b\nann,c\nbob,a\nann,z\n",
}


def test_a_split_is_read_as_it_stands_and_what_nobody_names_is_counted(tmp_path):
    split = read_split(**write(tmp_path, **TABLES))
    assert split.places == ("FR", "MA")
    assert split.user_place.tolist() == [1, 0, UNKNOWN]
    assert split.item_place.tolist() == [1, 0, UNKNOWN]
    assert split.train.toarray().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert split.test.toarray().tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]  # what was learned from is not held out
    assert split.n_dropped == 2


def test_an_unknown_place_is_local_to_nobody_not_even_to_an_unknown_person(tmp_path):
    split = read_split(**write(tmp_path, **TABLES))
    assert split.is_local(np.arange(3)).tolist() == [[True, False, False], [False, True, False], [False] * 3]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("items", "artist,n\na,1\n", "found no place that both have"),
        ("users", "user,country_iso2\n", "found 0 rows"),
        ("train", "user\nann\n", "expected rows of two or more"),
        ("test", "user,artist\nnobody,nothing\n", "found nobody and nothing"),
    ],
)
def test_a_split_without_what_is_needed_is_refused_with_a_sentence(tmp_path, name, text, expected):
    with pytest.raises(DataError, match=expected):
        read_split(**write(tmp_path, **{**TABLES, name: text}))


def made(seed: int, n_users: int = 400, n_items: int = 60) -> LocalitySplit:
    """Two places; everybody likes items of the own place four times as often as others."""
    rng = np.random.default_rng(seed)
    user_place = (np.arange(n_users) % 2).astype(np.int32)
    item_place = (np.arange(n_items) % 4 > 0).astype(np.int32)
    weights = np.where(user_place[:, None] == item_place[None, :], 4.0, 1.0) * rng.exponential(size=n_items)
    rows = np.repeat(np.arange(n_users), 12)
    items = np.concatenate([rng.choice(n_items, 12, replace=False, p=w / w.sum()) for w in weights])
    whole = LocalitySplit(
        train=_matrix(rows, items, n_users, n_items), test=_matrix(rows[:0], items[:0], n_users, n_items),
        user_place=user_place, item_place=item_place, places=("A", "B"), n_dropped=0,
    )  # fmt: skip
    return hold_out_share(whole, 0.25, rng)


def _matrix(rows, items, n_users, n_items):
    from scipy import sparse

    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, items)), shape=(n_users, n_items))


def test_a_validation_part_has_its_share_of_everybody_and_loses_nothing():
    whole = made(0)
    split = hold_out_share(whole, 0.4, np.random.default_rng(1))
    assert ((split.train + split.test) != whole.train).nnz == 0
    n = np.diff(whole.train.indptr)
    assert np.diff(split.test.indptr).tolist() == np.round(0.4 * n).astype(int).tolist()


def test_users_are_scored_by_the_filter_of_gf_cf():
    """R (R~' R~ + .2 Di^-.5 V V' Di^.5), R~ = Du^-.5 R Di^-.5, standardised over the catalogue."""
    split = made(0, 300, 40)
    r = split.train.toarray().astype(np.float64)
    by_user, by_item = np.maximum(r.sum(1), 1), np.maximum(r.sum(0), 1)
    normal = r / np.sqrt(by_user)[:, None] / np.sqrt(by_item)
    leading = np.linalg.svd(normal, full_matrices=False)[2][:64].T  # all of the 40
    low_pass = leading @ leading.T * np.sqrt(by_item) / np.sqrt(by_item)[:, None]
    raw = r @ (normal.T @ normal + 0.2 * low_pass)
    expected = (raw - raw.mean(1, keepdims=True)) / raw.std(1, keepdims=True)
    scores = next(iter(locality_cost.score_users(split, np.arange(300)))).scores
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)


def test_a_place_that_acts_like_everybody_lifts_nothing_and_a_favourite_rises():
    split = made(0)
    lift = locality_cost.compute_lifts(split)
    assert lift.shape == (3, 60) and not lift[UNKNOWN].any()  # of people of unknown place
    mine = split.item_place == 0
    assert lift[0, mine].mean() > 0 > lift[0, ~mine].mean()


@given(seed=st.integers(0, 50), floor=st.sampled_from([0.1, 0.2, 0.35, 0.5, 1.0]), k=st.integers(1, 12))
def test_a_floor_is_held_as_far_as_there_are_local_items_and_the_rest_is_best_first(seed, floor, k):
    rng = np.random.default_rng(seed)
    q, n = 6, 14
    scored = locality_cost.LocalityScores(
        rows=np.arange(q), scores=rng.permuted(np.tile(np.arange(n), (q, 1)), axis=1).astype(np.float32),
        is_local=rng.random((q, n)) < 0.3, lift=np.zeros((q, n), np.float32),
        history_factor=np.ones((q, 1), np.float32), is_known=np.zeros((q, n), np.bool_),
    )  # fmt: skip
    pages = locality_cost.rank_pages(scored, locality_cost.additive_boost(0.0), k, floor)
    for row, page in enumerate(pages):
        local, scores = scored.is_local[row], scored.scores[row]
        wanted = min(int(k * floor + 1e-9), int(local.sum()))
        assert local[page].sum() >= wanted
        best = max(  # brute force over how many local items a page takes
            (
                sum(sorted(scores[local])[::-1][:m]) + sum(sorted(scores[~local])[::-1][: k - m])
                for m in range(wanted, min(k, int(local.sum())) + 1)
                if k - m <= int((~local).sum())
            ),
        )
        assert scores[page].sum() == best
        assert sorted(scores[page])[::-1] == scores[page].tolist()


def test_where_people_choose_locally_favouring_raises_local_share_and_not_at_the_cost_of_recall():
    result = run_benchmark(made(3, 1_200), k=10, seed=0)
    group = result.groups[0]
    assert group.n_people == 1_200 and result.large_places == ["A", "B"]
    assert {p.recall for p in group.points if p.weight == 0 and p.method != "tuned, floor"} == {group.baseline.recall}
    assert group.tuned.local_share > group.baseline.local_share
    assert group.tuned.recall >= 0.99 * group.baseline.recall
    assert run_benchmark(made(3, 1_200), k=10, seed=0) == result  # the same files and seed, the same numbers


@pytest.mark.parametrize(("n_users", "n_items"), [(50, 1_600), (64, 1_501), (20, 1_700)])
def test_fewer_people_than_leading_vectors_are_evaluated_too(n_users: int, n_items: int) -> None:
    assert run_benchmark(made(0, n_users, n_items), k=5, seed=0).groups[0].n_people == n_users


def test_a_page_longer_than_the_catalogue_is_all_of_it_and_what_is_known_is_not_shown() -> None:
    result = run_benchmark(made(0, 80, 20), k=50, seed=0).groups[0]
    assert {p.recall for p in result.points} == {1.0}
    left = [
        float((made(0, 80, 20).is_local(np.array([row]))[0] & ~known).sum() / (~known).sum())
        for row, known in enumerate(made(0, 80, 20).train.toarray() > 0)
    ]
    assert result.baseline.local_share == pytest.approx(np.mean(left))


def test_people_with_too_little_to_hold_back_are_evaluated_without_a_locality_weight() -> None:
    split = made(0)
    few = LocalitySplit(
        train=_matrix(np.arange(400), np.arange(400) % 60, 400, 60), test=split.test,
        user_place=split.user_place, item_place=split.item_place, places=split.places, n_dropped=0,
    )  # fmt: skip
    assert run_benchmark(few, k=10, seed=0).groups[0].locality_weight == 0


def test_a_split_in_which_nobody_has_local_supply_is_refused():
    split = made(0)
    nowhere = LocalitySplit(
        train=split.train, test=split.test, user_place=np.full(400, UNKNOWN, np.int32), item_place=split.item_place,
        places=split.places, n_dropped=0,
    )  # fmt: skip
    with pytest.raises(DataError, match="nobody held out whose place has"):
        run_benchmark(nowhere, k=10, seed=0)


@pytest.mark.slow
@pytest.mark.data
def test_on_real_listeners_outside_the_large_countries_twice_the_local_share_costs_no_recall(tmp_path):
    if not SHARED.is_dir():
        pytest.skip("the evaluation data lastfm-countries is not beside the repository")
    users, items = SHARED / "users.csv.gz", SHARED / "artists.csv"
    whole = read_split(SHARED / "train.csv.gz", SHARED / "train.csv.gz", users, items)
    result = run_benchmark(hold_out_share(whole, 0.2, np.random.default_rng(11)), k=20, seed=0)
    group = result.groups[1]
    assert group.name == "outside GB and US"
    assert group.tuned.local_share >= 2.0 * group.history_share
    assert group.tuned.recall >= group.baseline.recall
