"""
Fitting the learned ranker, without looking ahead.

    events   ... the spaces learn ... | the trees learn | calibration and mixing |  held out for `sanad eval`
                                    first             then                     until

The spaces, popularity and rates that the trees read are fitted once more on what came before `first`, because a space
that has seen an interaction knows the answer. Calibration and mixing use models of what came before `then`, as the
artifact's own, fitted to everything before `until`, will meet later days. Beside weaker spaces the trees would get too
large a weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from recsys.clock import Millis
from recsys.data.impressions import (
    Impressions,
    Log,
    Past,
    feature_matrix,
    open_since,
    past_interactions,
    past_responses,
    people_places,
    read_impressions,
    read_log,
)
from recsys.data.tables import Dataset
from recsys.models.affinity import Form
from recsys.models.blend import Blend
from recsys.models.features import RESPONSE, FeatureInputs, ItemFacts, build_item_facts, feature_names
from recsys.models.popularity import Popularity
from recsys.models.ranker import RankerHeads
from recsys.models.standardised_space import standardise_space
from recsys.progress import Progress, quiet
from recsys.types import Floats, Ids, Space
from training.models.form import creator_kinds, form_columns, length_groups
from training.models.item_features import item_features
from training.models.languages import LanguageMix, fit_language_mix
from training.models.mixing_weight import LateImpressions, Mixing, choose_mixing
from training.models.ranker_heads import RankerParams, fit_heads, head_aucs, trainable_heads
from training.models.rates import cross_fitted_columns, fit_rates


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EarlierModels:
    """Models of the events before an instant; `blend` fits the blend when it is called."""

    spaces: Mapping[str, Space]
    popularity: Popularity
    blend: Callable[[], Blend]


FitBefore = Callable[[Millis], EarlierModels]
"""Fits the models of what happened before an instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerResult:
    """
    The heads, or None; metrics; the outcome in words. Heads with a mixing weight of 0 are of no use to an artifact.
    `content_share`: how much of the weight of content stays. `language_mix`: see `training.models.languages`.
    `yardstick`: by which content share and mixing weight were chosen; None where they were not.
    """

    heads: RankerHeads | None
    metrics: Mapping[str, float]
    summary: str
    content_share: float = 1.0
    language_mix: LanguageMix = field(default_factory=LanguageMix)
    yardstick: str | None = None


def fit(
    data: Dataset,
    items: pl.DataFrame,
    creators: pl.DataFrame,
    fit_before: FitBefore,
    until: Millis | None,
    params: RankerParams,
    rng: np.random.Generator,
    *,
    market: str,
    on_progress: Progress = quiet,
) -> RankerResult:
    """
    The heads of an artifact whose items are `items`. Equal inputs give equal heads.

    `until` is the cutoff, None when nothing is held out; `market` stands in for an unknown country.
    """
    logged = _read_logged(data, items, creators, until, market)
    instants = _find_instants(logged.log, until, params)
    if instants is None:
        return RankerResult(heads=None, metrics={}, summary="none: no impression was logged")
    everything, facts, (first, then) = logged.everything, logged.facts, instants
    shown = everything.take(np.arange(max(len(everything) - params.max_impressions, 0), len(everything)))
    is_late = shown.at >= then
    names = trainable_heads(shown.did, is_late, params.min_actions)
    if not names:
        summary = "none: too few actions after impressions were logged"
        expected = fit_rates(everything, facts.creator, until)[:, RESPONSE]
        return RankerResult(heads=None, metrics={}, summary=summary, language_mix=logged.language_mix(expected, rng))
    models = {at: fit_before(at) for at in (first, then)}
    features = item_features(facts.topics, facts.language, models[then].spaces.get("text"), int(rng.integers(2**31)))
    rates = {at: fit_rates(everything, facts.creator, at) for at in models}
    before = everything.take(everything.at < then)
    form, n_form = form_columns(logged.kinds, length_groups(facts.duration_s), before, rates[then][:, RESPONSE])
    features = np.hstack([features, form])
    inputs = {at: _feature_inputs(model, facts, rates[at], features, n_form) for at, model in models.items()}
    on_progress("ranker", 0, None)
    table = _feature_table(shown, logged.past, inputs, facts)
    scale, heads = fit_heads(names, table, shown, is_late, params, int(rng.integers(2**31)))
    unmixed = RankerHeads(
        features=feature_names(inputs[then].spaces), scale=scale, heads=heads, rates=inputs[then].rates,
        item_features=inputs[then].item_features, mixing_weight=0.0, base_scale=1.0, head_scale=0.0, form=n_form,
    )  # fmt: skip
    late = LateImpressions(
        log=logged.log, inputs=inputs[then], blend=models[then].blend(), past=logged.past, shown=shown,
        is_learnable=logged.log.items["is_learnable"].to_numpy(),
        is_r1=(items["risk_tier"] == "R1").fill_null(value=False).to_numpy(),
        open_since=open_since(facts.published_at, everything), then=then,
    )  # fmt: skip
    mixing = choose_mixing(unmixed, late, params.weights, rng)
    aucs = head_aucs(unmixed, table, shown, is_late)
    final = fit_rates(everything, facts.creator, until)
    result = _result(replace(unmixed, rates=final), mixing, aucs)
    return replace(result, language_mix=logged.language_mix(final[:, RESPONSE], rng))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Logged:
    """
    What the log says before the cutoff: every impression, the facts of items with the `kinds` (n_items,) of their
    creators, and what is known of people.
    """

    log: Log
    everything: Impressions
    facts: ItemFacts
    kinds: Ids
    past: Past

    def language_mix(self, expected: Floats, rng: np.random.Generator) -> LanguageMix:
        """See `training.models.languages`."""
        is_learnable = self.log.items["is_learnable"].to_numpy()
        return fit_language_mix(self.everything, self.past.places.languages, self.facts, expected, is_learnable, rng)


def _read_logged(
    data: Dataset, items: pl.DataFrame, creators: pl.DataFrame, until: Millis | None, market: str
) -> _Logged:
    log = read_log(data, items)
    everything = read_impressions(log, 0, until)
    responses, places = past_responses(everything, len(log.people)), people_places(log, market)
    past = Past(past_interactions(log, until), responses, places)
    facts, kinds = build_item_facts(items, creators), creator_kinds(items, creators)
    return _Logged(log=log, everything=everything, facts=facts, kinds=kinds, past=past)


def _result(heads: RankerHeads, mixing: Mixing, aucs: Mapping[str, float]) -> RankerResult:
    metrics = {
        "content_share": mixing.content_share,
        "ranker_mixing_weight": mixing.mixing_weight,
        **aucs,
        **mixing.metrics,
    }
    mixed = replace(
        heads, mixing_weight=mixing.mixing_weight, base_scale=mixing.base_scale, head_scale=mixing.head_scale
    )
    return RankerResult(
        heads=mixed, metrics=metrics, summary=_summary(metrics), content_share=mixing.content_share,
        yardstick=mixing.yardstick,
    )  # fmt: skip


def _feature_inputs(
    models: EarlierModels, facts: ItemFacts, item_rates: Floats, features: Floats, form: Form
) -> FeatureInputs:
    spaces = {name: standardise_space(space) for name, space in models.spaces.items()}
    return FeatureInputs(
        spaces=spaces, popularity=models.popularity, facts=facts, rates=item_rates, item_features=features,
        form=form,
    )  # fmt: skip


def _feature_table(shown: Impressions, past: Past, inputs: Mapping[Millis, FeatureInputs], facts: ItemFacts) -> Floats:
    """
    (n, n_features) of all impressions. The late ones have models and rates of what came before them.

    Of the others, what the spaces and popularity say is known only after they stopped learning; rates and affinity come
    from other impressions (cross-fitting), so that nearly the whole log teaches the heads.
    """
    first, then = min(inputs), max(inputs)  # one instant for both where many impressions have the same
    early, late = inputs[first], inputs[then]
    is_late = shown.at >= then
    table = np.empty((len(shown), len(feature_names(early.spaces))), np.float32)
    table[is_late] = feature_matrix(shown.take(is_late), past, late)
    table[~is_late] = feature_matrix(shown.take(~is_late), past, early)
    columns = {name: column for column, name in enumerate(feature_names(early.spaces))}
    for name in (*(f"space_{space}" for space in early.spaces), "popular"):
        table[shown.at < first, columns[name]] = np.nan
    for name, values in cross_fitted_columns(shown.take(~is_late), facts.creator, early.item_features).items():
        table[~is_late, columns[name]] = values
    return table


def _find_instants(log: Log, until: Millis | None, params: RankerParams) -> tuple[Millis, Millis] | None:
    """Where the spaces and then the trees stop learning, by shares of the impressions; None without impressions."""
    before = True if until is None else pl.col("at") < until
    at = log.events.filter("is_learnable", pl.col("kind").is_in(["impression", "view"]), before).select("at").sort("at")
    times = at.collect(engine="streaming")["at"]
    if not len(times):
        return None
    begin = max(round(params.space_share * len(times)), len(times) - params.max_impressions)
    tree_part = (params.tree_share - params.space_share) / (1 - params.space_share)
    end = round(begin + tree_part * (len(times) - begin))
    return int(times[min(begin, len(times) - 1)]), int(times[min(end, len(times) - 1)])


def _summary(metrics: Mapping[str, float]) -> str:
    if "ranker_people" not in metrics:
        return "none: nobody came back after the heads stopped learning"
    without, with_ = (
        f"{metrics[f'ranker_watch_{k}']:.3f} (NDCG@20 as exposed {metrics[f'ranker_ndcg_exposed_{k}']:.4f})"
        for k in ("without", "with")
    )
    return (
        f"mixing weight {metrics['ranker_mixing_weight']:.0%}; estimated watch fraction {without} without it, {with_} "
        f"with it ({metrics['ranker_people']:.0f} people, on the last days before the cutoff)"
    )
