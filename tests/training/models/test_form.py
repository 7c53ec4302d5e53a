"""Whose videos, and how long ones, a person prefers: learned where people differ in it, and left out where not."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.clock import DAY, HOUR
from recsys.data.impressions import (
    Past,
    past_interactions,
    past_responses,
    people_places,
    ranker_query,
    read_impressions,
    read_log,
)
from recsys.data.tables import Dataset, read_dataset, write_dataset
from recsys.models.affinity import Form, affinities
from recsys.models.blend import Blend
from recsys.models.features import FeatureInputs, build_item_facts
from recsys.models.popularity import Popularity
from recsys.vocabulary import CREATOR_KINDS
from training.models.form import MAX_SCALE, N_LENGTHS, creator_kinds, form_scale, length_groups
from training.models.ranker import EarlierModels, RankerResult, fit
from training.models.ranker_heads import RankerParams

T0 = 1_790_000_000_000
N_ITEMS, N_USERS, PER_DAY, N_DAYS = 120, 60, 10, 10
KINDS = ("professional", "peer")
DURATIONS = (15.0, 45.0, 90.0, 300.0)


def world(folder: Path, *, taste: str) -> Dataset:
    """
    Each person is shown a hundred videos. Of those that they have a `taste` for they watch nine tenths, of others one:
    by kind even people prefer professionals and odd ones peers, by length even people prefer short videos.
    """
    rng = np.random.default_rng(3)
    kind = np.arange(N_ITEMS) % 10 % 2  # of the creator
    length = np.arange(N_ITEMS) // 10 % 4
    rows = []
    for user in range(N_USERS):
        deck = rng.permutation(N_ITEMS)[: PER_DAY * N_DAYS].tolist()
        for place, item in enumerate(deck):
            fits = {"kind": kind[item] == user % 2, "length": (length[item] < 2) == (user % 2 == 0)}
            chance = 0.9 if fits.get(taste, rng.random() < 0.5) else 0.1
            at = T0 + place // PER_DAY * DAY + user * HOUR // 4 + place
            key = (f"u{user}", f"v{item:03d}")
            rows.append((*key, "impression", at, f"r{place // PER_DAY}-{user}", None))
            rows.append((*key, "view", at + 1, f"r{place // PER_DAY}-{user}", float(rng.random() < chance)))
            if rows[-1][-1] == 1.0:
                rows.append((*key, "complete", at + 2, f"r{place // PER_DAY}-{user}", None))
    ids = [f"v{n:03d}" for n in range(N_ITEMS)]
    names = ("user_id", "item_id", "kind", "at", "request_id", "watch_fraction")
    write_dataset(
        folder,
        creators=pl.DataFrame(
            {
                "creator_id": [f"c{n}" for n in range(10)],
                "country": ["MA"] * 10,
                "kind": [KINDS[n % 2] for n in range(10)],
            }
        ),
        items=pl.DataFrame(
            {
                "item_id": ids,
                "creator_id": [f"c{n % 10}" for n in range(N_ITEMS)],
                "published_at": [T0 - DAY] * N_ITEMS,
                "title": ids,
                "risk_tier": ["R0"] * N_ITEMS,
                "duration_s": [DURATIONS[n] for n in length],
            }
        ),
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(N_USERS)], "country": ["MA"] * N_USERS}),
        events=pl.DataFrame(rows, schema=names, orient="row").with_row_index("event_id").cast({"event_id": pl.String}),
    )
    return read_dataset(folder)


def nothing_learned(_: int) -> EarlierModels:
    popularity = Popularity((), np.zeros((1, N_ITEMS), np.float32))
    return EarlierModels(spaces={}, popularity=popularity, blend=lambda: Blend({}, {}))


def fitted(data: Dataset) -> RankerResult:
    params = RankerParams(min_actions=5, trees=0)
    tables = data.items.collect(), data.creators.collect()
    return fit(data, *tables, nothing_learned, None, params, np.random.default_rng(0), market="MA")


def affinity_of(data: Dataset, result: RankerResult, person: int) -> np.ndarray:
    """(N_ITEMS,) of a person of the log."""
    assert result.heads is not None
    items = data.items.collect()
    log = read_log(data, items)
    shown = read_impressions(log, 0, None)
    past = Past(past_interactions(log), past_responses(shown, N_USERS), people_places(log, "MA"))
    inputs = FeatureInputs(
        spaces={}, popularity=nothing_learned(0).popularity, facts=build_item_facts(items, data.creators.collect()),
        rates=result.heads.rates, item_features=result.heads.item_features, form=result.heads.form,
    )  # fmt: skip
    query = ranker_query(person, T0 + 90 * DAY, past, inputs)
    return affinities(inputs.item_features, inputs.embed_user(query.responses), np.arange(N_ITEMS, dtype=np.int32))


@pytest.mark.parametrize(
    ("taste", "form"),
    [("kind", Form(len(CREATOR_KINDS), 0)), ("length", Form(0, N_LENGTHS)), ("neither", Form())],
)
def test_people_who_differ_in_a_form_have_an_affinity_to_it_and_others_have_none(
    taste: str, form: Form, tmp_path: Path
) -> None:
    data = world(tmp_path, taste=taste)
    result = fitted(data)
    assert result.heads is not None and result.heads.form == form
    first = {"kind": np.arange(N_ITEMS) % 10 % 2 == 0, "length": np.arange(N_ITEMS) // 10 % 4 < 2}.get(taste)
    if first is not None:
        even, odd = affinity_of(data, result, 0), affinity_of(data, result, 1)
        assert even[first].min() > even[~first].max() and odd[first].max() < odd[~first].min()


def test_the_more_people_differ_the_less_their_preference_is_shrunk() -> None:
    rng = np.random.default_rng(0)
    people, codes = np.repeat(np.arange(200, dtype=np.int32), 20), rng.integers(1, 5, 4_000).astype(np.int32)
    taste = rng.normal(size=(200, 5))[people, codes]
    noise = rng.normal(size=4_000)
    scales = [form_scale(noise + size * taste, people, codes) for size in (0.2, 0.35, 3.0)]
    assert 0 < scales[0] < scales[1] < scales[2] <= MAX_SCALE
    assert form_scale(noise, people, np.zeros(4_000, np.int32)) == 0.0  # unknown forms are nobody's preference
    assert form_scale(noise[:1], people[:1], codes[:1]) == 0.0
    assert form_scale(noise[:0], people[:0], codes[:0]) == 0.0


def test_kinds_are_those_of_creators_and_unknown_ones_are_none() -> None:
    items = pl.DataFrame({"creator_id": ["b", "a", "gone", "b"]})
    creators = pl.DataFrame(
        {"creator_id": ["a", "b"], "kind": ["peer", None]}, {"creator_id": pl.String, "kind": pl.String}
    )
    assert creator_kinds(items, creators).tolist() == [0, 1 + CREATOR_KINDS.index("peer"), 0, 0]
    assert creator_kinds(items, creators.drop("kind")).tolist() == [0] * 4


def test_lengths_are_quarters_of_the_catalogue_and_unknown_ones_are_none() -> None:
    lengths = np.array([np.nan, 10, 20, 30, 40, 50, 60, 70, 80], np.float32)
    assert length_groups(lengths).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert length_groups(np.full(3, np.nan, np.float32)).tolist() == [0, 0, 0]
    assert length_groups(np.full(3, 7.0, np.float32)).min() >= 1  # all alike: one group
    assert length_groups(np.empty(0, np.float32)).tolist() == []
