"""The one place that puts an engine together."""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Final

import msgspec
import polars as pl

from recsys.catalogue.cache import CatalogueCache
from recsys.catalogue.saved import table_key
from recsys.clock import Millis
from recsys.experiments.payload import Experiments
from recsys.exposure.counts import CreatorExposure
from recsys.feed.context import EngineResources
from recsys.feed.engine import Engine, unwatched
from recsys.feed.pipeline import in_time
from recsys.feed.plan import Plan
from recsys.models.artifact import Artifact
from recsys.models.loaded import build_models
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.schema import Market
from recsys.safety.harm_terms import HarmTerms, starter_harm_terms
from recsys.stores.protocols import Catalogue, ControllerStore, CreatorChange, ItemChange, Stores
from recsys.text.clusters import Wording
from recsys.types import JsonObject


def build_engine(
    artifact: Artifact,
    market: Market,
    experiments: Experiments,
    *,
    stores: Stores,
    key: bytes,
    new_id: Callable[[], str],
    at: Millis,
    alert: Callable[[str], None] = lambda sentence: None,
    harm_terms: HarmTerms | None = None,
    time_used: Callable[[], float] = in_time,
    on_page: Callable[[Plan, float], None] = unwatched,
) -> Engine:
    """
    An engine over an artifact, a policy and stores. The artifact's items are put into the catalogue first; rows that
    were edited over the wire stay as they are. `harm_terms` are those by which searches for harm are known: None is the
    starter list, `NO_TERMS` none at all.
    """
    note_label_rules(stores, market, at)
    model = build_models(artifact)
    cache = CatalogueCache(catalogue=stores.catalogue, market=market, creators={}, rows=model.rows)
    with _without_collector():
        put_artifact(stores.catalogue, artifact, at)
        cache.begin(stores, table_key(market, artifact.version))
    resources = EngineResources(
        activated_at=first_activation(stores.controllers, model.version, at),
        policy=CompiledPolicy(market),
        model=model,
        experiments=experiments,
        catalogue_cache=cache,
        exposure=CreatorExposure(stores.exposure, stores.controllers, market),
        harm_terms=starter_harm_terms() if harm_terms is None else harm_terms,
    )
    return Engine(
        resources=resources, stores=stores, key=key, new_id=new_id, timer=perf_counter, alert=alert,
        time_used=time_used, on_page=on_page,
    )  # fmt: skip


def with_rules(engine: Engine, market: Market, experiments: Experiments, at: Millis) -> Engine:
    """
    The engine by another policy and other experiments, with the model, stores and locks that it has. What depends on
    the experiments alone is swapped at once; another policy makes a new table of the catalogue. Raises StoreError.
    """
    resources, stores = engine.resources, engine.stores
    if market == resources.policy.market:
        return replace(engine, resources=replace(resources, experiments=experiments))
    note_label_rules(stores, market, at)
    cache = CatalogueCache(
        catalogue=stores.catalogue, market=market, creators={}, rows=resources.model.rows,
        votes=resources.catalogue_cache.votes,
    )  # fmt: skip
    with _without_collector():
        cache.begin(stores, table_key(market, resources.model.version))
    changed = replace(
        resources, policy=CompiledPolicy(market), experiments=experiments, catalogue_cache=cache,
        exposure=CreatorExposure(stores.exposure, stores.controllers, market),
    )  # fmt: skip
    return replace(engine, resources=changed)


def put_artifact(catalogue: Catalogue, artifact: Artifact, at: Millis) -> None:
    """
    Put an artifact's creators and items, unless its items were put last. They are put in parts, and it is noted with
    the last one: after a crash in between, the next start puts all again.
    """
    catalogue.put_creators([CreatorChange(fields=fields, is_edited=False) for fields in _known(artifact.creators)], at)
    source = f"{artifact.version} in form {ITEM_CHANGES_FORM}"
    if catalogue.source() == source:
        return
    items = artifact.items.sort("published_at", maintain_order=True)
    for start in range(0, max(len(items), 1), _ITEMS_IN_PART):
        is_last = start + _ITEMS_IN_PART >= len(items)
        changes = item_changes(items[start : start + _ITEMS_IN_PART])
        catalogue.put(changes, at, source=source if is_last else None)


@contextmanager
def _without_collector() -> Iterator[None]:
    """
    What is made meanwhile has no cycles, and to look for them takes longer than to make it. Afterwards the system gets
    back what was freed, where the C library can give it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        if trim is not None:
            trim(0)


def first_activation(records: ControllerStore, version: str, at: Millis) -> Millis:
    """When an artifact was first activated in these stores: `at`, if it never was."""
    name = f"artifact {version}"
    known = records.read(name)
    if known is None and records.replace(name, None, msgspec.msgpack.encode(at)):
        return at
    return int(msgspec.msgpack.decode(records.read(name) or msgspec.msgpack.encode(at)))


def note_label_rules(stores: Stores, market: Market, at: Millis) -> None:
    """
    Where a policy reads labels by other numbers than the one before it in these stores, a new revision of the
    catalogue: tiers of now are compared with nothing older, so that everybody's past is counted again on it.

    The revision comes before the note: a crash in between costs one more count.
    """
    name = f"label rules {market.market}"
    rules = msgspec.msgpack.encode((market.label_threshold, market.grief_topic))
    known = stores.controllers.read(name)
    if known == rules:
        return
    if stores.users.read("").revision > 0:
        stores.catalogue.renew(at)
    stores.controllers.replace(name, known, rules)


ITEM_CHANGES_FORM: Final = 1  # grows when `item_changes` makes other rows of the same artifact
_ITEMS_IN_PART: Final = 10_000
_NOT_FIELDS: Final = ("text_id", "n_words")


def item_changes(items: pl.DataFrame) -> list[ItemChange]:
    """
    An artifact's items as changes of the live catalogue, in their order, which is oldest first: of copies the first to
    arrive is the original. Columns without a value are left out.
    """
    wordings = map(Wording, items["text_id"], items["n_words"])
    return [
        ItemChange(fields=fields, wording=wording, is_edited=False)
        for fields, wording in zip(_known(items.drop(_NOT_FIELDS)), wordings, strict=True)
    ]


def _known(table: pl.DataFrame) -> Iterator[JsonObject]:
    """The rows of a table without what is unknown."""
    names = table.columns
    for row in table.rows():
        yield {name: value for name, value in zip(names, row, strict=True) if value is not None}
