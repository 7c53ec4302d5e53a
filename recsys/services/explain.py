"""
Why an item is on a page, or is not: from the decision record alone, except for items that were no candidates.

`replay` chooses the page again from the record and compares it with what was sent, byte for byte; `why` follows one
item through every slot and names each rule that kept it out.
"""

from collections import Counter
from typing import Final

import msgspec
import numpy as np

from recsys.catalogue.locality import MATCHES
from recsys.clock import to_text
from recsys.errors import DataError
from recsys.feed import record as records
from recsys.feed.answer import answer_of
from recsys.feed.engine import Engine
from recsys.feed.filters import FILTERS
from recsys.feed.query import Query
from recsys.feed.reasons import codes, sentences
from recsys.feed.record import Decision
from recsys.feed.response import UNKNOWN, shortfall_of, sources_of
from recsys.feed.slate import Selection, delivered
from recsys.feed.unlisted import kept_out, unlisted_ids
from recsys.messages import FeedResponse
from recsys.policy.limits import plain_limits
from recsys.safety.copies import bound_pairs
from recsys.safety.validator import violations
from recsys.services.copies import copy_of
from recsys.services.why_wording import explain_in_words, language_of
from recsys.stores.protocols import StoredAnswer
from recsys.types import Candidates, JsonObject
from recsys.vocabulary import FAMILIES, TIERS

SHOWN: Final = 100  # candidates listed in a record's view, best first


def record_of(engine: Engine, request_id: str, user_id: str | None = None) -> JsonObject:
    """The decision record for people: what the page was chosen from, and under which rules."""
    stored, decision = _read(engine, request_id, user_id)
    candidates, chosen = records.candidates_of(decision), set(decision.chosen)
    ids = engine.resources.catalogue_cache.items.item_ids
    return {
        "request_id": request_id,
        "user_id": decision.user_id,
        "at": to_text(decision.at),
        "request": msgspec.json.decode(decision.request),
        "model_version": decision.model_version,
        "policy_version": decision.policy_version,
        "catalogue_revision": decision.catalogue_revision,
        "experiments": decision.experiments,
        "age_band": decision.age_band,
        "loop_level": decision.loop_level,
        "is_night": decision.is_night,
        "degraded": decision.degraded,
        "seed": decision.seed,
        "weights": decision.weights,
        "limits": plain_limits(decision.limits),
        "supply": msgspec.to_builtins(decision.supply),
        "removed": decision.removed,
        "floor_missed": decision.floor_missed,
        "n_candidates": len(candidates),
        "candidates": [
            _candidate(
                decision, candidates, row, records.item_id_of(decision, candidates.item_nos, row, ids), row in chosen
            )
            for row in range(min(SHOWN, len(candidates)))
        ],
        "answer": msgspec.to_builtins(answer_of(stored, engine.key)),
    }


def find_answer(engine: Engine, request_id: str, user_id: str | None) -> StoredAnswer | None:
    """The kept record of a request. Two people may use one id: without `user_id` it is the newest."""
    if user_id is None:
        return engine.stores.decisions.of_request(request_id)
    return engine.stores.users.read(user_id, request_id).answer


def _read(engine: Engine, request_id: str, user_id: str | None) -> tuple[StoredAnswer, Decision]:
    stored = find_answer(engine, request_id, user_id)
    if stored is None:
        raise DataError(f"request_id: found {request_id!r}, expected one whose record is still kept")
    return stored, records.unpack(stored.decision)


def _candidate(decision: Decision, candidates: Candidates, row: int, item_id: str, is_shown: bool) -> JsonObject:
    family = int(candidates["family"][row])
    return {
        "item_id": item_id,
        "rank": row + 1,
        "score": float(candidates["score"][row]),
        "tier": TIERS[candidates["tier"][row]],
        "family": FAMILIES[family] if family >= 0 else None,
        "is_supportive": bool(candidates["is_supportive"][row]),
        "locality": MATCHES[candidates["match"][row]],
        "sources": sources_of(candidates, row),
        "shown": is_shown,
        "position": decision.chosen.index(row) + 1 if is_shown else None,
    }


def why(engine: Engine, request_id: str, item_id: str, user_id: str | None = None) -> JsonObject:
    """
    One item's way through one page. Raises DataError when the record or the item is unknown.

    `rules` lists what touched it; `removed_by` is the first thing that kept it out; `counterfactual` says where it
    would have stood without that. `sentences` says all this to the person, in `language`. `copy_of` lists what binds
    the item as a copy now; see `recsys.services.copies`.
    """
    _, decision = _read(engine, request_id, user_id)
    items = engine.resources.catalogue_cache.items
    item_no = items.index.get(item_id)
    if item_no is None and not records.is_brought(decision, item_id):
        raise DataError(f"item_id: found {item_id!r}, expected the id of an item in the catalogue or of a candidate")
    answer = _why(engine, decision, item_id, item_no)
    candidates = records.candidates_of(decision)
    rows = _rows_of(decision, candidates, item_id, item_no)
    n_better = sum(chosen < int(rows[0]) for chosen in decision.chosen) if rows else None
    codes_of_item = _codes_of_shown(decision, candidates, int(rows[0])) if answer["shown"] else []
    return {
        **answer,
        "language": language_of(decision.languages),
        "sentences": explain_in_words(answer, codes_of_item, decision.languages, n_better),
        "copy_of": [] if item_no is None else copy_of(items, item_no),
    }


def _rows_of(decision: Decision, candidates: Candidates, item_id: str, item_no: int | None) -> list[int]:
    """The row of an item among the candidates, in a list; none when it was no candidate."""
    if item_id in decision.unlisted:
        return [len(candidates) - len(decision.unlisted) + decision.unlisted.index(item_id)]
    rows: list[int] = np.flatnonzero(candidates.item_nos == item_no).tolist()
    return rows


def _codes_of_shown(decision: Decision, candidates: Candidates, row: int) -> list[str]:
    slot = decision.chosen.index(row)
    is_exploration = records.replay(decision).is_exploration[slot]
    return _codes(candidates, row, decision.forced[slot], is_exploration=is_exploration)


def _codes(candidates: Candidates, row: int, floor: str, *, is_exploration: bool) -> list[str]:
    return codes(
        sources=sources_of(candidates, row),
        match=MATCHES[candidates["match"][row]],
        floor=floor,
        is_exploration=is_exploration,
        is_supportive=bool(candidates["is_supportive"][row]),
    )


def _why(engine: Engine, decision: Decision, item_id: str, item_no: int | None) -> JsonObject:
    candidates = records.candidates_of(decision)
    rows = _rows_of(decision, candidates, item_id, item_no)
    if not rows:
        return _not_retrieved(engine, decision, item_id, item_no)
    row = rows[0]
    parts = _parts(decision, candidates, row)
    if row in decision.chosen:
        slot = decision.chosen.index(row)
        return {
            "request_id": decision.request_id, "item_id": item_id, "shown": True, "position": slot + 1,
            "score_parts": parts, "rules": _rules_of_shown(decision, candidates, slot), "removed_by": None,
            "counterfactual": None,
        }  # fmt: skip
    rules = _rules_against(decision, candidates, row)
    removed_by = str(rules[0]["rule"]) if rules else "outscored"
    return {
        "request_id": decision.request_id, "item_id": item_id, "shown": False, "position": None,
        "score_parts": parts, "rules": rules, "removed_by": removed_by,
        "counterfactual": _counterfactual(decision, row, removed_by),
    }  # fmt: skip


def _parts(decision: Decision, candidates: Candidates, row: int) -> list[JsonObject]:
    """
    Each part of the score with its weight, and how exactly the record holds it; R2 has none, it never competes on
    engagement.
    """
    if candidates["tier"][row] >= 2:
        return [{"name": "constant", "value": _rounded(candidates["score"][row]), "weight": 1.0}]
    names = [name for name in candidates.columns if name.startswith("p_")]
    return [
        {
            "name": name.removeprefix("p_"),
            "value": None if np.isnan(candidates[name][row]) else _rounded(candidates[name][row]),
            "weight": _rounded(decision.weights.get(name.removeprefix("p_"), 0.0)),
            "precision": records.precision_of(decision, name, row),
        }
        for name in names
    ]


def _rounded(number: float) -> float:
    """Three significant digits: parts are kept as 16-bit floats, and more would be noise."""
    return float(f"{float(number):.3g}")


def _rules_of_shown(decision: Decision, candidates: Candidates, slot: int) -> list[JsonObject]:
    row = decision.chosen[slot]
    rules: list[JsonObject] = [{"rule": f"source:{name}"} for name in sources_of(candidates, row)]
    if decision.forced[slot]:
        rules.append({"rule": f"floor:{decision.forced[slot]}"})
    is_exploration = records.replay(decision).is_exploration[slot]  # a draw from one has propensity 1
    return [*rules, {"rule": "exploration"}] if is_exploration else rules


def _rules_against(decision: Decision, candidates: Candidates, row: int) -> list[JsonObject]:
    """
    What kept a candidate off the page: at every slot that went to a worse one, the rules it would have broken there.

    The rules are asked of the independent validator, so that an explanation cannot repeat the selector's mistake.
    """
    page = delivered(candidates, np.array(decision.chosen, np.intp), decision.at)
    alone = delivered(candidates, np.array([row], np.intp), decision.at)
    copies = bound_pairs(candidates, [*decision.chosen, row])
    counts: Counter[str] = Counter()
    for slot, taken in enumerate([*decision.chosen, *_open_slots(decision)]):
        if taken < row:
            continue  # a better candidate stood here
        broken = violations(decision.ledger, (*page[:slot], *alone), decision.limits, at=decision.at, copies=copies)
        names = sorted({violation.rule for violation in broken if violation.position == slot + 1})
        floor = decision.forced[slot] if slot < len(decision.forced) else ""
        counts.update(names or {f"floor:{floor}" if floor else "exploration"})
    return [{"rule": rule, "slots": count} for rule, count in counts.most_common()]


def _open_slots(decision: Decision) -> list[int]:
    """A row worse than any, once, for a page that ended short."""
    return [2**31] if len(decision.chosen) < decision.size else []


def _counterfactual(decision: Decision, row: int, removed_by: str) -> str:
    better = sum(chosen < row for chosen in decision.chosen)
    if removed_by == "outscored":
        return f"rank {row + 1}: {better} shown items scored higher, and the page has {decision.size} places"
    return f"without {removed_by} it would have stood at position {better + 1}"


def _not_retrieved(engine: Engine, decision: Decision, item_id: str, item_no: int | None) -> JsonObject:
    """An item that was no candidate: what would remove it today, since the catalogue of then is gone."""
    request = records.request_of(decision)
    context = engine.context(request, decision.at)
    removed_by = _removed_now(context.query, item_id, item_no)
    return {
        "request_id": decision.request_id, "item_id": item_id, "shown": False, "position": None, "score_parts": [],
        "rules": [{"rule": name, "judged": "now"} for name in removed_by],
        "removed_by": removed_by[0] if removed_by else "not_retrieved",
        "counterfactual": None if removed_by else "no source ranked it high enough to be a candidate",
    }  # fmt: skip


def _removed_now(query: Query, item_id: str, item_no: int | None) -> list[str]:
    """The filters that remove an item; of one that the catalogue does not hold the first one."""
    if item_no is not None:
        row = query.rules.take(np.array([item_no], np.intp))
        return [name for name, check in FILTERS.items() if not check(query, row)[0]]
    wanted = [candidate for candidate in query.unlisted if candidate.item_id == item_id]
    removed_by = [reason for candidate in wanted if (reason := kept_out(query, candidate))]
    return removed_by if wanted else ["excluded"]


def replay(engine: Engine, request_id: str, user_id: str | None = None) -> JsonObject:
    """
    The page chosen again from its record, and what asking again would change.

    `identical` compares items, propensities, reasons and shortfall with the stored answer, byte for byte.
    """
    stored, decision = _read(engine, request_id, user_id)
    answer = answer_of(stored, engine.key)
    selection = records.replay(decision)
    asked = records.request_of(decision)
    again = _page(engine, decision, selection, explain=asked.explain != "none")
    sent = [
        (i.item_id, i.position, _bits(i.propensity), [msgspec.to_builtins(r) for r in i.reasons]) for i in answer.items
    ]
    chosen = {reason: n for reason, n in answer.shortfall.because.items() if reason != UNKNOWN}
    before = msgspec.json.encode([sent, {"missing": answer.shortfall.missing, "because": chosen}])
    after = msgspec.json.encode(again)
    differences = [] if before == after else [{"kind": "record", "sent": sent, "replayed": again[0]}]
    return {"request_id": request_id, "identical": before == after, "differences": differences,
            "retrieval": _asked_again(engine, decision, answer)}  # fmt: skip


def _bits(propensity: float) -> float:
    return float(f"{float(propensity):.6g}")


def _page(engine: Engine, decision: Decision, selection: Selection, *, explain: bool) -> list[object]:
    candidates, ids = records.candidates_of(decision), engine.resources.catalogue_cache.items.item_ids
    asked = records.request_of(decision).size
    page = []
    for slot, row in enumerate(selection.rows.tolist()):
        reason_codes = _codes(candidates, row, selection.forced[slot], is_exploration=selection.is_exploration[slot])
        reasons = [msgspec.to_builtins(r) for r in sentences(reason_codes, decision.languages)] if explain else []
        item_id = records.item_id_of(decision, candidates.item_nos, row, ids)
        page.append((item_id, slot + 1, _bits(selection.propensities[slot]), reasons))
    shortfall = shortfall_of(asked, decision.size, len(page), decision.lost, selection.blocked)
    return [page, msgspec.to_builtins(shortfall)]


def _asked_again(engine: Engine, decision: Decision, answer: FeedResponse) -> JsonObject | None:
    """
    The same request on today's catalogue, model and ledger, as a plan: nothing is reserved or written. None for a
    search, whose words are not kept.
    """
    if decision.surface == "search":
        return None
    request = records.request_of(decision)
    plan = engine.plan(msgspec.structs.replace(request, cursor=None), decision.at)
    query = plan.context.query
    unlisted, rows = unlisted_ids(query, plan.candidates), plan.selection.rows.tolist()
    ids = [query.items.item_ids[n] for n in plan.candidates.item_nos[: len(plan.candidates) - len(unlisted)]]
    old, new = [item.item_id for item in answer.items], [(*ids, *unlisted)[row] for row in rows]
    return {
        "model_version": [decision.model_version, query.model.version],
        "policy_version": [decision.policy_version, query.market.version],
        "added": [item_id for item_id in new if item_id not in old],
        "gone": [item_id for item_id in old if item_id not in new],
    }
