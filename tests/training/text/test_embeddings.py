"""Laws of kept vectors: encoded once, never wrong, never mixed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.types import Floats
from training.text import embeddings
from training.text.embeddings import embed
from training.text.encoder import Encoder


class Counting:
    """A small deterministic encoder that keeps what it was asked."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.texts: list[str] = []
        self.fail_after = fail_after

    def __call__(self, texts: Sequence[str]) -> Floats:
        if self.fail_after is not None and len(self.texts) >= self.fail_after:
            raise KeyboardInterrupt
        self.texts += texts
        return np.array([[len(t), sum(map(ord, t)) % 97, 1.0] for t in texts], np.float32)

    def encoder(self, fingerprint: str = "f1") -> Encoder:
        return Encoder(name="counting", fingerprint=fingerprint, dim=3, batch_size=4, load=lambda: self)


TEXTS = [f"caption {i} {'x' * (i % 7)}" for i in range(100)]


def test_what_was_encoded_once_is_not_encoded_again(tmp_path: Path) -> None:
    first, again = Counting(), Counting()
    vectors = embed(TEXTS, first.encoder(), tmp_path).vectors
    kept = embed(TEXTS, again.encoder(), tmp_path)
    assert np.array_equal(kept.vectors, vectors)
    assert np.array_equal(vectors, Counting().encoder().encode(TEXTS))
    assert again.texts == []
    assert (kept.n_encoded, kept.n_reused) == (0, 100)


def test_one_percent_more_items_encodes_only_those(tmp_path: Path) -> None:
    embed(TEXTS, Counting().encoder(), tmp_path)
    more = Counting()
    grown = embed([*TEXTS, "a new one"], more.encoder(), tmp_path)
    assert more.texts == ["a new one"]
    assert (grown.n_encoded, grown.n_reused) == (1, 100)


def test_equal_texts_are_encoded_once_and_empty_ones_not_at_all(tmp_path: Path) -> None:
    counting = Counting()
    vectors = embed(["a", "", "a", "  "], counting.encoder(), tmp_path).vectors
    assert counting.texts == ["a"]
    assert np.array_equal(vectors[0], vectors[2])
    assert not vectors[[1, 3]].any()


def test_nothing_to_embed_is_an_empty_table(tmp_path: Path) -> None:
    assert embed([], Counting().encoder(), tmp_path).vectors.shape == (0, 3)
    assert embed(["", ""], Counting().encoder(), tmp_path).vectors.shape == (2, 3)


def test_two_encoders_never_share_a_vector(tmp_path: Path) -> None:
    embed(TEXTS, Counting().encoder("f1"), tmp_path)
    other = Counting()
    embed(TEXTS, other.encoder("f2"), tmp_path)
    assert len(other.texts) == 100


def test_a_killed_run_is_taken_up_where_its_last_chunk_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "CHUNK_TEXTS", 20)
    with pytest.raises(KeyboardInterrupt):
        embed(TEXTS, Counting(fail_after=50).encoder(), tmp_path)
    rest = Counting()
    done = embed(TEXTS, rest.encoder(), tmp_path)
    assert (done.n_encoded, done.n_reused) == (60, 40)  # two chunks of 20 were finished
    assert np.array_equal(done.vectors, Counting().encoder().encode(TEXTS))


@pytest.mark.parametrize("damage", ["one byte", "cut short", "empty"])
def test_a_damaged_chunk_is_encoded_again_never_believed(tmp_path: Path, damage: str) -> None:
    embed(TEXTS, Counting().encoder(), tmp_path)
    (chunk,) = tmp_path.rglob("*.npy")
    content = bytearray(chunk.read_bytes())
    if damage == "one byte":
        content[-5] ^= 1
    chunk.write_bytes(content if damage == "one byte" else content[: len(content) // 2 if damage == "cut short" else 0])
    again = Counting()
    assert np.array_equal(embed(TEXTS, again.encoder(), tmp_path).vectors, Counting().encoder().encode(TEXTS))
    assert len(again.texts) == 100


def test_the_cache_stays_within_its_bound_by_forgetting_the_oldest(tmp_path: Path) -> None:
    for n in range(6):
        embed([f"{n} {text}" for text in TEXTS], Counting().encoder(), tmp_path, max_bytes=15_000)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.npy")]
    assert 0 < sum(sizes) <= 15_000
    newest = Counting()
    embed([f"5 {text}" for text in TEXTS], newest.encoder(), tmp_path)
    assert newest.texts == []


def test_vectors_that_are_not_finite_never_reach_the_disk(tmp_path: Path) -> None:
    broken = replace(Counting().encoder(), load=lambda: lambda texts: np.full((len(texts), 3), np.nan, np.float32))
    with pytest.raises(Exception, match="not finite"):
        embed(TEXTS, broken, tmp_path)
    assert list(tmp_path.rglob("*.npy")) == []
