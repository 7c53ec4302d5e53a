"""
The exposure controller (PI): it moves a market's weekly local share towards its target, above the floor, by the weight
of locality in the score and by nothing else. Caps, gaps and floors never see it.

    error  = target - local share of the last 7 days
    output = clamp(proportional * error + integral, -1, 1)        once in `every_hours`
    factor = most ** output                                       between 1 / most and most, times `weights.local`

Anti-windup: the integral stops growing where the output would leave its range, so that it turns as soon as the error
does. A market with fewer deliveries than `least` in the week takes no step. Pure; the controller remembers one small
record per market, which names nobody.

Source: proportional-integral control with clamping; the use for exposure, e.g. Pinterest's PID.
"""

import msgspec

from recsys.clock import HOUR, Millis
from recsys.policy.schema import ControllerRules, LocalityRules


class ControllerState(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """When the last step was, the integral, the output in [-1, 1], and the local share that it was taken on."""

    at: Millis = 0
    integral: float = 0.0
    output: float = 0.0
    share: float | None = None


def is_due(state: ControllerState, rules: ControllerRules, at: Millis) -> bool:
    """Whether it is time for a step."""
    return at - state.at >= rules.every_hours * HOUR


def step_controller(state: ControllerState, n_local: int, n: int, rules: LocalityRules, at: Millis) -> ControllerState:
    """One step on a week of which `n_local` of `n` deliveries were local."""
    control = rules.controller
    if n < max(1, control.least):
        return msgspec.structs.replace(state, at=at, share=n_local / n if n else None)
    share = n_local / n
    error = rules.target - share
    proportional = control.proportional * error
    integral = _clamp(state.integral + control.integral * error, -1.0 - proportional, 1.0 - proportional)
    integral = _clamp(integral, -1.0, 1.0)
    return ControllerState(at=at, integral=integral, output=_clamp(proportional + integral, -1.0, 1.0), share=share)


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def locality_factor(state: ControllerState, rules: ControllerRules) -> float:
    """What the weight of locality is multiplied by."""
    return float(rules.most**state.output)


def pack_controller(state: ControllerState) -> bytes:
    """The record as bytes."""
    return msgspec.msgpack.encode(state)


def unpack_controller(data: bytes | None) -> ControllerState:
    """The inverse of `pack_controller`; the controller of a market without a record begins in the middle."""
    return ControllerState() if data is None else msgspec.msgpack.decode(data, type=ControllerState)
