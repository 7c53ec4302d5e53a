"""
What bounds exposure: the ledger, the loop breaker, screen time, cards, floors, and a validator that shares no
arithmetic with them.

Every function is pure. They read and return parts of `recsys.user.state.UserState`.
"""

from recsys.safety.cards import cards_due, cards_for
from recsys.safety.floors import Floor, Supply
from recsys.safety.harm_terms import HarmTerms, harm_match, load_harm_terms
from recsys.safety.ledger import counts, deliver, recount, remaining
from recsys.safety.loop import LoopContext, loop_context_of, observe_event, update_level
from recsys.safety.screen_time import PauseContext, pause_for
from recsys.safety.validator import Violation, violations

__all__ = [
    "Floor",
    "HarmTerms",
    "LoopContext",
    "PauseContext",
    "Supply",
    "Violation",
    "cards_due",
    "cards_for",
    "counts",
    "deliver",
    "harm_match",
    "load_harm_terms",
    "loop_context_of",
    "observe_event",
    "pause_for",
    "recount",
    "remaining",
    "update_level",
    "violations",
]
