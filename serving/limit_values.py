"""Limits of a policy as plain values, for JSON."""

from recsys.policy.limits import Limits, LimitValue, flatten


def plain_value(value: LimitValue) -> object:
    """The value of one limit; a set becomes a sorted list."""
    return sorted(value) if isinstance(value, frozenset) else value


def plain_limits(limits: Limits) -> dict[str, object]:
    """Every set limit under its policy path, such as `windows.R2.rolling_24h`."""
    return {path: plain_value(value) for path, value in flatten(limits).items()}
