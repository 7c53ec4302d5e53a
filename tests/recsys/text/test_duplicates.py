"""Laws of who is bound by whom, beside the rule of policy-spec 0 written out for every pair."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.clusters import Wording, copy_keys
from recsys.text.duplicates import (
    Copies,
    Join,
    add_bound,
    bound_by,
    join_copies,
    joins_of,
    keys_of,
    no_copies,
    select_joined,
    through_earlier_hash,
    through_hash,
    through_words,
)


@dataclass(frozen=True)
class Upload:
    """An upload by hand; its place in a list is its number, and its arrival unless said otherwise."""

    creator: str = "c"
    text: str | None = None
    n_words: int = 8
    duration: float | None = None
    picture: str | None = None


def copies_of(uploads: list[Upload], arrival: list[int] | None = None) -> Copies:
    keys = [
        copy_keys(u.creator, Wording(u.text, u.n_words), duration_s=u.duration, perceptual_hash=u.picture)
        for u in uploads
    ]
    hashes, creator_texts, duration_texts = keys_of(keys)
    order = np.array(range(len(uploads)) if arrival is None else arrival, np.int64)
    return join_copies(hashes, np.arange(len(uploads), dtype=np.int32), creator_texts, duration_texts, order)


def evidence(one: Upload, other: Upload, *, is_later: bool) -> str | None:
    """By what `other` binds `one`: the sentence of the policy, word by word."""
    if one.picture is not None and one.picture == other.picture:
        return "hash"
    is_text = one.text is not None and (one.text, one.n_words) == (other.text, other.n_words)
    is_duration = one.duration is not None and one.duration == other.duration
    if is_text and one.creator == other.creator and (is_duration or one.n_words >= 8):
        return "creator_text"
    is_unlike = None not in (one.picture, other.picture)
    return "duration_text" if is_text and is_duration and one.n_words >= 8 and not is_unlike and is_later else None


UPLOADS = st.lists(
    st.builds(
        Upload,
        creator=st.sampled_from("abc"),
        text=st.sampled_from([None, "aa", "bb"]),
        n_words=st.sampled_from([3, 8]),
        duration=st.sampled_from([None, 10.0, 20.0]),
        picture=st.sampled_from([None, "1" * 16, "2" * 16]),
    ),
    max_size=12,
)


@given(UPLOADS, st.randoms())
def test_the_joins_are_those_of_the_policy_for_every_pair(uploads, random):
    arrival = list(range(len(uploads)))
    random.shuffle(arrival)
    copies = copies_of(uploads, arrival)
    for n, one in enumerate(uploads):
        expected = [
            Join(m, kind)
            for m, other in enumerate(uploads)
            if m != n and (kind := evidence(one, other, is_later=arrival[m] < arrival[n]))
        ]
        assert list(joins_of(copies, n)) == expected


@given(UPLOADS, st.randoms())
def test_what_reaches_an_item_is_the_highest_of_what_binds_it(uploads, random):
    arrival, levels = list(range(len(uploads))), np.array([random.randrange(9) for _ in uploads], np.int64)
    random.shuffle(arrival)
    copies = copies_of(uploads, arrival)
    by_hash, by_words = through_hash(copies, levels), through_words(copies, levels)
    chosen = levels > 6
    bound = bound_by(copies, chosen)
    earlier = through_earlier_hash(copies, levels)
    for n, one in enumerate(uploads):
        pairs = [(m, other, arrival[m] < arrival[n]) for m, other in enumerate(uploads) if m != n]
        same = [levels[m] for m, other, _ in pairs if one.picture is not None and one.picture == other.picture]
        assert by_hash[n] == (max([levels[n], *same]) if same else 0)
        assert earlier[n] == max(
            (levels[m] for m, other, _ in pairs if m < n and one.picture is not None and one.picture == other.picture),
            default=0,
        )
        without = [(m, Upload(**{**vars(other), "picture": None}), late) for m, other, late in pairs
                   if None in (one.picture, other.picture) or one.picture == other.picture]  # fmt: skip
        plain = Upload(**{**vars(one), "picture": None})
        worded = [levels[m] for m, other, late in without if evidence(plain, other, is_later=late)]
        unlike = [levels[m] for m, other, late in pairs if evidence(one, other, is_later=late) == "creator_text"]
        assert max(by_words[n], levels[n]) == max([levels[n], *worded, *unlike])
        binders = [m for m, other, late in pairs if evidence(one, other, is_later=late)]
        assert bound[n] == (chosen[n] or any(chosen[m] for m in binders))


@given(UPLOADS, st.lists(st.integers(0, 11), max_size=4), st.lists(st.sampled_from(["aa", "bb"]), max_size=3))
def test_the_few_items_that_have_copies_tell_what_all_of_them_tell(uploads, former_owners, former_texts):
    now = copies_of(uploads)
    former = [(owner, text) for owner, text in zip(former_owners, former_texts, strict=False) if owner < len(uploads)]
    keys = [
        copy_keys(uploads[owner].creator, Wording(text, 8), duration_s=uploads[owner].duration, perceptual_hash=None)
        for owner, text in former
    ]
    hashes, creator_texts, duration_texts = keys_of(
        [copy_keys(u.creator, Wording(u.text, u.n_words), duration_s=u.duration, perceptual_hash=u.picture)
         for u in uploads] + keys
    )  # fmt: skip
    n = len(uploads)
    owner = np.concatenate([np.arange(n), [owner for owner, _ in former]]).astype(np.int32)
    copies = join_copies(hashes[:n], owner, creator_texts, duration_texts, np.arange(len(owner), dtype=np.int64))
    joined = select_joined(copies)
    assert set(np.flatnonzero(now.hash_no)) <= set(joined.item_nos.tolist())
    for chosen in ([], [0], [n - 1], list(range(0, n, 2)), list(range(n))[::-1], [n - 1, 0, n - 1]):
        numbers = np.array([number for number in chosen if 0 <= number < n], np.int32)
        is_chosen = np.zeros(n, np.bool_)
        is_chosen[numbers] = True
        assert add_bound(joined, numbers).tolist() == np.flatnonzero(bound_by(copies, is_chosen)).tolist()


def test_a_join_reaches_no_third():
    """A thief has the file of one and the caption of another: those two stay two."""
    uploads = [
        Upload("a", "aa", 8, None, "1" * 16),
        Upload("b", "bb", 8, None, "2" * 16),
        Upload("thief", "bb", 8, None, "1" * 16),
        Upload("thief", "bb", 8, None, "2" * 16),
    ]
    seen = bound_by(copies_of(uploads), np.array([True, False, False, False]))
    assert seen.tolist() == [True, False, True, False]


def test_a_later_copy_binds_nobody_who_came_before():
    uploads = [Upload(creator, "aa", 8, 10.0) for creator in "abc"]
    copies = copies_of(uploads)
    assert bound_by(copies, np.array([False, True, False])).tolist() == [False, True, True]
    assert [joins_of(copies, n) for n in (0, 1)] == [(), (Join(0, "duration_text"),)]


def test_ten_thousand_copies_of_one_video_cost_no_square():
    copies = copies_of([Upload(str(n), "aa", 8, 10.0) for n in range(10_000)])
    levels = np.zeros(len(copies), np.int64)
    levels[17] = 3
    assert through_words(copies, levels).tolist() == [0] * 18 + [3] * (len(copies) - 18)


def test_items_without_anything_in_common_bind_nobody():
    copies = no_copies(3)
    assert bound_by(copies, np.array([True, False, False])).tolist() == [True, False, False]
    assert joins_of(copies, 1) == () and len(no_copies(0)) == 0
    assert bound_by(no_copies(0), np.zeros(0, np.bool_)).tolist() == []
