"""
The slow controller: moves a market's weekly local share towards its target, above the floor, by the weight of locality
in the score and by nothing else. Caps, gaps and floors never see it.

    error  = target - local share of the last 7 days
    output = clamp(proportional * error + integral, -1, 1)        once in `every_hours`
    factor = most ** output                                       between 1 / most and most, times `weights.local`

Anti-windup: the integral is held where the output would leave its range, so that it turns as soon as the error does. A
market with fewer deliveries than `least` in the week is not steered. Pure; what it remembers is one small record per
market, which names nobody.

Source: proportional-integral control with clamping; the idea of steering exposure by it, e.g. Pinterest's PID.
"""

import msgspec

from recsys.clock import HOUR, Millis
from recsys.policy.schema import ControllerRules, LocalityRules


class ControllerState(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """When the last step was, the integral, the output in [-1, 1], and the share that was found."""

    at: Millis = 0
    integral: float = 0.0
    output: float = 0.0
    share: float | None = None


def is_due(state: ControllerState, rules: ControllerRules, at: Millis) -> bool:
    """Whether it is time for a step."""
    return at - state.at >= rules.every_hours * HOUR


def step(state: ControllerState, n_local: int, n: int, rules: LocalityRules, at: Millis) -> ControllerState:
    """One step on a week of which `n_local` of `n` deliveries were local."""
    control = rules.controller
    if n < max(1, control.least):
        return msgspec.structs.replace(state, at=at, share=n_local / n if n else None)
    share = n_local / n
    error = rules.target - share
    held = control.proportional * error
    integral = min(max(state.integral + control.integral * error, -1.0 - held), 1.0 - held)
    integral = min(max(integral, -1.0), 1.0)
    return ControllerState(at=at, integral=integral, output=min(max(held + integral, -1.0), 1.0), share=share)


def factor(state: ControllerState, rules: ControllerRules) -> float:
    """What the weight of locality is multiplied by."""
    return float(rules.most**state.output)


def pack(state: ControllerState) -> bytes:
    """The record as bytes."""
    return msgspec.msgpack.encode(state)


def unpack(data: bytes | None) -> ControllerState:
    """The inverse of `pack`; a market that was never steered begins in the middle."""
    return ControllerState() if data is None else msgspec.msgpack.decode(data, type=ControllerState)
