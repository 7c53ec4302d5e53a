"""
Limits and their meet: how a market, an age band, a guardian, a person, the night, a loop level and an experiment
combine into one effective policy.

Every field has a direction, and the meet takes the safer side of each: caps by min, gaps and floors by max, blocks
by union, switches by the safe value. So it is commutative, associative, idempotent and monotone, and no layer can
loosen what another one set.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any, Final, TypeVar

from recsys.user.state import LAST

MAX_CAP: Final = 100  # deliveries; the ledger holds the newest 100 times of a counter
WINDOWS: Final = ("last_20", "session", "rolling_24h", "rolling_7d")
_DAY_MINUTES: Final = 1_440
LimitValue = int | float | frozenset[int] | frozenset[str]
"""What may stand at a policy path: a cap, gap, share or switch, or a set of what is blocked."""
Rule = Callable[[Any, Any], Any]
"""The meet of one field's two values, which have the field's type."""
T = TypeVar("T", "Windows", "Limits")
E = TypeVar("E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Caps of one counter: deliveries within the last 20, the session, 24 hours and 7 days. None = no cap."""

    last_20: int | None = None
    session: int | None = None
    rolling_24h: int | None = None
    rolling_7d: int | None = None

    def __post_init__(self) -> None:
        for name in WINDOWS:
            cap = getattr(self, name)
            if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or not 0 <= cap <= MAX_CAP):
                raise ValueError(f"{name}: found {cap}, expected a whole number from 0 to {MAX_CAP}")

    def map(self, change: Callable[[int], int]) -> "Windows":
        """Every cap that is set, changed."""
        caps = {name: getattr(self, name) for name in WINDOWS}
        return Windows(**{name: None if cap is None else change(cap) for name, cap in caps.items()})


def lower(a: int | None, b: int | None) -> int | None:
    """The smaller cap; None is no cap."""
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)


def _lower_windows(a: Mapping[str, Windows], b: Mapping[str, Windows]) -> Mapping[str, Windows]:
    met = {key: _meet_fields(a.get(key, Windows()), b.get(key, Windows()), _all_lower) for key in sorted({*a, *b})}
    return {key: windows for key, windows in met.items() if windows != Windows()}


def _higher_each(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
    return {key: gap for key in sorted({*a, *b}) if (gap := max(a.get(key, 0), b.get(key, 0))) > 0}


def _union(a: frozenset[E], b: frozenset[E]) -> frozenset[E]:
    return a | b


def _either(a: bool, b: bool) -> bool:
    return a or b


def _all_lower(_name: str) -> Rule:
    return lower


def _meet_fields(a: T, b: T, rule: Callable[[str], Rule]) -> T:
    return type(a)(**{f.name: rule(f.name)(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    One layer of the policy, or the meet of several. `Limits()` limits nothing.

    `windows` and `gaps` are keyed by counter: R1, R2, R1+R2, S4. A gap is the number of other deliveries between two
    of the counter. `night` holds minutes of the local day. Each R2 family may fill half of every R2 cap, rounded up.
    """

    windows: Mapping[str, Windows] = field(default_factory=dict)  # lower
    gaps: Mapping[str, int] = field(default_factory=dict)  # higher
    creator_last_20: int | None = None  # lower
    daily_minutes: int | None = None  # lower
    supportive_floor: float = 0.0  # higher
    local_floor: float = 0.0  # higher
    blocked_tiers: frozenset[int] = frozenset()  # union
    blocked_topics: frozenset[str] = frozenset()  # union
    blocked_families: frozenset[str] = frozenset()  # union
    blocked_creators: frozenset[str] = frozenset()  # union
    blocked_words: frozenset[str] = frozenset()  # union
    night: frozenset[int] = frozenset()  # interval_union, as the minutes of the day
    labelled_only: bool = False  # true_is_safe
    non_personalised: bool = False  # true_is_safe

    def __post_init__(self) -> None:
        for name in ("supportive_floor", "local_floor"):
            if not 0 <= getattr(self, name) <= 1:  # NaN neither
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a share from 0 to 1")
        for counter, gap in self.gaps.items():
            if not 0 <= gap < LAST:
                raise ValueError(
                    f"gaps.{counter}: found {gap}, expected 0 to {LAST - 1}, as {LAST} deliveries are kept"
                )


DIRECTIONS: Final[Mapping[str, str]] = {
    "windows": "lower",
    "gaps": "higher",
    "creator_last_20": "lower",
    "daily_minutes": "lower",
    "supportive_floor": "higher",
    "local_floor": "higher",
    "blocked_tiers": "union",
    "blocked_topics": "union",
    "blocked_families": "union",
    "blocked_creators": "union",
    "blocked_words": "union",
    "night": "interval_union",
    "labelled_only": "true_is_safe",
    "non_personalised": "true_is_safe",
}
_RULES: Final[Mapping[str, Rule]] = {
    "windows": _lower_windows,  # these two fields are mappings
    "gaps": _higher_each,
    "lower": lower,
    "higher": max,
    "union": _union,
    "interval_union": _union,
    "true_is_safe": _either,
}


NOTHING: Final = Limits()
"""The limits that limit nothing; those that most people have are this very object."""


def _rule(name: str) -> Rule:
    return _RULES.get(name) or _RULES[DIRECTIONS[name]]


def meet(*layers: Limits) -> Limits:
    """The strictest combination of all layers; `Limits()` for none."""
    limiting = (layer for layer in layers if layer is not NOTHING and layer != NOTHING)  # most limit nothing
    return reduce(lambda a, b: _meet_fields(a, b, _rule), limiting, NOTHING)


def is_at_least_as_strict(a: Limits, b: Limits) -> bool:
    """Whether `a` allows nothing that `b` forbids: a == meet(a, b)."""
    return meet(a, b) == meet(a)


def family_cap(cap: int | None) -> int | None:
    """What one R2 family may fill of an R2 cap: half, rounded up."""
    return None if cap is None else -(-cap // 2)


def minutes(intervals: Iterable[tuple[int, int]]) -> frozenset[int]:
    """Minutes of the day in [start, end) intervals; an interval may run over midnight."""
    return frozenset(m % 1440 for start, end in intervals for m in range(start, end if end > start else end + 1440))


def spans_of(minutes_of_day: frozenset[int]) -> list[tuple[int, int]]:
    """The inverse of `minutes`: [start, end) intervals, one that runs over midnight in one piece."""
    starts = sorted(m for m in minutes_of_day if (m - 1) % 1440 not in minutes_of_day)
    if not starts:
        return [(0, 0)] if minutes_of_day else []
    ends = sorted((m + 1) % 1440 for m in minutes_of_day if (m + 1) % 1440 not in minutes_of_day)
    return [(start, next((end for end in ends if end > start), ends[0])) for start in starts]


def hours_text(minutes_of_day: Iterable[int | str]) -> str:
    """Minutes of the day as people write hours, such as `22:00-07:00`."""
    every = frozenset(map(int, minutes_of_day))
    return "all day" if len(every) == _DAY_MINUTES else ", ".join(hours_of(every)) or "none"


def hours_of(minutes_of_day: Iterable[int | str]) -> list[str]:
    """Minutes of the day as a policy file spells hours; the whole day is `00:00-00:00`."""
    return [span_text(*span) for span in spans_of(frozenset(map(int, minutes_of_day)))]


def span_text(start: int, end: int) -> str:
    """Two minutes of the day as hours."""
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


def plain_value(path: str, value: LimitValue) -> object:
    """The value of one limit as JSON has it: the night as hours, another set as a sorted list."""
    if not isinstance(value, frozenset):
        return value
    return hours_of(value) if path == PATHS["night"] else sorted(value)


def plain_limits(limits: "Limits") -> dict[str, object]:
    """Every set limit under its policy path, such as `windows.R2.rolling_24h`, as JSON has it."""
    return {path: plain_value(path, value) for path, value in flatten(limits).items()}


def changed(before: Limits, after: Limits) -> Mapping[str, tuple[LimitValue | None, LimitValue | None]]:
    """Policy paths whose value differs, with both values. Paths as experiments spell them."""
    a, b = flatten(before), flatten(after)
    return {path: (a.get(path), b.get(path)) for path in sorted({*a, *b}) if a.get(path) != b.get(path)}


def flatten(limits: Limits) -> Mapping[str, LimitValue]:
    """Every set value under its policy path, e.g. `windows.R2.rolling_24h`, `gaps.R2`, `locality.floor`."""
    flat: dict[str, LimitValue] = {}
    for counter, windows in limits.windows.items():
        caps = dataclasses.asdict(windows)
        flat |= {f"windows.{counter}.{name}": cap for name, cap in caps.items() if cap is not None}
    flat |= {f"gaps.{counter}": gap for counter, gap in limits.gaps.items() if gap}
    nothing = Limits()
    for name, path in PATHS.items():
        if getattr(limits, name) != getattr(nothing, name):
            flat[path] = getattr(limits, name)
    return flat


PATHS: Final[Mapping[str, str]] = {
    "creator_last_20": "creators.last_20",
    "daily_minutes": "budget.daily_minutes",
    "supportive_floor": "supportive.floor",
    "local_floor": "locality.floor",
    "blocked_tiers": "blocked.tiers",
    "blocked_topics": "blocked.topics",
    "blocked_families": "blocked.families",
    "blocked_creators": "blocked.creators",
    "blocked_words": "blocked.words",
    "night": "night",
    "labelled_only": "labelled_only",
    "non_personalised": "non_personalised",
}
