"""
The loop breaker (policy-spec 4): `state` is its memory, `signals` what it reads from it, `levels` what it does.
"""

from recsys.safety.loop.levels import describe_loop, note_page, observe_event, update_level
from recsys.safety.loop.signals import signals
from recsys.safety.loop.state import LoopContext, loop_context_of

__all__ = ["LoopContext", "describe_loop", "loop_context_of", "note_page", "observe_event", "signals", "update_level"]
