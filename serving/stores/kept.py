"""What is kept about people, where, how long and on what ground: docs/privacy.md prints it, and tests compare it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from recsys.clock import DAY
from recsys.safety.ledger import LEDGER_SPAN_MS
from recsys.stores.retention import AUDIT_RETENTION_MS, LOG_RETENTION_MS, SAFETY_RETENTION_MS

_CONTRACT: Final = "the service that the person uses"
_SAFETY: Final = "protection of the person, and of minors"
_ACCOUNT: Final = "to show who decided what"
_LAW: Final = "the person's request, and the duty to honour it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """
    Something that is kept. `tables` are those of the state file, or of the file of keys where they say so. `days` None
    = no time ends it, but `until` does.
    """

    what: str
    tables: tuple[str, ...]
    days: int | None
    until: str = ""
    ground: str


KEPT: Final = (
    Kept(what="profile, controls, limits of a guardian", tables=("users",), days=None, until="replaced or erased",
         ground=_CONTRACT),
    Kept(what="reactions, followed and hidden creators", tables=("users",), days=None, until="reset or erased",
         ground=_CONTRACT),
    Kept(what="items that were delivered or seen", tables=("users",), days=30, ground=_CONTRACT),
    Kept(what="counters of capped deliveries", tables=("users",), days=LEDGER_SPAN_MS // DAY, ground=_SAFETY),
    Kept(what="loop level and its reasons", tables=("users",), days=None, until="erased; clean days lower it",
         ground=_SAFETY),
    Kept(what="deliveries, to count again after a label was raised", tables=("deliveries",),
         days=SAFETY_RETENTION_MS // DAY, ground=_SAFETY),
    Kept(what="events as they were reported", tables=("events",), days=LOG_RETENTION_MS // DAY, ground=_CONTRACT),
    Kept(what="decision records: what was on a page, and why", tables=("decisions",), days=LOG_RETENTION_MS // DAY,
         ground="to explain a page to the person"),
    Kept(what="counters of an erased person, under a keyed hash", tables=("tombstones",),
         days=SAFETY_RETENTION_MS // DAY, until="a bare hash while a model that was trained with them may be served",
         ground=_SAFETY),
    Kept(what="who asked to be forgotten, for the next model: a keyed hash", tables=("forgotten",),
         days=SAFETY_RETENTION_MS // DAY, ground=_LAW),
    Kept(what="who decided what: names of service keys; of an erasure a hash", tables=("audit",),
         days=AUDIT_RETENTION_MS // DAY, ground=_ACCOUNT),
    Kept(what="reviews and their answers, after the answer", tables=("reviews",), days=AUDIT_RETENTION_MS // DAY,
         ground=_ACCOUNT),
    Kept(what="the key that seals what is kept of a person", tables=("keys of people: keys",), days=None,
         until="erased, which destroys it", ground="to keep it secret"),
    Kept(what="that somebody was erased, so that no copy brings them back: a keyed hash",
         tables=("keys of people: erased",), days=AUDIT_RETENTION_MS // DAY, ground=_LAW),
    Kept(what="that a key is to be destroyed: its number", tables=("shreds",), days=SAFETY_RETENTION_MS // DAY,
         ground=_LAW),
    Kept(what="numbers of keys that were destroyed, which name nobody", tables=("keys of people: destroyed",),
         days=None, until="no end", ground=_LAW),
)  # fmt: skip
NOT_OF_PEOPLE: Final = (
    "meta",
    "keys of people: meta",
    "items",
    "creators",
    "exposure_counts",
    "creator_totals",
    "controllers",
)
"""Tables of the catalogue, and of counts without anybody's name."""


def retention_table() -> Iterator[str]:
    """The lines of the table in docs/privacy.md."""
    yield "| what | table | how long | on what ground |"
    yield "|---|---|---|---|"
    for kept in KEPT:
        span = "; ".join(part for part in (f"{kept.days} days" if kept.days else "", kept.until) if part)
        tables = ", ".join(f"`{name}`" for name in kept.tables)
        yield f"| {kept.what} | {tables} | {span.removeprefix('; ')} | {kept.ground} |"
