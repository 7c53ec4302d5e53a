"""
The decision record: everything a page was chosen from, small enough to keep, complete enough to choose it again.

It holds the ledger before the page, the effective limits, and for every candidate its number, float32 score and rule
columns, beside seed, time and versions. `replay` reproduces rows, propensities and shortfall exactly from these bytes.
"""

import zlib
from typing import Final

import msgspec
import numpy as np

from recsys.clock import Millis
from recsys.feed.plan import Plan
from recsys.feed.slate import Selection, Supply, select
from recsys.messages import FeedRequest
from recsys.policy.limits import Limits
from recsys.safety.copies import COLUMNS
from recsys.types import Candidates, Column, Fields, JsonObject
from recsys.user.state import Ledger

FORMAT: Final = 3
RULES: Final = {
    "tier": "i1",
    "family": "i1",
    "is_s4": "?",
    "is_supportive": "?",
    "is_local": "?",
    "match": "i1",
    "creator_no": "<i8",
    **COLUMNS,
    "topics": "<i2",
    "is_explorable": "?",
    "is_new_creator": "?",
}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One page's record. `columns` and `parts` are raw little-endian bytes, one row per candidate, best first."""

    format: int = FORMAT
    request_id: str
    user_id: str
    at: Millis
    size: int
    seed: int
    surface: str
    request: bytes  # as JSON: what re-retrieval asks again
    languages: tuple[str, ...]
    model_version: str
    policy_version: str
    experiments: dict[str, str]
    catalogue_revision: int
    age_band: str
    loop_level: int
    is_night: bool
    is_bound_by_night: bool
    degraded: list[str]
    weights: dict[str, float]
    limits: Limits
    personal_limits: Limits  # the part of them that is not the market's, so that another market policy can be tried
    supply: Supply
    supply_factor: float
    explore_slots: int
    new_creator_share: float
    ledger: Ledger
    item_nos: bytes
    scores: bytes
    columns: dict[str, bytes]
    parts: dict[str, bytes]  # float16: for people, not for the replay
    sources: list[str]
    from_sources: bytes  # bit n = sources[n]
    removed: dict[str, int]  # candidates, by the filter that took them out
    lost: dict[str, int]  # items of the whole catalogue by filter, when the page is short
    chosen: list[int]  # rows
    propensities: bytes
    forced: list[str]
    floor_missed: list[str]
    explore_from: int = 0


_DECODER: Final = msgspec.msgpack.Decoder(Decision)


def pack(decision: Decision) -> bytes:
    """A record as bytes."""
    return zlib.compress(msgspec.msgpack.encode(decision), 1)


def unpack(data: bytes) -> Decision:
    """
    The inverse of `pack`, also of a record of an older format. Raises `msgspec.ValidationError`,
    `msgspec.DecodeError` or `zlib.error` on other bytes.
    """
    packed = zlib.decompress(data)
    if _FORMAT_OF.decode(packed).format < FORMAT:
        return msgspec.convert(_upgrade(msgspec.msgpack.decode(packed)), Decision)
    return _DECODER.decode(packed)


class _Format(msgspec.Struct):
    """The one field of a record that says how to read the others."""

    format: int


_FORMAT_OF: Final = msgspec.msgpack.Decoder(_Format)
_FORMER_FIELDS: Final = {"own_limits": "personal_limits", "newcomer_share": "new_creator_share"}
_FORMER_COLUMNS: Final = {"is_newcomer": "is_new_creator", "cluster_no": "hash_no"}  # a cluster joined both ways


def _upgrade(record: Fields) -> JsonObject:
    """A record of format 1 or 2 as one of format 3: its clusters are the only joins."""
    fields = {_FORMER_FIELDS.get(name, name): value for name, value in record.items()}
    n = len(record["item_nos"]) // np.dtype("<i4").itemsize
    no_joins = {name: np.zeros(n, dtype).tobytes() for name, dtype in COLUMNS.items()}
    columns = {_FORMER_COLUMNS.get(name, name): column for name, column in record["columns"].items()}
    return {**fields, "columns": {**no_joins, **columns}, "format": FORMAT}


def decision_of(request: FeedRequest, plan: Plan) -> Decision:
    """The record of a page. The words of a search are not in it."""
    context, query, candidates, selection = plan.context, plan.context.query, plan.candidates, plan.selection
    sources, bits = source_bits(candidates)
    parts = {name: column for name, column in candidates.columns.items() if name.startswith("p_")}
    return Decision(
        request_id=query.request_id,
        user_id=query.viewer.user_id,
        at=context.at,
        size=query.size,
        seed=query.seed,
        surface=query.surface,
        request=msgspec.json.encode(msgspec.structs.replace(request, query=None)),
        languages=query.viewer.languages,
        model_version=query.model.version,
        policy_version=query.market.version,
        experiments=dict(context.assignment.variants),
        catalogue_revision=query.items.revision,
        age_band=query.viewer.age_band,
        loop_level=context.state.safety.loop.level,
        is_night=context.is_night,
        is_bound_by_night=context.is_bound_by_night,
        degraded=list(plan.degraded),
        weights=dict(query.weights),
        limits=query.limits,
        personal_limits=context.personal_limits,
        supply=context.supply,
        supply_factor=query.market.locality.supply_factor,
        explore_slots=query.market.exploration.slots,
        explore_from=query.market.exploration.draw_from,
        new_creator_share=query.market.locality.new_creator.share,
        ledger=context.state.safety.ledger,
        item_nos=candidates.item_nos.astype("<i4").tobytes(),
        scores=candidates["score"].astype("<f4").tobytes(),
        columns=columns_of(candidates),
        parts={name: column.astype("<f2").tobytes() for name, column in parts.items()},
        sources=sources,
        from_sources=bits,
        removed={name: len(numbers) for name, numbers in plan.ranked.removed.items()},
        lost=dict(plan.lost),
        chosen=selection.rows.tolist(),
        propensities=selection.propensities.astype("<f4").tobytes(),
        forced=list(selection.forced),
        floor_missed=[f"{miss.name}: {miss.reason}" for miss in selection.floor_missed],
    )


def columns_of(candidates: Candidates) -> dict[str, bytes]:
    """The rule columns as bytes."""
    return {name: np.ascontiguousarray(candidates[name], dtype).tobytes() for name, dtype in RULES.items()}


def source_bits(candidates: Candidates) -> tuple[list[str], bytes]:
    """Which sources returned each candidate."""
    names = [name.removeprefix("rank_") for name in candidates.columns if name.startswith("rank_")]
    bits = np.zeros(len(candidates), "<u2")
    for n, name in enumerate(names):
        bits |= (~np.isnan(candidates[f"rank_{name}"])).astype("<u2") << n
    return names, bits.tobytes()


def candidates_of(decision: Decision) -> Candidates:
    """The candidates of a record, with the columns that the slot loop reads."""
    columns: dict[str, Column] = {name: np.frombuffer(decision.columns[name], dtype) for name, dtype in RULES.items()}
    columns["score"] = np.frombuffer(decision.scores, "<f4")
    bits = np.frombuffer(decision.from_sources, "<u2")
    for n, name in enumerate(decision.sources):
        columns[f"rank_{name}"] = np.where(bits >> n & 1, 1.0, np.nan)
    for name, part in decision.parts.items():
        columns[name] = np.frombuffer(part, "<f2")
    return Candidates(np.frombuffer(decision.item_nos, "<i4"), columns)


def replay(decision: Decision) -> Selection:
    """The page chosen again, from the record alone."""
    return select(
        candidates_of(decision),
        ledger=decision.ledger,
        limits=decision.limits,
        supply=decision.supply,
        supply_factor=decision.supply_factor,
        size=decision.size,
        at=decision.at,
        rng=np.random.default_rng([decision.seed, 2]),
        explore_slots=decision.explore_slots,
        explore_from=decision.explore_from,
        new_creator_share=decision.new_creator_share,
    )
