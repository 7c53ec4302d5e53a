"""
What the sink knows and the servers do not. A record goes out after its page, so one that is newer than all that its
part of the servers knows tells of entries that are lost: an old copy was put back, or a failover lost them. Likewise
somebody whose state is older than their erasure was brought back by a copy.
"""

import logging
from typing import Final

from recsys.clock import DAY, now
from recsys.safety.ledger import LEDGER_SPAN_MS
from recsys.safety.loop.levels import HIGHEST_LEVEL
from recsys.stores.audit import LOCAL, erasure_entry
from recsys.stores.retention import SAFETY_RETENTION_MS
from recsys.user.state import LoopState, SafetyState, UserState, pack
from serving.stores.redis.audit import packed_entry
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Command, Servers
from serving.stores.redis.sink import Sink
from serving.stores.redis.vault import Vault
from serving.stores.sealing import TOMBSTONES

log = logging.getLogger("sanad.serving")

_N_DAYS: Final = LEDGER_SPAN_MS // DAY + 1  # of records that are compared: as far as a cap reaches back
_AT_ONCE: Final = 1_000  # people who are looked up at once


def doubt_what_is_older(servers: Servers, tags: Tags, sink: Sink) -> int:
    """Give the people of parts that lost entries the safe feed for as long as a cap reaches back; how many parts."""
    latest: dict[bytes, int] = {}
    for first, order in sink.latest_orders(_N_DAYS).items():
        tag = tags.of(bytes([first]))
        latest[tag] = max(order, latest.get(tag, 0))
    known: dict[bytes, list[Command]] = {tag: [("HGET", tag + b":meta", "v")] for tag in latest}
    found = servers.ask_all(known) if known else {}
    lost = [tag for tag, [version] in found.items() if int(version or 0) < latest[tag]]
    if lost:
        servers.ask_all({tag: [call("doubt", tag, LEDGER_SPAN_MS)] for tag in lost}, write=True)
        log.error("the servers lack pages whose records are there: %d of their parts get the safe feed", len(lost))
    return len(lost)


def erase_again(servers: Servers, tags: Tags, vault: Vault, sink: Sink) -> int:
    """
    Erase whoever an old copy brought back, also of whom it has events alone, or nothing: the next model must not know
    them. How many that were. What the ledger knew of them is gone, so that their level is the highest for as long as an
    erasure leaves anything.
    """
    at, erased = now(), list(sink.erased().items())
    loop = LoopState(level=HIGHEST_LEVEL, raised_at=at, clean_since=at)
    packed = pack(UserState(safety=SafetyState(loop=loop, is_erased=True)))[1]
    known_since, n_again = at - SAFETY_RETENTION_MS, 0
    for start in range(0, len(erased), _AT_ONCE):
        some = erased[start : start + _AT_ONCE]
        commands: dict[bytes, list[Command]] = {}
        for owner, _ in some:
            tag = tags.of(owner)
            commands.setdefault(tag, []).extend(
                (
                    ("HGET", tag + b":u:" + owner, "v"),
                    ("XRANGE", tag + b":v:" + owner, "-", "+", "COUNT", 1),
                    ("ZSCORE", tag + b":forgotten", owner),
                )
            )
        replies = {tag: iter(found) for tag, found in servers.ask_all(commands).items()}
        for owner, (order, erased_at) in some:
            of_tag = replies[tag := tags.of(owner)]
            version, events, cutoff = next(of_tag), next(of_tag), next(of_tag)
            oldest = version or (events[0][0].split(b"-")[0] if events else None)
            is_unknown = erased_at >= known_since and (cutoff is None or int(cutoff) < erased_at)
            if is_unknown if oldest is None else int(oldest) < order:
                stone = vault.own_key.seal(packed, TOMBSTONES + owner)
                noted = packed_entry(erasure_entry(at, LOCAL, vault.hide("erased again by a restored copy")))
                servers.write(tag, call("erase", tag, owner, at, version or "", "", stone, noted))
                n_again += 1
    if n_again:
        log.warning("erased again %d people, whom an old copy of the servers had brought back", n_again)
    return n_again
