"""The texts of items, encoded: language, vectors and the text space."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.models import text
from recsys.models.text import TextParams, TextSpace
from recsys.progress import Progress
from training.text.encoder import EncoderParams, make_encoder
from training.text.features import TextFeatures, encode_texts


@dataclass(frozen=True, slots=True, eq=False)
class EncodedItems:
    """The texts of items, row by row, what was read in them, and the text space."""

    texts: list[str]
    features: TextFeatures
    space: TextSpace

    @property
    def counts(self) -> dict[str, int]:
        """How many texts were encoded and how many came from the cache."""
        return {"texts_encoded": self.features.n_encoded, "texts_reused": self.features.n_reused}


def encode_items(
    items: pl.DataFrame, encoder: EncoderParams | None, params: TextParams, cache: Path, on_progress: Progress
) -> EncodedItems | None:
    """The texts of items and their space; None without an encoder, or where no item has a text."""
    texts = item_texts(items)
    if encoder is None or not any(texts):
        return None
    features = encode_texts(texts, declared_languages(items), make_encoder(encoder, cache), cache, on_progress)
    return EncodedItems(texts, features, text.fit(features.vectors, features.languages, params))


def item_texts(items: pl.DataFrame) -> list[str]:
    """Title and text of every item; empty where it has neither."""
    return [_join_texts(*row) for row in items.select("item_id", "title", "text").iter_rows()]


def declared_languages(items: pl.DataFrame) -> list[str | None]:
    """The dialect or language that was declared for every item."""
    return items.select(pl.coalesce("dialect", "language")).to_series().to_list()


def _join_texts(item_id: str, title: str, caption: str | None) -> str:
    """Title and text for the encoder; a title that is only the id is no text."""
    placeholders = ("", item_id, f"item {item_id}")  # the last is what importers write where no title is published
    return "\n".join(line for line in (title.strip(), (caption or "").strip()) if line not in placeholders)
