"""
The audit log: what people and keys decided, who, and when. A store only appends to it, in the transaction of what it
tells where there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from recsys.clock import Millis

LOCAL: Final = "local"
"""Who decided, where no service key was needed: a program on this machine, or the service itself."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`who` decided `what` at `at` (the server's time): the name of a key, and one line of JSON with its `action`."""

    at: Millis
    who: str
    what: str


@dataclass(frozen=True, slots=True)
class Audited:
    """An entry in the log, and its place."""

    seq: int
    entry: AuditEntry


class AuditLog(Protocol):
    """
    Append-only; an entry stays for at least 400 days. Erasures of several people within a moment may stand in another
    order than they were asked for; those of one person stand in order.
    """

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Durable before it returns; all or nothing. Raises StoreError."""
        ...

    def page(self, since: Millis, after: int, n: int) -> tuple[Audited, ...]:
        """The first `n` entries from an instant on that stand after a place, in order; 0 and 0 for the oldest."""
        ...


def audit_entry(at: Millis, who: str, action: str, **subject: object) -> AuditEntry:
    """An entry: the action, and what it was done to."""
    return AuditEntry(at, who, msgspec.json.encode({"action": action, **subject}).decode())


def erasure_entry(at: Millis, who: str, person: bytes) -> AuditEntry:
    """The entry of an erasure; `person` is the keyed hash of `erased_name`."""
    return audit_entry(at, who, "erasure", person=person.hex())


def erased_name(user_id: str) -> str:
    """What is hashed for an erasure's entry: a text that is no id, so that it joins nothing to who comes back."""
    return f"erased\0{user_id}"
