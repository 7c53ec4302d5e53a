"""
Trains the adapter for Arabizi (`training.text.adapter`) and says what it reaches.

    python -m training.text.fit_adapter DODA [--out FILE] [--cache DIR]

DODA is the folder of the Darija Open Dataset at its last MIT revision: `sentences_train_8335.csv` (or .csv.gz; columns
english, darija_latin) and the word lists `words_*.csv`. 1,000 pairs, drawn with a fixed seed, are held out for
the evaluation. The loss is contrastive: among 512 English sentences, each Arabizi one must be nearest to its
translation (InfoNCE), and single words must lie near theirs. About two minutes on one core.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.progress import quiet
from recsys.types import Csr, Floats, Rows
from training.text.adapter import ENCODER, SHIPPED, Adapter, save_adapter, words_in
from training.text.embeddings import embed
from training.text.encoder import EncoderParams, cache_folder, make_encoder
from training.text.ngrams import ngram_weights, select_ngrams

HELD_OUT: Final = 1_000  # pairs
_HELD_OUT_SEED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FitParams:
    """
    `n_ngrams` character n-grams, each with `size` numbers; those in fewer than `min_texts` texts are left out. A share
    of `dropout` of a text's n-grams is hidden in each step; `words_share` is the weight of the word lists. The rest are
    the usual parameters of contrastive learning.
    """

    n_ngrams: int = 12_000
    min_texts: int = 3
    size: int = 96
    epochs: int = 20
    batch: int = 512
    learning_rate: float = 2e-3
    temperature: float = 0.05
    dropout: float = 0.3
    words_share: float = 0.5
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Arabizi texts with their encoder vectors (n, e), and the vectors of their English translations (n, e)."""

    texts: Sequence[str]
    vectors: Floats
    english: Floats

    def take(self, rows: Rows) -> "Pairs":
        """Some of the pairs."""
        return Pairs(
            texts=[self.texts[r] for r in rows.tolist()], vectors=self.vectors[rows], english=self.english[rows]
        )


def split(n: int) -> tuple[Rows, Rows]:
    """Rows to learn from, and the 1,000 held-out rows; always the same."""
    mixed = np.random.default_rng(_HELD_OUT_SEED).permutation(n)
    return mixed[HELD_OUT:], mixed[:HELD_OUT]


def read_sentences(folder: Path) -> pl.DataFrame:
    """Columns english and darija_latin."""
    return pl.read_csv(next(folder.glob("sentences_train_8335.csv*")), infer_schema=False)


def read_words(folder: Path) -> list[tuple[str, str]]:
    """Every spelling of every word, idiom and proverb with its English."""
    pairs: list[tuple[str, str]] = []
    for path in sorted(folder.glob("words_*.csv")):
        for row in pl.read_csv(path, infer_schema=False).iter_rows(named=True):
            spellings = [text.strip() for name, text in row.items() if name != "eng" and text and text.strip()]
            if row["eng"] and row["eng"].strip():
                pairs += [(spelling, row["eng"].strip()) for spelling in spellings]
    return pairs


def fit(sentences: Pairs, words: Pairs, params: FitParams) -> Adapter:
    """The adapter that these pairs teach. Equal input gives equal weights up to rounding."""
    texts = [words_in(text) for text in (*sentences.texts, *words.texts)]
    ngrams, idf = select_ngrams(texts, min_texts=params.min_texts, max_ngrams=params.n_ngrams)
    weights = ngram_weights(texts, ngrams, idf)
    source_mean, target_mean = sentences.vectors.mean(axis=0), sentences.english.mean(axis=0)
    radius = float(np.linalg.norm(sentences.english - target_mean, axis=1).mean())
    sources = _unit(sentences.vectors - source_mean)
    targets = np.concatenate(
        [_unit(sentences.english - target_mean), _unit(words.english - words.english.mean(axis=0))]
    )
    table, spread, mix = _fit_weights(weights, sources, targets, params)
    scale = np.maximum(np.abs(table).max(axis=1), 1e-6) / 127
    return Adapter(
        ngrams=ngrams,
        idf=idf,
        table=np.round(table / scale[:, None]).astype(np.int8),
        scale=scale.astype(np.float32),
        spread=spread,
        mix=mix,
        source_mean=source_mean,
        target_mean=target_mean,
        radius=radius,
        encoder=ENCODER,
        hash="",
    )


def _fit_weights(ngrams: Csr, sources: Floats, targets: Floats, params: FitParams) -> tuple[Floats, Floats, Floats]:
    """
    `table`, `spread` and `mix` by contrastive learning; the first rows of `ngrams` are the sentences of `sources`.
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(params.seed)
    rng = np.random.default_rng(params.seed)
    source, target = torch.from_numpy(sources), torch.from_numpy(targets)
    table = torch.nn.Embedding(ngrams.shape[1], params.size, sparse=True)
    torch.nn.init.normal_(table.weight, std=0.3 / params.size**0.5)
    spread = torch.nn.Linear(params.size, targets.shape[1], bias=False)
    mix = torch.nn.Linear(sources.shape[1], targets.shape[1], bias=False)
    torch.nn.init.zeros_(mix.weight)
    matrices = [*spread.parameters(), *mix.parameters()]
    sparse_steps: torch.optim.Optimizer = torch.optim.SparseAdam(table.parameters(), lr=3 * params.learning_rate)
    steps = torch.optim.AdamW(matrices, lr=params.learning_rate, weight_decay=0.05)

    def spread_ngrams(rows: Rows) -> torch.Tensor:
        part = ngrams[rows]
        weights = torch.from_numpy(part.data) * (torch.rand(part.nnz) > params.dropout) / (1 - params.dropout)
        begins, columns = torch.from_numpy(part.indptr[:-1]).long(), torch.from_numpy(part.indices).long()
        bags = functional.embedding_bag(
            columns, table.weight, begins, mode="sum", per_sample_weights=weights, sparse=True
        )
        vectors: torch.Tensor = spread(bags)
        return vectors

    pair = torch.arange(params.batch)
    for share_done, rows, words in _batches(len(sources), ngrams.shape[0], params, rng):
        for optimiser, factor in ((sparse_steps, 3), (steps, 1)):
            optimiser.param_groups[0]["lr"] = factor * params.learning_rate * (1 + np.cos(np.pi * share_done)) / 2
        predicted = functional.normalize(spread_ngrams(rows) + mix(source[rows]), dim=1)
        similarity = predicted @ target[rows].T / params.temperature
        loss = functional.cross_entropy(similarity, pair) + functional.cross_entropy(similarity.T, pair)
        if len(words):
            single = functional.normalize(spread_ngrams(words), dim=1)
            loss = loss + 2 * params.words_share * (1 - (single * target[words]).sum(1)).mean()
        sparse_steps.zero_grad()
        steps.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for optimiser in (sparse_steps, steps):
            optimiser.step()
    weights = (table.weight, spread.weight.T, mix.weight.T)
    return tuple(np.ascontiguousarray(weight.detach().numpy()) for weight in weights)  # type: ignore[return-value]  # three of them


def _batches(n: int, n_all: int, params: FitParams, rng: np.random.Generator) -> Iterator[tuple[float, Rows, Rows]]:
    """The share of the work that is done, rows of sentences, rows of words."""
    per_epoch = n // params.batch
    for epoch in range(params.epochs):
        mixed = rng.permutation(n)
        for step in range(per_epoch):
            words = n + rng.choice(n_all - n, min(256, n_all - n), replace=False)
            done = (epoch * per_epoch + step) / (params.epochs * per_epoch)
            yield done, mixed[step * params.batch : (step + 1) * params.batch], words


def accuracy(queries: Floats, gallery: Floats, *, is_centred: bool) -> float:
    """
    The share of queries whose nearest row of the gallery (by cosine) is the one with their number; ties do not count.
    """
    if is_centred:
        queries, gallery = queries - queries.mean(axis=0), gallery - gallery.mean(axis=0)
    similarity = _unit(queries) @ _unit(gallery).T
    return float(np.mean((similarity >= np.diag(similarity)[:, None]).sum(axis=1) == 1))


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def main() -> None:
    """Encodes, fits, evaluates, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("doda", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    cache = options.cache or cache_folder()
    encoder = make_encoder(EncoderParams(max_tokens=192, threads=1), cache)

    def vectors(texts: Sequence[str]) -> Floats:
        return embed(texts, encoder, cache, on_progress=quiet).vectors

    table, words = read_sentences(options.doda), read_words(options.doda)
    arabizi, english = table["darija_latin"].to_list(), table["english"].to_list()
    pairs = Pairs(texts=arabizi, vectors=vectors(arabizi), english=vectors(english))
    spellings = [spelling for spelling, _ in words]
    lists = Pairs(
        texts=spellings, vectors=np.empty((0, 0), np.float32), english=vectors([meaning for _, meaning in words])
    )
    learned, held = (pairs.take(rows) for rows in split(len(arabizi)))
    adapter = fit(learned, lists, FitParams())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_adapter(adapter, options.out)
    for name, arabizi_vectors in (
        ("as encoded", held.vectors),
        ("adapted", adapter.apply(held.vectors, held.texts, np.ones(HELD_OUT, np.bool_))),
    ):
        scores = [accuracy(arabizi_vectors, held.english, is_centred=is_centred) for is_centred in (False, True)]
        print(f"{name:12} Arabizi to English, accuracy@1 of {HELD_OUT:,}: {scores[0]:.1%}, centred {scores[1]:.1%}")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
