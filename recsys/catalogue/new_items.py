"""
What the ranker knows of items that came after the artifact: their words for themselves, and their creator.

An item without a row has no vectors and no rates of its own. It has a creator, topics, a language and a place. So it
is expected to be watched as the creator's other items are, by people who like what it is about.
"""

from dataclasses import dataclass, replace

import numpy as np

from recsys.catalogue.items import Items, is_unlearnable
from recsys.models.affinity import N_TOPICS, topics_and_language
from recsys.models.features import RATE_NAMES, FeatureInputs, ItemFacts
from recsys.types import Floats, Ids
from recsys.vocabulary import TOPICS


@dataclass(frozen=True, slots=True, eq=False)
class RankableItems:
    """
    What features are computed from, artifact rows first, and the row of each item number; -1 = nothing is predicted.
    `new` are the numbers of items that follow the artifact's.
    """

    inputs: FeatureInputs
    rows: Ids
    new: Ids


def rankable_items(items: Items, inputs: FeatureInputs) -> RankableItems:
    """
    The artifact's items and the new ones, of which only those are predicted that are labelled and were never R2:
    risk is no interest to learn.
    """
    n_rows = len(inputs.rates)
    is_new = items.exists & (items.row < 0) & ~is_unlearnable(items)
    new = np.flatnonzero(is_new).astype(np.int32)
    rows = items.row.astype(np.int32)
    if not len(new) or not n_rows:
        return RankableItems(inputs, rows, np.empty(0, np.int32))
    rows[new] = np.arange(n_rows, n_rows + len(new), dtype=np.int32)
    facts = _facts_of(items, new, inputs.facts)
    rates = _rates_of(items, new, inputs.rates)
    features = _features_of(facts, inputs, _example_rows(items, new))
    extended = replace(
        inputs,
        facts=_joined(inputs.facts, facts),
        rates=np.concatenate([inputs.rates, rates]),
        item_features=np.concatenate([inputs.item_features, features]),
    )
    return RankableItems(extended, rows, new)


def _facts_of(items: Items, new: Ids, known: ItemFacts) -> ItemFacts:
    """In the codes of the artifact; 0 for what it does not have."""
    code_of = np.zeros(max(items.codes.values(), default=0) + 1, np.int32)
    for name, code in items.codes.items():
        code_of[code] = known.codes.get(name, 0)
    bits = items.topics[new].astype(np.int32)[:, None] >> np.arange(len(TOPICS))
    example = _example_rows(items, new)
    return ItemFacts(
        published_at=items.published_at[new],
        duration_s=np.full(len(new), np.nan, np.float32),
        creator=np.where(example >= 0, known.creator[example], 0).astype(np.int32),
        language=code_of[items.language[new]],
        country=code_of[items.country[new]],
        region=code_of[items.region[new]],
        topics=(bits & 1).astype(np.float32),
        codes=known.codes,
    )


def _example_rows(items: Items, new: Ids) -> Ids:
    """(m,) an artifact row of each item's creator, -1 = the creator is new."""
    with_row = np.flatnonzero(items.row >= 0)
    creators, first = np.unique(items.creator_no[with_row], return_index=True)
    if not len(creators):
        return np.full(len(new), -1, np.int32)
    place = np.minimum(np.searchsorted(creators, items.creator_no[new]), len(creators) - 1)
    is_known = creators[place] == items.creator_no[new]
    return np.where(is_known, items.row[with_row[first[place]]], -1).astype(np.int32)


def _rates_of(items: Items, new: Ids, rates: Floats) -> Floats:
    """The rates of the creator, for the item too; those of all creators for a new one."""
    n = len(RATE_NAMES)
    example = _example_rows(items, new)
    of_creator = np.where((example >= 0)[:, None], rates[example, n:], rates[:, n:].mean(axis=0))
    return np.hstack([of_creator, of_creator]).astype(np.float32)


def _features_of(facts: ItemFacts, inputs: FeatureInputs, example: Ids) -> Floats:
    """
    Topics, the language columns of an item of the same language, and the kind of the creator, by an `example` (m,) of
    their items; words would need the encoder, and nobody asks for the length.
    """
    features = np.zeros((len(facts.language), inputs.item_features.shape[1]), np.float32)
    codes, first = np.unique(inputs.facts.language, return_index=True)
    place = np.minimum(np.searchsorted(codes, facts.language), len(codes) - 1)
    is_known = codes[place] == facts.language
    features[is_known] = topics_and_language(inputs.item_features[first[place[is_known]]], inputs.has_text, inputs.form)
    kinds = slice(features.shape[1] - sum(inputs.form), features.shape[1] - inputs.form.n_lengths)
    features[example >= 0, kinds] = inputs.item_features[example[example >= 0], kinds]
    features[:, :N_TOPICS] = facts.topics
    return features


def _joined(known: ItemFacts, new: ItemFacts) -> ItemFacts:
    return ItemFacts(
        published_at=np.concatenate([known.published_at, new.published_at]),
        duration_s=np.concatenate([known.duration_s, new.duration_s]),
        creator=np.concatenate([known.creator, new.creator]),
        language=np.concatenate([known.language, new.language]),
        country=np.concatenate([known.country, new.country]),
        region=np.concatenate([known.region, new.region]),
        topics=np.concatenate([known.topics, new.topics]),
        codes=known.codes,
    )
