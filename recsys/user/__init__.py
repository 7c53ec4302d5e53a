"""
What is stored about one person, and the pure functions that change it: history and seen items.

`UserState` is everything; `pack` and `unpack` turn it into bytes and back. `confidence` is what one event is worth.
"""

from recsys.user.feedback import confidence, learnable
from recsys.user.state import (
    Controls,
    Delivery,
    Guardian,
    InteractionHistory,
    Ledger,
    LoopState,
    PersonState,
    Profile,
    SafetyState,
    Seen,
    UserState,
    pack,
    unpack,
)

__all__ = [
    "Controls",
    "Delivery",
    "Guardian",
    "InteractionHistory",
    "Ledger",
    "LoopState",
    "PersonState",
    "Profile",
    "SafetyState",
    "Seen",
    "UserState",
    "confidence",
    "learnable",
    "pack",
    "unpack",
]
