"""
Events -> matrices of confidence, which the models are fitted to.

Rows of users are the users table in order, then users who only occur in events, by id; rows of items are the items
table in order. Three things never enter: events at or after the cutoff, positive interactions with items of R2 and
above or without a tier (`feedback.learnables`), and interactions that their author took back (`undo`). A user who
refused personalisation (`consent` false) has no entries; their events count in the markets' statistics alone.

Follows and hidden creators are about creators; the filters and sources that read them hold them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from recsys.clock import Millis
from recsys.data.tables import Dataset, reading
from recsys.models.interactions import UserInteractions, interactions_from_histories, row_numbers
from recsys.progress import Progress, quiet
from recsys.types import Csr, Floats, History, Ids, Mask, Rows
from recsys.user import feedback
from recsys.vocabulary import EVENT_KINDS
from training.saturation import saturate
from training.validate import assume

HISTORY_LENGTH: Final = 200
"""How many of a user's latest interactions are kept to compute their vector in a space."""

UNKNOWN_MARKET: Final = "ZZ"
"""ISO 3166 leaves ZZ to its users: here, people of unknown country."""


@dataclass(frozen=True, slots=True, eq=False)
class FlatHistories:
    """
    Each user's latest interactions, oldest first, without decay: those of user u are `indptr[u]:indptr[u + 1]`.

    Shapes: indptr (n_users + 1,); items (n,) item rows; weights (n,) confidence, never 0; at (n,) milliseconds.
    """

    indptr: NDArray[np.int64]
    items: Ids
    weights: Floats
    at: NDArray[np.int64]

    def of(self, user_row: int) -> History:
        """One user's history."""
        entries = slice(self.indptr[user_row], self.indptr[user_row + 1])
        return History(self.items[entries], self.weights[entries], self.at[entries])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interactions:
    """
    The interactions of the events before an instant.

    Shapes:  positives, negatives CSR (n_users, n_items), entries above 0 in both: the confidence in positive
             interactions and in negative feedback, decayed to the last event and at most `feedback.PAIR_CAP` per pair.
             market_positives CSR (n_items, n_markets): decayed positive confidence by the country of the viewer, each
             person counting what `saturation` says; `markets` names the columns, `UNKNOWN_MARKET` included.
    """

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    positives: Csr
    negatives: Csr
    histories: FlatHistories
    markets: tuple[str, ...]
    market_positives: Csr
    user_markets: Ids  # (n_users,) positions in `markets`
    n_events: int  # about items, before the cutoff, not taken back
    last_at: Millis | None  # of those events; None when there are none

    def signed(self) -> Csr:
        """CSR (n_users, n_items) signed confidence: positive interactions less negative feedback."""
        return sparse.csr_matrix(self.positives - self.negatives, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _ItemEvents:
    """Events about items as arrays of n; `users` and `items` are rows."""

    users: Ids
    items: Ids
    kinds: NDArray[np.uint8]
    fractions: Floats
    at: NDArray[np.int64]


def build_interactions(
    dataset: Dataset,
    *,
    before: Millis | None = None,
    assume_tier: str | None = None,
    half_life: Millis = feedback.HALF_LIFE,
    on_progress: Progress = quiet,
) -> Interactions:
    """
    Matrices and histories from a validated dataset (`validate.clean`).

    `before` leaves out events at or after it (None = all); `assume_tier` stands in for missing tiers.
    Memory:  about 60 bytes per event about an item, beside the tables of users and items.
    """
    on_progress("interactions", 0, None)
    data = dataset if assume_tier is None else assume(dataset, assume_tier)
    with reading("items"):
        items = data.items.select("item_id", "creator_id", "risk_tier").collect(engine="streaming")
    with reading("users"):
        users = _all_users(data)
    with reading("events"):
        events = _item_events(data, users, items, before)
    on_progress("interactions", len(events.at), len(events.at))
    return _assemble(users, items, events, half_life)


def _assemble(users: pl.DataFrame, items: pl.DataFrame, events: _ItemEvents, half_life: Millis) -> Interactions:
    risky = np.fromiter(map(feedback.is_r2_plus, items["risk_tier"]), np.bool_, items.height)
    weights = feedback.confidences(events.kinds, events.fractions)
    weights = feedback.learnables(weights, risky[events.items])
    last_at = int(events.at.max()) if len(events.at) else None
    decayed = weights * feedback.decays((last_at or 0) - events.at, half_life)
    consents = users["consents"].to_numpy()[events.users]
    shape = (users.height, items.height)
    countries = users["country"].fill_null(UNKNOWN_MARKET)
    markets = tuple(countries.unique().sort())
    user_markets = np.searchsorted(np.array(markets, dtype=object), countries.to_numpy()).astype(np.int32)
    everybody = _sum_pairs(events.users, events.items, decayed, decayed > 0, shape)
    return Interactions(
        user_ids=tuple(users["user_id"]),
        item_ids=tuple(items["item_id"]),
        positives=_sum_pairs(events.users, events.items, decayed, (decayed > 0) & consents, shape),
        negatives=_sum_pairs(events.users, events.items, -decayed, (decayed < 0) & consents, shape),
        histories=_histories(events, weights, (weights != 0) & consents, users.height),
        markets=markets,
        market_positives=_count_by_market(everybody, users, items, user_markets, len(markets)),
        user_markets=user_markets,
        n_events=len(events.at),
        last_at=last_at,
    )


def _count_by_market(pairs: Csr, users: pl.DataFrame, items: pl.DataFrame, markets: Ids, n_markets: int) -> Csr:
    """CSR (n_items, n_markets): what people count for, from pairs (n_users, n_items), by their market (n_users,)."""
    people, item_rows = row_numbers(pairs).astype(np.int32), pairs.indices
    creators = items["creator_id"].rank("dense").to_numpy().astype(np.int32)
    is_known = users["is_known"].to_numpy()
    counts = saturate(pairs.data, people, creators[item_rows], is_known[people])
    entries = (counts.astype(np.float32), (item_rows, markets[people]))
    return sparse.coo_matrix(entries, shape=(pairs.shape[1], n_markets)).tocsr()


def _all_users(data: Dataset) -> pl.DataFrame:
    """
    user_id, country, whether they consent to personalisation (null = yes) and whether they are in the users table;
    those who only occur in events come last.
    """
    known = data.users.select("user_id", "country", consents=pl.col("consent").fill_null(True), is_known=True)
    others = data.events.select("user_id").unique().join(known, on="user_id", how="anti").sort("user_id")
    return pl.concat(
        [known.collect(engine="streaming"), others.collect(engine="streaming")], how="diagonal"
    ).with_columns(pl.col("consents").fill_null(True), pl.col("is_known").fill_null(False))


def _item_events(data: Dataset, users: pl.DataFrame, items: pl.DataFrame, before: Millis | None) -> _ItemEvents:
    events = data.events if before is None else data.events.filter(pl.col("at") < before)
    taken_back = events.filter(pl.col("kind") == "undo").select("user_id", event_id="value").collect(engine="streaming")
    if taken_back.height:
        events = events.join(taken_back.lazy(), on=["user_id", "event_id"], how="anti", maintain_order="left")
    rows = (  # in the order of the file: sums of float32 depend on it, and so would two fits of one seed
        events.filter(pl.col("item_id").is_not_null())
        .join(users.lazy().select("user_id").with_row_index("user"), on="user_id", maintain_order="left")
        .join(items.lazy().select("item_id").with_row_index("item"), on="item_id", maintain_order="left")
        .select(
            pl.col("user", "item").cast(pl.Int32),
            kind=pl.col("kind").cast(pl.Enum(EVENT_KINDS)).to_physical().cast(pl.UInt8),
            fraction=pl.col("watch_fraction").cast(pl.Float32).fill_null(float("nan")),
            at=pl.col("at"),
        )
        .collect(engine="streaming")
    )
    return _ItemEvents(*(rows[name].to_numpy() for name in ("user", "item", "kind", "fraction", "at")))


def _sum_pairs(
    rows: Ids,
    columns: Ids,
    values: Floats,
    is_used: Mask,
    shape: tuple[int, int],
) -> Csr:
    """The used values added up per (row, column), each sum at most `feedback.PAIR_CAP`."""
    entries = (values[is_used], (rows[is_used], columns[is_used]))
    matrix = sparse.coo_matrix(entries, shape=shape, dtype=np.float32).tocsr()
    matrix.sum_duplicates()
    np.minimum(matrix.data, np.float32(feedback.PAIR_CAP), out=matrix.data)
    return matrix


def _histories(events: _ItemEvents, weights: Floats, is_used: Mask, n_users: int) -> FlatHistories:
    used = np.flatnonzero(is_used)
    order = used[np.lexsort((events.kinds[used], events.items[used], events.at[used], events.users[used]))]
    counts = np.bincount(events.users[order], minlength=n_users)
    ends = np.cumsum(counts)
    from_the_end = np.repeat(ends, counts) - np.arange(len(order))  # 1 = the latest of its user
    order = order[from_the_end <= HISTORY_LENGTH]
    indptr = np.concatenate(([0], np.cumsum(np.minimum(counts, HISTORY_LENGTH)))).astype(np.int64)
    return FlatHistories(indptr, events.items[order], weights[order], events.at[order])


def select_users(interactions: Interactions, rows: Rows) -> Interactions:
    """The interactions of some users alone; statistics of markets stay those of all."""
    flat = interactions.histories
    counts = np.diff(flat.indptr)
    is_selected = np.repeat(np.isin(np.arange(len(counts)), rows), counts)
    ends = np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64)
    return replace(
        interactions,
        user_ids=tuple(interactions.user_ids[row] for row in rows),
        positives=interactions.positives[rows],
        negatives=interactions.negatives[rows],
        histories=FlatHistories(ends, flat.items[is_selected], flat.weights[is_selected], flat.at[is_selected]),
        user_markets=interactions.user_markets[rows],
    )


def market_names(interactions: Interactions) -> list[str | None]:
    """The markets by position, None for the unknown one."""
    return [None if name == UNKNOWN_MARKET else name for name in interactions.markets]


def user_interactions(interactions: Interactions, markets: Sequence[str]) -> UserInteractions:
    """The interactions of all users, their market as a row of the popularity with these markets."""
    rows = {name: row for row, name in enumerate(markets)}
    of_code = np.array([rows.get(name, len(markets)) for name in interactions.markets], np.int32)
    of_user: Ids = of_code[interactions.user_markets]
    flat = interactions.histories
    return interactions_from_histories(flat.indptr, flat.items, flat.weights, len(interactions.item_ids), of_user)
