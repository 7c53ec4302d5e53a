"""
The decision record: everything a page was chosen from, small enough to keep, complete enough to choose it again.

It holds the ledger before the page, the effective limits, and for every candidate its number, float32 score and rule
columns, beside seed, time and versions. `replay` reproduces rows, propensities and shortfall exactly from these bytes.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from recsys.clock import Millis
from recsys.codes import deflate, inflate, pack_bits, unpack_bits, unpack_table
from recsys.errors import StoreError
from recsys.feed import compact
from recsys.feed.compiled_columns import code_columns_compiled
from recsys.feed.plan import Plan
from recsys.feed.slate import Selection, Supply, select
from recsys.feed.unlisted import unlisted_ids
from recsys.kernels import library
from recsys.messages import FeedRequest, RankRequest
from recsys.policy.limits import Limits
from recsys.safety.copies import COLUMNS
from recsys.strings import StringColumn
from recsys.types import Candidates, Column, Columns, Fields, Ids, Integers, JsonObject, Longs, Rows
from recsys.user.packed import PackedLedger, pack_ledger, unpack_ledger
from recsys.user.state import Ledger

FORMAT: Final = 5
LISTED: Final = 100
"""Candidates, best first, that people can look at one by one: of these a packed record keeps the sources."""

ROUGH_PARTS: Final = 40
"""Candidates, best first, of whom a packed record keeps the parts of the score in 8 bits, while there is room."""

RECORD_BYTES: Final = 3_100
"""
What a record may take with those parts: with its answer and its seal it fits one page of 4,096 bytes of a state file.
"""

_ITEM_BYTES: Final = 4  # of an item number
_SOURCE_BYTES: Final = 2  # of the bits that say which sources returned a candidate
_ZLIB: Final = b"\x78"  # how records of former formats start
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
    """
    One page's record. `columns` and `parts` are raw little-endian bytes, one row per candidate, best first.

    Of a candidate that was not shown a packed record keeps what the slot loop reads and little more. Its creator's
    number becomes one below 0, the same for all of the creator, unless the ledger knows them; it has no topics; a
    number of copies that no other candidate has becomes 0; its score is rounded to one of 256 steps. Behind the best
    100 nothing says which sources returned it or how near it is. `parts_to` is the first row without parts of its
    score. Those before it are rounded to 8 bits, as are parts of what was shown that weigh nothing; None = all are as
    they were.
    """

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
    parts_to: int | None = None
    unlisted: tuple[str, ...] = ()  # the ids of the last rows, of a caller's items that the catalogue did not hold


_IN_COLUMNS: Final = ("item_nos", "scores", "columns", "parts", "from_sources", "chosen", "parts_to", "ledger")


class _Tables(msgspec.Struct, frozen=True, array_like=True):
    """The deflated part of a packed record: what its codes mean, and every field that is no column."""

    fields: dict[str, Any]
    ledger: PackedLedger
    n: int
    chosen: list[int]
    kinds: bytes
    creators: bytes
    sources: bytes
    topics: bytes
    joins: dict[str, bytes]
    parts: compact.PartsTable


class _Codes(msgspec.Struct, frozen=True, array_like=True):
    """The columns as codes."""

    item_nos: bytes
    kinds: bytes
    creators: bytes
    sources: bytes
    scores: dict[str, bytes]


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """A packed record: deflated `_Tables`, packed `_Codes`, and the parts of scores, with the first row without any."""

    format: int
    tables: bytes
    codes: bytes
    parts: bytes
    parts_to: int


_PACKED: Final = msgspec.msgpack.Decoder(_Packed)
_TABLES: Final = msgspec.msgpack.Decoder(_Tables)
_CODES: Final = msgspec.msgpack.Decoder(_Codes)


def pack(decision: Decision) -> bytes:
    """A record as bytes, without what `replay` cannot tell apart; see `Decision` for what that is."""
    columns: dict[str, Column] = {name: np.frombuffer(decision.columns[name], dtype) for name, dtype in RULES.items()}
    shown, n = np.array(decision.chosen, np.intp), len(decision.item_nos) // _ITEM_BYTES
    creators = columns["creator_no"][shown]
    coded = _coded(decision, columns, creators)
    bits = np.frombuffer(b"".join(decision.parts.values()), "<u2").reshape(len(decision.parts), n)
    parts = compact.parts_table([*decision.parts], bits)
    tables = _Tables(
        fields={name: value for name, value in msgspec.structs.asdict(decision).items() if _is_field(name, value)},
        ledger=pack_ledger(decision.ledger),
        n=n,
        chosen=decision.chosen,
        kinds=coded.kinds[0],
        creators=creators.astype("<u4").tobytes(),
        sources=coded.sources[0],
        topics=columns["topics"][shown].tobytes(),
        joins=compact.pack_joins(columns),
        parts=parts,
    )
    codes = _Codes(
        item_nos=pack_bits(np.frombuffer(decision.item_nos, "<i4")),
        kinds=coded.kinds[1],
        creators=coded.creators,
        sources=coded.sources[1],
        scores=coded.scores,
    )
    deflated, encoded = deflate(msgspec.msgpack.encode(tables)), msgspec.msgpack.encode(codes)
    n_varied = len(parts.names) - len(parts.constants)
    room = RECORD_BYTES - len(deflated) - len(encoded) - 2 * n_varied * len(shown)
    parts_to = min(n, ROUGH_PARTS, max(0, room // max(1, n_varied)))
    packed_parts = compact.pack_parts(parts, bits, shown, parts_to, _weighed(decision.weights))
    return msgspec.msgpack.encode(_Packed(FORMAT, deflated, encoded, packed_parts, parts_to))


def _is_field(name: str, value: object) -> bool:
    """Whether a packed record has a field: not what its columns say, nor the unlisted of a page without any."""
    return name not in _IN_COLUMNS and (name != "unlisted" or bool(value))


def _coded(decision: Decision, columns: Columns, shown: Longs) -> compact.CodedColumns:
    """The columns as codes: by the compiled loop, which has its reference in `compact.code_columns`."""
    n, native = len(decision.item_nos) // _ITEM_BYTES, library()
    named = _named_creators(decision.ledger, shown)
    listed, exact = _listed_rows(n, decision.chosen), _exact_rows(n, decision.chosen)
    if native is not None and n:
        return code_columns_compiled(
            native, decision.columns, decision.from_sources, decision.scores, named, listed, exact
        )
    sources, scores = np.frombuffer(decision.from_sources, "<u2"), np.frombuffer(decision.scores, "<f4")
    return compact.code_columns(columns, sources, scores, named, listed, exact)


def tables_of(data: bytes) -> bytes:
    """The deflated part of a packed record, inflated: what a dictionary is made from."""
    return inflate(_PACKED.decode(data).tables)


def unpack(data: bytes) -> Decision:
    """
    The inverse of `pack`, also of a record of an older format. Raises StoreError on another format, and
    `msgspec.ValidationError`, `msgspec.DecodeError` or `zlib.error` on other bytes.
    """
    if data[:1] == _ZLIB:
        return _of_former_format(zlib.decompress(data))
    packed = _PACKED.decode(data)
    if packed.format != FORMAT:
        raise StoreError(
            f"found a decision record of format {packed.format}, expected {FORMAT}, 3, 2 or 1; no version wrote it"
        )
    tables, codes = _TABLES.decode(inflate(packed.tables)), _CODES.decode(packed.codes)
    n, shown, listed = tables.n, np.array(tables.chosen, np.intp), _listed_rows(tables.n, tables.chosen)
    topics, sources = np.zeros(n, RULES["topics"]), np.zeros(n, "<u2")
    topics[shown] = np.frombuffer(tables.topics, topics.dtype)
    sources[listed] = unpack_table((tables.sources, codes.sources), "<u2", len(listed))
    ledger, creators = unpack_ledger(tables.ledger), np.frombuffer(tables.creators, "<u4")
    columns = {
        **compact.unpack_kinds((tables.kinds, codes.kinds), n),
        **compact.unpack_joins(tables.joins, n),
        "creator_no": compact.unpack_creators(codes.creators, _named_creators(ledger, creators), n),
        "topics": topics,
    }
    weighed = _weighed(tables.fields["weights"])
    parts = compact.unpack_parts(tables.parts, packed.parts, shown, packed.parts_to, weighed, n)
    fields = tables.fields | {
        "ledger": ledger,
        "chosen": tables.chosen,
        "item_nos": unpack_bits(codes.item_nos, n).astype("<i4").tobytes(),
        "scores": compact.unpack_scores(codes.scores, _exact_rows(n, tables.chosen), n).tobytes(),
        "columns": {name: columns[name].astype(dtype).tobytes() for name, dtype in RULES.items()},
        "parts": {name: part.tobytes() for name, part in parts.items()},
        "from_sources": sources.tobytes(),
        "parts_to": packed.parts_to,
    }
    return msgspec.convert(fields, Decision, from_attributes=True)


def _weighed(weights: Mapping[str, float]) -> set[str]:
    """The parts that weigh something."""
    return {f"p_{name}" for name, weight in weights.items() if weight}


def _named_creators(ledger: Ledger, shown: Integers) -> Longs:
    """The numbers of creators that a record keeps, each once: of the ledger's, then of the page's."""
    numbers = dict.fromkeys([*(delivery.creator_no for delivery in ledger.last), *shown.tolist()])
    return np.fromiter(numbers, np.int64, len(numbers))


def _exact_rows(n: int, chosen: Sequence[int]) -> Rows:
    """The best row and those that were shown, ascending: of these a record keeps the score as it is."""
    return _first_and_shown(min(n, 1), chosen)


def _listed_rows(n: int, chosen: Sequence[int]) -> Rows:
    """The best rows and those that were shown, ascending: of these a record keeps what people may ask for."""
    return _first_and_shown(min(n, LISTED), chosen)


def _first_and_shown(n_first: int, chosen: Sequence[int]) -> Rows:
    return np.array([*range(n_first), *sorted({row for row in chosen if row >= n_first})], np.intp)


def _of_former_format(packed: bytes) -> Decision:
    """A record of format 1 to 3: all columns whole, in one compressed piece."""
    record = msgspec.msgpack.decode(packed)
    if record["format"] < 3:
        record = _upgrade(record)
    return msgspec.convert({**record, "format": FORMAT}, Decision)


_FORMER_FIELDS: Final = {"own_limits": "personal_limits", "newcomer_share": "new_creator_share"}
_FORMER_COLUMNS: Final = {"is_newcomer": "is_new_creator", "cluster_no": "hash_no"}  # a cluster joined both ways


def _upgrade(record: Fields) -> JsonObject:
    """A record of format 1 or 2 as one of format 3: its clusters are the only joins."""
    fields = {_FORMER_FIELDS.get(name, name): value for name, value in record.items()}
    n = len(record["item_nos"]) // np.dtype("<i4").itemsize
    no_joins = {name: np.zeros(n, dtype).tobytes() for name, dtype in COLUMNS.items()}
    columns = {_FORMER_COLUMNS.get(name, name): column for name, column in record["columns"].items()}
    return {**fields, "columns": {**no_joins, **columns}}


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
        request=msgspec.json.encode(msgspec.structs.replace(request, query=None).told()),
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
        unlisted=unlisted_ids(query, candidates),
    )


def item_id_of(decision: Decision, item_nos: Ids, row: int, ids: StringColumn) -> str:
    """The id of a candidate by its row; `ids` are the catalogue's."""
    place = row - (len(item_nos) - len(decision.unlisted))
    return ids[item_nos[row]] if place < 0 else decision.unlisted[place]


def request_of(decision: Decision) -> FeedRequest:
    """What was asked, without the words of a search."""
    asked = msgspec.json.decode(decision.request, type=RankRequest)
    if not asked.candidates:
        return msgspec.json.decode(decision.request, type=FeedRequest)
    return msgspec.structs.replace(asked, candidate_ids=tuple(candidate.item_id for candidate in asked.candidates))


def is_brought(decision: Decision, item_id: str) -> bool:
    """Whether an item is one of those that a caller brought to be ranked."""
    asked = request_of(decision)
    return isinstance(asked, RankRequest) and any(candidate.item_id == item_id for candidate in asked.candidates)


def columns_of(candidates: Candidates) -> dict[str, bytes]:
    """The rule columns as bytes."""
    return {name: np.ascontiguousarray(candidates[name], dtype).tobytes() for name, dtype in RULES.items()}


def source_bits(candidates: Candidates) -> tuple[list[str], bytes]:
    """Which sources returned each candidate."""
    names = [name for name in candidates.columns if name.startswith("rank_")]
    is_found = np.zeros((8 * _SOURCE_BYTES, len(candidates)), np.bool_)
    if names:
        ranks = np.array([candidates[name] for name in names])
        np.equal(ranks, ranks, out=is_found[: len(names)])  # but for those that are unknown
    bits = np.packbits(is_found, axis=0, bitorder="little").T.tobytes()
    return [name.removeprefix("rank_") for name in names], bits


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


def precision_of(decision: Decision, part: str, row: int) -> str:
    """How a record holds a part of a candidate's score: `float16`, `8 bits` of it, or `none` of it."""
    values = np.frombuffer(decision.parts[part], "<u2")
    is_weighed, is_shown = part in _weighed(decision.weights), row in decision.chosen
    if decision.parts_to is None or (values == values[0]).all() or (is_weighed and is_shown):
        return "float16"
    return "8 bits" if is_shown or (is_weighed and row < decision.parts_to) else "none"


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
