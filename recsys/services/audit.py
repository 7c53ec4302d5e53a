"""What the audit log is told: which decisions a change of the catalogue holds, and which versions a service serves."""

from collections.abc import Mapping
from typing import Final

import msgspec

from recsys.clock import Millis, to_text
from recsys.feed.engine import Engine
from recsys.stores.audit import Audited, AuditEntry, audit_entry
from recsys.types import Fields, JsonObject

PEOPLE: Final = ("human", "partner")
"""Sources of a label that is a person's decision."""

_LABEL: Final = ("risk_tier", "risk_family", "risk_source", "risk_confidence")


def item_decisions(item_id: str, old: Fields, new: Fields, at: Millis, who: str) -> list[AuditEntry]:
    """
    What a change of an item decides: a person's label that is set, replaced or taken away, and a takedown or its end.
    `old` is empty for a new item.
    """
    entries = _takedown(old, new, at, who, item_id=item_id)
    before, after = ({name: fields.get(name) for name in _LABEL} for fields in (old, new))
    if before != after and (_is_decided(before) or _is_decided(after)):
        entries.append(audit_entry(at, who, "label", item_id=item_id, before=_stated(before), after=_stated(after)))
    return entries


def creator_decisions(creator_id: str, old: Fields, new: Fields, at: Millis, who: str) -> list[AuditEntry]:
    """What a change of a creator decides: a takedown or its end."""
    return _takedown(old, new, at, who, creator_id=creator_id)


def activation(engine: Engine, at: Millis, who: str) -> AuditEntry:
    """Which versions a service serves from `at` on, and which experiments were killed."""
    resources = engine.resources
    killed = sorted(e.key for e in resources.experiments.experiments if e.kill_switch)
    return audit_entry(
        at, who, "activation", model=resources.model.version, policy=resources.policy.market.version,
        experiments=resources.experiments.version, killed=killed,
    )  # fmt: skip


def as_row(audited: Audited) -> JsonObject:
    """An entry as it is shown: its place, the time as text, who, and what as an object."""
    entry = audited.entry
    return {"seq": audited.seq, "at": to_text(entry.at), "who": entry.who, "what": msgspec.json.decode(entry.what)}


def _takedown(old: Fields, new: Fields, at: Millis, who: str, **subject: object) -> list[AuditEntry]:
    was_hidden, is_hidden = bool(old.get("is_hidden")), bool(new.get("is_hidden"))
    if was_hidden == is_hidden:
        return []
    return [audit_entry(at, who, "takedown" if is_hidden else "putting_back", **subject)]


def _is_decided(label: Mapping[str, object]) -> bool:
    return label["risk_tier"] is not None and label["risk_source"] in PEOPLE


def _stated(label: Mapping[str, object]) -> dict[str, object] | None:
    stated = {name.removeprefix("risk_"): value for name, value in label.items() if value is not None}
    return stated or None
