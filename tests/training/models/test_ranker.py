"""Laws of fitting the ranker: no look ahead, nothing from risk, no credit for position, calibrated probabilities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.clock import DAY, HOUR, Millis
from recsys.data.impressions import (
    Impressions,
    Log,
    Past,
    PastInteractions,
    feature_matrix,
    past_interactions,
    past_responses,
    people_places,
    ranker_query,
    read_impressions,
    read_log,
)
from recsys.data.tables import Dataset, read_dataset, write_dataset
from recsys.feed.scorers import asked_of
from recsys.models.artifact import load_artifact
from recsys.models.blend import Blend
from recsys.models.features import FeatureInputs, RankerQuery, build_item_facts, feature_names, ranker_features
from recsys.models.ials import IALSParams
from recsys.models.loaded import build_models
from recsys.models.popularity import Popularity
from recsys.types import History, Responses
from recsys.vocabulary import HEADS
from training.models.mixing_weight import CONTENT_SHARES, ChoiceEstimate, best_choice, choose_mild, last_as_good
from training.models.ranker import EarlierModels, RankerResult, fit
from training.models.ranker_heads import RankerParams, fit_heads, fit_platt, propensity_weights
from training.models.settings import BlendParams
from training.params import TrainParams
from training.train import run

T0: Millis = 1_790_000_000_000
N_ITEMS, N_USERS, PER_DAY, N_DAYS = 120, 40, 10, 12
RISKY = 100  # items from here on are R2
PARAMS = RankerParams(min_actions=5, trees=30, max_weight_ratio=1.0)


def world(folder: Path, *, by_place: bool = False, risky: str | None = None) -> Dataset:
    """
    Every day each person is shown ten videos that they never met. They like a good one (even number) three times in
    four and another one in ten; or, `by_place`, whatever stands among the first three. `risky` is what they do with
    every R2 they meet.
    """
    rng = np.random.default_rng(5)
    rows: list[tuple[str, str, str, Millis, str, int]] = []
    decks = [rng.permutation(N_ITEMS).tolist() for _ in range(N_USERS)]
    for day in range(N_DAYS):
        for user, deck in enumerate(decks):
            for place, item in enumerate(deck[day * PER_DAY : (day + 1) * PER_DAY], 1):
                at = T0 + day * DAY + user * HOUR // 4 + place
                key = (f"u{user}", f"v{item:03d}")
                rows.append((*key, "impression", at, f"r{day}-{user}", place))
                chance = 0.75 if (place <= 3 if by_place else item % 2 == 0) else 0.1
                if rng.random() < chance and item < RISKY:
                    rows.append((*key, "like", at + 5, f"r{day}-{user}", place))
                if risky and item >= RISKY:
                    rows.append((*key, risky, at + 6, f"r{day}-{user}", place))
    names = ("user_id", "item_id", "kind", "at", "request_id", "position")
    ids = [f"v{n:03d}" for n in range(N_ITEMS)]
    write_dataset(
        folder,
        creators=pl.DataFrame({"creator_id": [f"c{n}" for n in range(10)], "country": ["MA"] * 10}),
        items=pl.DataFrame(
            {
                "item_id": ids,
                "creator_id": [f"c{n % 10}" for n in range(N_ITEMS)],
                "published_at": [T0 - DAY] * N_ITEMS,
                "title": ids,
                "risk_tier": ["R0"] * RISKY + ["R2"] * (N_ITEMS - RISKY),
            }
        ),
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(N_USERS)], "country": ["MA"] * N_USERS}),
        events=pl.DataFrame(rows, schema=names, orient="row").with_row_index("event_id").cast({"event_id": pl.String}),
    )
    return read_dataset(folder)


def nothing_learned(_: Millis) -> EarlierModels:
    """No space, and a popularity that says nothing: what is left are rates, facts and the place."""
    popularity = Popularity((), np.zeros((1, N_ITEMS), np.float32))
    return EarlierModels(spaces={}, popularity=popularity, blend=lambda: Blend({}, {}))


def fitted(data: Dataset, params: RankerParams = PARAMS, until: Millis | None = None) -> RankerResult:
    tables = data.items.collect(), data.creators.collect()
    return fit(data, *tables, nothing_learned, until, params, np.random.default_rng(0), market="MA")


def text_of(result: RankerResult) -> dict[str, str]:
    assert result.heads is not None
    return {
        name: f"{head.coefficients.tolist()} {head.booster and head.booster.model_to_string()}"
        for name, head in result.heads.heads.items()
    }


def chances(result: RankerResult, data: Dataset, name: str) -> np.ndarray:
    """What somebody without a history is expected to do with every video."""
    heads = result.heads
    assert heads is not None
    popularity = nothing_learned(0).popularity
    facts = build_item_facts(data.items.collect(), data.creators.collect())
    basis = FeatureInputs(
        spaces={}, popularity=popularity, facts=facts, rates=heads.rates, item_features=heads.item_features
    )
    who = RankerQuery(
        country="MA", region=None, languages=(), at=T0 + 12 * DAY, history=History.empty(), responses=Responses.empty(),
        vectors={},
    )  # fmt: skip
    return heads.predict(ranker_features(who, basis, np.arange(N_ITEMS, dtype=np.int32)))[name]


def test_what_people_like_is_learned_and_its_probability_is_calibrated(tmp_path: Path) -> None:
    data = world(tmp_path)
    result = fitted(data)
    found = chances(result, data, "like")
    good = np.arange(RISKY) % 2 == 0
    assert found[:RISKY][good].mean() == pytest.approx(0.75, abs=0.15)
    assert found[:RISKY][~good].mean() == pytest.approx(0.10, abs=0.05)
    assert result.heads is not None and result.heads.mixing_weight > 0
    assert result.metrics["ranker_impression_auc_with"] > result.metrics["ranker_impression_auc_without"] + 0.2


def test_equal_inputs_give_equal_heads(tmp_path: Path) -> None:
    data = world(tmp_path)
    first, second = fitted(data), fitted(data)
    assert text_of(first) == text_of(second) and first.metrics == second.metrics


@pytest.mark.parametrize("kind", ["like", "complete", "helped", "share"])
def test_no_action_on_a_risky_item_moves_a_head(tmp_path: Path, kind: str) -> None:
    calm, risky = world(tmp_path / "calm"), world(tmp_path / "risky", risky=kind)
    assert risky.events.collect().height > calm.events.collect().height + 500
    first, second = fitted(calm), fitted(risky)
    assert text_of(first) == text_of(second) and first.metrics == second.metrics
    assert first.heads is not None and second.heads is not None
    np.testing.assert_array_equal(first.heads.rates, second.heads.rates)


def test_what_the_position_decided_does_not_count_against_an_item(tmp_path: Path) -> None:
    data = world(tmp_path, by_place=True)
    found = chances(fitted(data), data, "like")[:RISKY]
    assert found.min() > 0.5 and found.mean() == pytest.approx(0.75, abs=0.1)  # over all places it was 0.3


def test_events_after_the_cutoff_are_never_read(tmp_path: Path) -> None:
    data = world(tmp_path)
    until = T0 + 9 * DAY
    cut = replace(data, events=data.events.filter(pl.col("at") < until))
    first, second = fitted(data, until=until), fitted(cut)
    assert text_of(first) == text_of(second) and first.metrics == second.metrics


def test_a_log_without_impressions_or_with_few_actions_gives_no_ranker_and_says_so(tmp_path: Path) -> None:
    data = world(tmp_path)
    likes = replace(data, events=data.events.filter(pl.col("kind") == "like"))
    assert fitted(likes).heads is None and "no impression" in fitted(likes).summary
    few = fitted(data, replace(PARAMS, min_actions=100_000))
    assert few.heads is None and "too few actions" in few.summary


def test_what_was_shown_could_be_shown_though_its_row_tells_a_later_publication(tmp_path: Path) -> None:
    """Some catalogues tell when they were last imported: then nothing would be open, and every ranking as good."""
    data = world(tmp_path)
    imported = replace(data, items=data.items.with_columns(published_at=pl.lit(T0 + 90 * DAY)))
    for name in ("ranker_watch_with", "ranker_ndcg_exposed_with"):
        assert fitted(imported).metrics[name] == pytest.approx(fitted(data).metrics[name], rel=0.1)


def test_a_log_that_only_knows_dates_may_have_one_instant_for_both_parts(tmp_path: Path) -> None:
    data = world(tmp_path)
    date = pl.when(pl.col("at") < T0 + N_DAYS // 2 * DAY).then(T0).otherwise(T0 + N_DAYS // 2 * DAY)
    assert fitted(replace(data, events=data.events.with_columns(at=date))).heads is not None


def test_training_and_serving_compute_the_same_features(tiny, make_service, tmp_path, evening) -> None:
    from recsys.messages import FeedRequest

    write_dataset(tmp_path, **{name: _empty_but(tiny, name) for name in ("creators", "items", "users", "events")})
    log = read_log(read_dataset(tmp_path), tiny.items)
    model = build_models(tiny)
    basis = FeatureInputs(
        spaces=model.spaces, popularity=tiny.popularity, facts=build_item_facts(tiny.items, tiny.creators),
        rates=np.zeros((len(tiny.items), 8), np.float32), item_features=np.zeros((len(tiny.items), 12), np.float32),
    )  # fmt: skip
    user = max(tiny.histories, key=lambda user_id: len(tiny.histories[user_id]))
    person = log.people["user_id"].to_list().index(user)
    service = make_service()
    query = service.engine.context(FeedRequest(user_id=user), evening).query
    past = Past(
        _of_histories(tiny, log),
        past_responses(read_impressions(log, 0, None), len(log.people)),
        people_places(log, "MA"),
    )
    logged = replace(ranker_query(person, query.at, past, basis), responses=query.responses)
    rows = np.arange(len(tiny.items), dtype=np.int32)
    assert len(query.history) > 10
    np.testing.assert_array_equal(ranker_features(logged, basis, rows), ranker_features(asked_of(query), basis, rows))


def _of_histories(tiny, log: Log) -> PastInteractions:
    """The histories of an artifact as those of a log."""
    histories = [tiny.histories.get(user_id, History.empty()) for user_id in log.people["user_id"]]
    flat = History(*(np.concatenate([getattr(h, name) for h in histories]) for name in ("items", "weights", "at")))
    return PastInteractions(indptr=np.concatenate(([0], np.cumsum([len(h) for h in histories]))), flat=flat)


def _empty_but(tiny, name: str) -> pl.DataFrame:
    if name != "events":
        from recsys.columns import TABLES

        known = next(table for table in TABLES if table.name == name)
        return getattr(tiny, name).select(c.name for c in known.columns)
    return pl.DataFrame({"event_id": ["e"], "user_id": ["nobody"], "kind": ["search"], "at": [T0], "query": ["x"]})


def test_features_of_a_slate_are_as_of_its_beginning(tmp_path: Path) -> None:
    data = world(tmp_path)
    items = data.items.collect()
    log = read_log(data, items)
    basis = FeatureInputs(
        spaces={}, popularity=nothing_learned(0).popularity, facts=build_item_facts(items, data.creators.collect()),
        rates=np.zeros((N_ITEMS, 8), np.float32), item_features=np.zeros((N_ITEMS, 12), np.float32),
    )  # fmt: skip
    shown = read_impressions(log, T0, T0 + DAY)
    past = Past(past_interactions(log), past_responses(shown, len(log.people)), people_places(log, "MA"))
    table = feature_matrix(shown, past, basis)
    for name in ("liked_creator", "mean_surprise"):
        assert (table[:, feature_names([]).index(name)] == 0).all()  # the first slate of everybody
    assert table[:, -1].tolist() == shown.position.tolist()


def test_propensity_weights_by_hand() -> None:
    logged = np.array([0.1, 0.2, 0.4, 0.002, np.nan, 0.0], np.float32)
    assert propensity_weights(logged, 3.0).tolist() == pytest.approx([1.5, 0.75, 0.375, 3.0, 1.0, 1.0])
    assert propensity_weights(logged[4:], 3.0).tolist() == [1.0, 1.0]
    no_probabilities = np.array([0.1, 0.2, 50.0, 70.0, 90.0], np.float32)
    assert propensity_weights(no_probabilities, 3.0).tolist() == pytest.approx([1.5, 0.75, 1.0, 1.0, 1.0])


def test_platt_scaling_fits_the_line_and_never_reverses_the_order() -> None:
    rng = np.random.default_rng(0)
    raw = rng.standard_normal(50_000)
    did = rng.random(50_000) < 1 / (1 + np.exp(-(0.5 * raw - 1.0)))
    assert fit_platt(raw, did) == pytest.approx((0.5, -1.0), abs=0.05)
    assert fit_platt(raw, ~did)[0] > 0


def estimate(value: float, *, of: int = 100, noise: float = 0.1, seed: int = 0) -> ChoiceEstimate:
    return ChoiceEstimate(value, np.random.default_rng(seed).normal(0, noise, of), float(of))


def test_a_choice_is_taken_only_where_it_is_better_by_more_than_a_standard_error() -> None:
    surely = [estimate(0.5), estimate(0.7, seed=1), estimate(0.6, seed=2)]
    assert best_choice(surely, fallback=2) == 1
    hardly = [estimate(0.5), estimate(0.505, seed=1)]  # the standard error of the difference is about 0.014
    assert best_choice(hardly, fallback=1) == 0
    paired = [estimate(0.5), estimate(0.505)]  # every user moves both alike: the difference is sure
    assert best_choice(paired, fallback=0) == 1
    assert best_choice([estimate(0.5, of=5), estimate(0.9, of=5)], fallback=7) == 7  # five people prove nothing
    assert best_choice([estimate(float("nan")), estimate(0.9)], fallback=7) == 7


def test_of_mixing_weights_that_are_as_good_the_one_with_most_of_the_heads_is_taken() -> None:
    flat = [estimate(0.5), estimate(0.7, seed=1), estimate(0.695, seed=2), estimate(0.6, seed=3)]
    assert last_as_good(flat, 1) == 2 and last_as_good(flat, 0) == 0 and last_as_good(flat[:2], 1) == 1


def test_more_r1_than_the_heads_alone_have_is_not_taken_for_more_watching() -> None:
    none, some, alone = estimate(0.5), estimate(0.9, noise=0), estimate(0.8, noise=0)
    assert choose_mild([none, some, alone]) == 1
    assert choose_mild([none, replace(some, r1_share=0.03), replace(alone, r1_share=0.02)]) == 2
    assert choose_mild([replace(some, r1_share=0.5), some, none]) == 0  # without heads is how it was before them


def test_serving_takes_the_share_of_content_that_training_found(make_service, morocco, evening) -> None:
    def content_of(share: float) -> float:
        service = make_service()
        model = replace(service.engine.resources.model, content_share=share, ranker=None)
        service = service.broken(resources=replace(service.engine.resources, model=model))
        service.ask("nobody", at=evening)
        return float(service.decisions("nobody")[0].weights["content"])

    assert [content_of(share) for share in CONTENT_SHARES] == [
        morocco.weights["content"] * share for share in CONTENT_SHARES
    ]


def test_the_weights_under_which_the_mixing_weight_is_chosen_are_those_of_the_shipped_policies(morocco, strict) -> None:
    assert {name: morocco.weights[name] for name in PARAMS.weights} == PARAMS.weights
    for name in ("cf", "content", "popular", *HEADS):
        assert strict.weights[name] == PARAMS.weights[name]
    assert set(HEADS) < set(PARAMS.weights)


def test_an_artifact_keeps_the_heads_that_help_and_leaves_out_those_that_do_not(tmp_path: Path) -> None:
    """Where cf and popularity weigh nothing, heads have something to add; where heads weigh nothing, they have not."""
    world(tmp_path / "data")
    alone = replace(PARAMS, weights={**PARAMS.weights, "cf": 0.0, "content": 0.0, "popular": 0.0})
    params = TrainParams(encoder=None, blend=BlendParams(ials=IALSParams(embedding_size=8)), ranker=alone)
    trained = run(tmp_path / "data", tmp_path / "model", params, T0 + 30 * DAY)
    loaded = load_artifact(tmp_path / "model")
    assert (
        loaded.ranker is not None
        and loaded.ranker.mixing_weight == trained.manifest.metrics["ranker_mixing_weight"] > 0
    )
    assert tuple(loaded.manifest.features) == feature_names(["cf"]) and build_models(loaded).ranker is not None
    useless = replace(PARAMS, weights={**PARAMS.weights, **dict.fromkeys(HEADS, 0.0)})
    for name, ranker in (("useless", useless), ("none", None)):
        trained = run(tmp_path / "data", tmp_path / name, replace(params, ranker=ranker), T0 + 30 * DAY)
        assert load_artifact(tmp_path / name).ranker is None
        assert trained.ranker.startswith("mixing weight 0%" if ranker else "none, as asked")


def test_heads_are_fitted_where_most_features_are_unknown() -> None:
    # Trees that split by what is unknown have an infinite threshold, which no artifact may hold.
    rng = np.random.default_rng(0)
    n, names = 4_000, feature_names(["cf"])
    table = rng.standard_normal((n, len(names))).astype(np.float32)
    table[: n // 2, 0] = np.nan
    did = np.zeros((n, len(HEADS)), np.bool_)
    did[:, 0] = rng.random(n) < np.where(np.isnan(table[:, 0]), 0.9, 0.1)
    shown = Impressions(
        people=np.zeros(n, np.int32), rows=np.zeros(n, np.int32), slate=np.arange(n), at=np.arange(n),
        position=np.ones(n, np.float32), propensity=np.ones(n, np.float32), did=did,
        response=np.zeros(n, np.float32), is_known=np.ones(n, np.bool_),
    )  # fmt: skip
    scale, heads = fit_heads([HEADS[0]], table, shown, rng.random(n) < 0.3, PARAMS, 0)
    assert np.isfinite(heads[HEADS[0]].predict(scale.standardise(table))).all()
