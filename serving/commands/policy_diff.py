"""The differences of two policies as text: limits that changed alike are named once, with everybody they bind."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from recsys.policy.compiled import LEVELS, CompiledPolicy
from recsys.policy.limits import LimitValue, changed, meet

Situation = tuple[str, int, bool]
"""An age band, a loop level, and whether it is night."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One limit that differs, in one situation."""

    situation: Situation
    path: str
    before: LimitValue | None
    after: LimitValue | None
    direction: Literal["looser", "stricter"]

    @property
    def who(self) -> str:
        """The situation in words."""
        band, level, night = self.situation
        return f"{band}, level {level}, {'night' if night else 'day'}"


def changes_between(before: CompiledPolicy, after: CompiledPolicy) -> list[Change]:
    """Every limit that differs, in every situation."""
    return [
        Change(
            situation=situation, path=path, before=old, after=new, direction="looser" if path in looser else "stricter"
        )
        for situation in before.limits
        for looser in [changed(after.limits[situation], meet(before.limits[situation], after.limits[situation]))]
        for path, (old, new) in changed(before.limits[situation], after.limits[situation]).items()
    ]  # fmt: skip


def grouped(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    """Changes by whom they bind, one for each limit; what became looser comes first."""
    situations: dict[tuple[object, ...], list[Change]] = defaultdict(list)
    for change in changes:
        situations[change.path, change.before, change.after, change.direction].append(change)
    by_whom: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for alike in situations.values():
        by_whom[alike[0].direction, describe([change.situation for change in alike])].append(alike[0])
    return [(whom, rows) for (_, whom), rows in sorted(by_whom.items(), key=lambda group: group[0][0])]


def describe(situations: Sequence[Situation]) -> str:
    """Situations in words, such as `18+ and 16-17: every level, day and night`."""
    bands: dict[str, list[str]] = defaultdict(list)
    for band in dict.fromkeys(band for band, _, _ in situations):
        bands[_when([(level, night) for other, level, night in situations if other == band])].append(band)
    return "; ".join(f"{_and(names)}: {when}" for when, names in bands.items())


def _when(moments: Sequence[tuple[int, bool]]) -> str:
    nights = {level: tuple(night for other, night in moments if other == level) for level, _ in moments}
    alike: Mapping[tuple[bool, ...], list[int]] = defaultdict(list)
    for level, of_level in nights.items():
        alike[of_level].append(level)
    return "; ".join(f"{_levels(levels)}, {_and(_DAYTIME[n] for n in times)}" for times, levels in alike.items())


_DAYTIME: Mapping[bool, str] = {False: "day", True: "night"}


def _levels(levels: Sequence[int]) -> str:
    if tuple(levels) == LEVELS:
        return "every level"
    return f"level{'s' * (len(levels) > 1)} {_and(map(str, levels))}"


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)
