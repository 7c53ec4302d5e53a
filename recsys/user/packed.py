"""Deliveries and ledgers as few bytes: fields as columns, and times as differences."""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any, Final

import msgspec
import numpy as np

from recsys.codes import deflate, inflate, pack_bits, pack_table, unpack_bits, unpack_table
from recsys.user.state import Delivery, Ledger, Span


class PackedDeliveries(msgspec.Struct, frozen=True, array_like=True):
    """
    `n` deliveries. `kinds` and `topics` are tables with codes, as `pack_table` makes them, `creators` numbers of 32
    bits; the other fields are columns, of one value where all are the same.
    """

    n: int
    item_nos: bytes
    kinds: tuple[bytes, bytes]
    creators: bytes
    topics: tuple[bytes, bytes]
    columns: dict[str, list[int]]


_KIND: Final = ("tier", "family", "is_s4", "is_supportive", "is_local", "is_open", "is_new_creator")
"""Fields of one byte each, whose combinations are few: with a byte of nothing they are one number."""


class PackedLedger(msgspec.Struct, frozen=True, array_like=True):
    """A ledger; its times are differences from the one before."""

    fields: dict[str, Any]
    last: PackedDeliveries
    capped: dict[str, list[int]]
    active: list[int]


_IN_COLUMNS: Final = ("last", "capped", "active")


_PAGE: Final = b"\0"  # how a packed page starts, and no msgpack array does
_DELIVERIES: Final = msgspec.msgpack.Decoder(PackedDeliveries)
_ONE_BY_ONE: Final = msgspec.msgpack.Decoder(tuple[Delivery, ...])


def pack_deliveries(deliveries: Sequence[Delivery]) -> PackedDeliveries:
    """Deliveries as `PackedDeliveries`."""
    names = Delivery.__struct_fields__
    numbers = chain.from_iterable(map(msgspec.structs.astuple, deliveries))
    table = np.fromiter(numbers, np.int64, len(names) * len(deliveries)).reshape(-1, len(names))
    columns = dict(zip(names, table.T, strict=True))
    kinds = np.zeros((len(table), 8), np.int8)
    for place, name in enumerate(_KIND):
        kinds[:, place] = columns.pop(name)
    item_nos, creators, topics = (columns.pop(name) for name in ("item_no", "creator_no", "topics"))
    columns["at"][1:] -= columns["at"][:-1].copy()
    return PackedDeliveries(
        n=len(table),
        item_nos=pack_bits(item_nos),
        kinds=pack_table(kinds.view("<i8").ravel()),
        creators=creators.astype("<u4").tobytes(),
        topics=pack_table(topics.astype("<u2")),
        columns={
            name: (column[:1] if (column == column[:1]).all() else column).tolist() for name, column in columns.items()
        },
    )


def unpack_deliveries(packed: PackedDeliveries) -> tuple[Delivery, ...]:
    """The inverse of `pack_deliveries`. Fields that a later version added have their defaults."""
    n = packed.n
    if n == 0:
        return ()
    kinds = unpack_table(packed.kinds, "<u8", n).view(np.int8).reshape(n, 8)[:, : len(_KIND)].T.tolist()
    columns = {
        **dict(zip(_KIND, kinds, strict=True)),
        **{name: column * (n if len(column) == 1 else 1) for name, column in packed.columns.items()},
        "item_no": unpack_bits(packed.item_nos, n).tolist(),
        "creator_no": np.frombuffer(packed.creators, "<u4").tolist(),
        "topics": unpack_table(packed.topics, "<u2", n).tolist(),
    }
    columns["at"] = list(accumulate(columns["at"]))
    known = [columns[name] for name in Delivery.__struct_fields__ if name in columns]
    return msgspec.convert(list(zip(*known, strict=True)), tuple[Delivery, ...], strict=False)


def pack_page(deliveries: Sequence[Delivery]) -> bytes:
    """The deliveries of a page, as a store holds them."""
    return _PAGE + deflate(msgspec.msgpack.encode(pack_deliveries(deliveries)))


def unpack_page(packed: bytes) -> tuple[Delivery, ...]:
    """The inverse of `pack_page`, also of what versions before wrote: the deliveries one by one."""
    if packed[:1] == _PAGE:
        return unpack_deliveries(_DELIVERIES.decode(inflate(packed[1:])))
    return _ONE_BY_ONE.decode(packed)


def pack_ledger(ledger: Ledger) -> PackedLedger:
    """The ledger as `PackedLedger`."""
    return PackedLedger(
        fields={name: value for name, value in msgspec.structs.asdict(ledger).items() if name not in _IN_COLUMNS},
        last=pack_deliveries(ledger.last),
        capped={name: _differences(times) for name, times in ledger.capped.items()},
        active=_differences([time for span in ledger.active for time in (span.start, span.end)]),
    )


def unpack_ledger(packed: PackedLedger) -> Ledger:
    """The inverse of `pack_ledger`."""
    active = list(accumulate(packed.active))
    fields = packed.fields | {
        "last": unpack_deliveries(packed.last),
        "capped": {name: tuple(accumulate(times)) for name, times in packed.capped.items()},
        "active": tuple(Span(start=start, end=end) for start, end in zip(active[::2], active[1::2], strict=True)),
    }
    known = [name for name in Ledger.__struct_fields__ if name in fields]  # a later version adds fields at the end
    return msgspec.convert([fields[name] for name in known], Ledger, from_attributes=True)


def _differences(times: Sequence[int]) -> list[int]:
    """Each number less the one before it."""
    return [time - before for before, time in zip((0, *times), times, strict=False)]
