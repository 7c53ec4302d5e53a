"""Near-duplicates in a table of items: the rules of `recsys.text.duplicates` for data files and artifacts."""

from typing import Final

import numpy as np
import polars as pl

from recsys.progress import Progress, quiet
from recsys.text.clusters import Wording, copy_keys, wording_of
from recsys.text.duplicates import Copies, join_copies, keys_of, through_hash, through_words
from recsys.types import Longs
from recsys.vocabulary import TIERS, TRUSTED_RISK_SOURCES

CHUNK: Final = 10_000  # items between two reports of progress


def with_wordings(items: pl.DataFrame, on_progress: Progress = quiet) -> pl.DataFrame:
    """The items with `text_id` and `n_words`: what each says (`recsys.text.clusters.Wording`)."""
    wordings: list[Wording] = []
    for title, text in items.select("title", "text").iter_rows():
        wordings.append(wording_of(title, text))
        if len(wordings) % CHUNK == 0:
            on_progress("wordings", len(wordings), len(items))
    return items.with_columns(
        pl.Series("text_id", [wording.text_id for wording in wordings], pl.String),
        pl.Series("n_words", [wording.n_words for wording in wordings], pl.Int64),
    )


def copies_of(items: pl.DataFrame) -> Copies:
    """
    The joins of a table of `with_wordings`. Items arrive in the order of `published_at`, at one instant in that of the
    rows.
    """
    columns = ("creator_id", "text_id", "n_words", "duration_s", "perceptual_hash")
    keys = [
        copy_keys(creator_id, Wording(text_id, n_words), duration_s=duration_s, perceptual_hash=perceptual_hash)
        for creator_id, text_id, n_words, duration_s, perceptual_hash in items.select(columns).iter_rows()
    ]
    hashes, creator_texts, duration_texts = keys_of(keys)
    published_at = items["published_at"].to_numpy()
    arrival = np.empty(len(items), np.int64)
    arrival[np.lexsort((np.arange(len(items)), published_at))] = np.arange(len(items))
    owner = np.arange(len(items), dtype=np.int32)
    return join_copies(hashes, owner, creator_texts, duration_texts, arrival)


def tiers_of_copies(items: pl.DataFrame, copies: Copies, own: Longs) -> Longs:
    """
    (n,) the highest tier (0 to 4) that reaches each item from its copies, 0 where none does. `own` (n,) are the tiers
    that the items count themselves.
    """
    tier = _tier_numbers(items)
    is_labelled, is_hidden = items["risk_tier"].is_not_null(), items["is_hidden"].fill_null(False)
    is_given = (is_labelled & items["risk_source"].is_in(TRUSTED_RISK_SOURCES).fill_null(False)).to_numpy()
    speaks = (is_labelled & ~is_hidden).to_numpy()
    by_hash = through_hash(copies, np.where(is_given, tier, 0))
    return np.maximum(by_hash, through_words(copies, np.where(speaks, own, 0)))


def _tier_numbers(items: pl.DataFrame) -> Longs:
    numbers = {tier: number for number, tier in enumerate(TIERS)}
    return items["risk_tier"].replace_strict(numbers, default=0, return_dtype=pl.Int64).to_numpy()
