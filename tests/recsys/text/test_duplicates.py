"""Laws of near-duplicates over a whole catalogue. Sentences are made up; overlaps are counted by hand."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from eval.simulation.world.truth import World
from recsys.text.clusters import cluster_id
from recsys.text.duplicates import DuplicateParams, Uploads, cluster_heads, minhash, with_clusters

LONG = "how I learned to sleep again after a hard year"
DEFAULTS = DuplicateParams()


@pytest.fixture(scope="module")
def demo_world() -> World:
    """The videos of the demo, with hardly a log."""
    return generate(WorldParams(n_events=1_000))


def uploads(
    titles: list[str],
    *,
    texts: list[str | None] | None = None,
    durations: list[float] | None = None,
    hashes: list[str | None] | None = None,
) -> Uploads:
    """Uploads in the order given, the first one oldest; durations unknown."""
    n = len(titles)
    return Uploads(
        titles=titles,
        texts=texts or [None] * n,
        published_at=np.arange(n),
        durations_s=np.array(durations or [np.nan] * n),
        perceptual_hashes=hashes or [None] * n,
    )


@pytest.mark.parametrize("edit", ["{} (repost)", "🔁 {}", "{} #fyp", "« {} »", "{} 🔥🔥", "{} part 2"])
def test_a_reupload_with_an_ending_of_its_own_joins_its_original(edit: str) -> None:
    assert cluster_heads(uploads([LONG, edit.format(LONG)], durations=[31.4, 31.5]), DEFAULTS).tolist() == [0, 0]


def test_a_like_title_proves_nothing_when_the_videos_run_for_different_or_unknown_times() -> None:
    titles = [f"{LONG}, day {day}" for day in (3, 4)]
    assert cluster_heads(uploads(titles, durations=[31.4, 40.0]), DEFAULTS).tolist() == [0, 1]
    assert cluster_heads(uploads(titles), DEFAULTS).tolist() == [0, 1]
    assert cluster_heads(uploads(titles, durations=[31.4, float("nan")]), DEFAULTS).tolist() == [0, 1]


def test_equal_words_are_one_cluster_whatever_the_durations_and_silence_is_none() -> None:
    assert cluster_heads(uploads(["hello", "Hello!"], durations=[10, 50]), DEFAULTS).tolist() == [0, 0]
    assert cluster_heads(uploads(["", "", "🌊"]), DEFAULTS).tolist() == [0, 1, 2]


def test_short_titles_must_be_equal() -> None:
    assert cluster_heads(uploads(["breathe with me", "breathe with us"], durations=[9, 9]), DEFAULTS).tolist() == [0, 1]


def test_a_caption_that_stays_gives_away_a_new_title() -> None:
    caption = "tell me in the comments how you live with it, and send it to somebody who needs it today"
    clusters = cluster_heads(uploads(["my story", "listen"], texts=[caption, caption], durations=[20, 20]), DEFAULTS)
    assert clusters.tolist() == [0, 0]


def test_pictures_up_to_six_bits_apart_are_one_video_and_seven_are_two() -> None:
    six, seven = f"{0x1234567890ABCDEF ^ 0b111111:016x}", f"{0x1234567890ABCDEF ^ 0b1111111:016x}"
    assert cluster_heads(uploads(["a", "b"], hashes=["1234567890abcdef", six.upper()]), DEFAULTS).tolist() == [0, 0]
    assert cluster_heads(uploads(["a", "b"], hashes=["1234567890abcdef", seven]), DEFAULTS).tolist() == [0, 1]


def test_a_black_frame_says_nothing() -> None:
    assert cluster_heads(uploads(["a", "b"], hashes=["0" * 16, "0" * 16]), DEFAULTS).tolist() == [0, 1]


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=8),
    st.lists(st.integers(0, 63), max_size=8, unique=True),
)
def test_the_lookup_of_pictures_finds_what_comparing_all_pairs_finds(hashes: list[int], bits: list[int]) -> None:
    near = hashes[0]
    for bit in bits:
        near ^= 1 << bit
    every = [*hashes, near]
    clusters = cluster_heads(
        uploads([f"t{n}" for n in range(len(every))], hashes=[f"{h:016x}" for h in every]), DEFAULTS
    )
    blank = (0, 2**64 - 1)
    for row, head in enumerate(clusters.tolist()):
        is_alone = head == row
        others = [
            other for other in range(row) if clusters[other] == other and not {every[row], every[other]} & set(blank)
        ]
        near = [other for other in others if (every[other] ^ every[row]).bit_count() <= 6]
        assert is_alone == (not near)
        assert is_alone or (every[head] ^ every[row]).bit_count() <= 6


def test_no_chain_of_small_edits_ties_unlike_items_together() -> None:
    words = [f"word{n:02d}" for n in range(40)]
    titles = [" ".join(words[start : start + 12]) for start in range(0, 28, 2)]  # neighbours share most, ends nothing
    clusters = cluster_heads(uploads(titles, durations=[30.0] * len(titles)), DEFAULTS)
    assert clusters[-1] != 0
    assert all(clusters[head] == head for head in clusters.tolist())


def test_the_oldest_names_the_cluster_and_a_new_copy_never_renames_it() -> None:
    old = uploads([f"{LONG} again", LONG], durations=[30, 30])
    assert cluster_heads(old, DEFAULTS).tolist() == [0, 0]
    younger_first = Uploads(
        titles=old.titles, texts=old.texts, published_at=np.array([9, 1]), durations_s=old.durations_s,
        perceptual_hashes=old.perceptual_hashes,
    )  # fmt: skip
    assert cluster_heads(younger_first, DEFAULTS).tolist() == [1, 1]


def test_signatures_estimate_the_overlap() -> None:
    # runs of four letters: "abcdefgh" has 5, "abcdefgx" shares 4 of 6 with it
    first, second = minhash(["abcdefgh" * 1, "abcdefgx"])
    assert np.mean(first == second) == pytest.approx(4 / 6, abs=0.2)


def test_halves_of_characters_and_huge_texts_are_texts_too() -> None:
    assert cluster_heads(
        uploads(["\ud800" * 30, "x" * 100_000, "ⵜⴰⵎⴰⵣⵉⵖⵜ" * 5], durations=[1, 2, 3]), DEFAULTS
    ).tolist() == [
        0,
        1,
        2,
    ]


def test_a_table_gets_the_clusters_of_its_heads(demo_world: World) -> None:
    clusters = with_clusters(demo_world.items, DEFAULTS)
    first = demo_world.items.row(0, named=True)
    assert clusters["text_cluster_id"][0] == cluster_id(first["item_id"], first["title"], first["text"])
    assert set(clusters["cluster_id"]) <= set(clusters["text_cluster_id"])
    same = clusters.group_by("text_cluster_id").agg(pl.col("cluster_id").n_unique())
    assert same["cluster_id"].max() == 1


def test_most_reuploads_of_the_demo_world_are_found(demo_world: World) -> None:
    group, tier = demo_world.truth.items.group, demo_world.truth.items.tier
    cluster = with_clusters(demo_world.items, DEFAULTS)["cluster_id"].to_list()
    copies = [row for row in range(len(group)) if group[row] != row and tier[row] <= 2]
    assert np.mean([cluster[row] == cluster[group[row]] for row in copies]) >= 0.85
