"""
The parameters of the demo world, frozen before anything was tuned on it, and the three people of the demo.

Everything in a world follows from `WorldParams`: the same parameters give the same world, table for table.
"""

from dataclasses import dataclass
from typing import Final

from recsys.clock import DAY, Millis, from_text
from recsys.errors import ConfigError

LOCAL_AFFINITY: Final = 0.4

ENDS_AT: Final = from_text("2026-11-20T00:00:00Z")
MAX_EVENTS_PER_PERSON_DAY: Final = 25  # one visit a day with a few pages cannot give more


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldParams:
    """
    Size, seed and the few numbers of a world that are meant to be varied.

    `n_events` is a target for the rows of the events table, met within 2 % (for 5,000 or more). `days` ends at
    `ends_at` (milliseconds, midnight UTC). `local_affinity` is the mean weight, in units of the watch logit, that
    a person gives to a creator of the same region; 0 means that locality plays no part in behaviour.
    `distressed_share` is the share of adults with a strong distress trait (minors: half as many again).
    Raises ConfigError with every problem.
    """

    n_items: int = 3_000
    n_users: int = 1_000
    n_events: int = 100_000
    days: int = 28
    seed: int = 20261120
    ends_at: Millis = ENDS_AT
    local_affinity: float = LOCAL_AFFINITY
    distressed_share: float = 0.12
    unlabelled_share: float = 0.05
    near_duplicate_share: float = 0.03

    def __post_init__(self) -> None:
        problems = tuple(self._problems())
        if problems:
            raise ConfigError(*problems)

    @property
    def n_creators(self) -> int:
        """A twelfth of the items, and at least 60."""
        return max(60, self.n_items // 12)

    @property
    def starts_at(self) -> Millis:
        """The first instant of the log."""
        return self.ends_at - self.days * DAY

    def _problems(self) -> list[str]:
        problems = []
        for name, minimum in (("n_items", 300), ("n_users", 10), ("n_events", 0), ("days", 1), ("seed", 0)):
            if getattr(self, name) < minimum:
                problems.append(f"{name} is {getattr(self, name)}, expected {minimum} or more")
        if not 0 <= self.local_affinity <= 5:
            problems.append(f"local_affinity is {self.local_affinity}, expected a number from 0 to 5")
        for name in ("distressed_share", "unlabelled_share", "near_duplicate_share"):
            if not 0 <= getattr(self, name) <= 0.5:
                problems.append(f"{name} is {getattr(self, name)}, expected a share from 0 to 0.5")
        if self.ends_at % DAY != 0:
            problems.append(f"ends_at is {self.ends_at}, expected midnight UTC in milliseconds")
        maximum = self.n_users * max(self.days, 1) * MAX_EVENTS_PER_PERSON_DAY
        if self.n_events > maximum:
            problems.append(
                f"n_events is {self.n_events}, expected at most {maximum} for {self.n_users} people "
                f"over {self.days} days; ask for more people or fewer events"
            )
        return problems


BENCHMARK_SIZES: Final = {"n_items": 20_000, "n_users": 5_000, "n_events": 1_000_000}
"""The size that benchmarks use: `WorldParams(**BENCHMARK_SIZES)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPerson:
    """A person with a fixed id and fixed traits. `who` introduces them; `distress` is in [0, 1]."""

    user_id: str
    who: str
    region: str
    languages: tuple[str, ...]
    age_band: str
    distress: float
    guardian_id: str | None = None


CASA_ADULT: Final = DemoPerson(
    user_id="casa-adult",
    who="a Darija-speaking adult in Casablanca",
    region="MA-06",
    languages=("ary", "ary-Latn", "ar", "fr"),
    age_band="18+",
    distress=0.25,
)
AGADIR_TEEN: Final = DemoPerson(
    user_id="agadir-teen",
    who="a 15-year-old in Agadir",
    region="MA-09",
    languages=("ary", "ary-Latn", "fr", "zgh"),
    age_band="13-15",
    distress=0.6,
    guardian_id="rabat-parent",
)
RABAT_PARENT: Final = DemoPerson(
    user_id="rabat-parent",
    who="a French-speaking parent in Rabat",
    region="MA-04",
    languages=("fr", "ar", "ary"),
    age_band="18+",
    distress=0.1,
)
DEMO_PEOPLE: Final = (CASA_ADULT, AGADIR_TEEN, RABAT_PARENT)
"""The first three rows of `users` in every world; their ages are verified."""
