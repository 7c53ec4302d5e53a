"""
What the independent validator costs per page: microseconds for a page of 20 after a full history.

    python benchmarks/validator.py [--repeats 2000]

Two pages: a usual one, which breaks no rule, and the worst one, where all 20 items are R2 and every rule is broken.
"""

import argparse
import platform
import statistics
import time
from pathlib import Path

from recsys.clock import MINUTE, Millis
from recsys.policy.limits import MAX_CAP, Limits, Windows
from recsys.safety.validator import violations
from recsys.user.state import LAST, MAX_SEEN, Delivery, Ledger

AT: Millis = 1_800_000_000_000
ADULT = Limits(
    windows={
        "R2": Windows(last_20=2, session=3, rolling_24h=6, rolling_7d=21),
        "R1": Windows(last_20=4, session=8, rolling_24h=20, rolling_7d=80),
        "R1+R2": Windows(last_20=5, session=10, rolling_24h=24, rolling_7d=90),
        "S4": Windows(last_20=4, session=6, rolling_24h=12, rolling_7d=50),
    },
    gaps={"R2": 6, "R1": 2, "S4": 3},
    creator_last_20=2,
    blocked_tiers=frozenset({3, 4}),
)


def full_history() -> Ledger:
    """Fifty deliveries, and as many times of every counter as a ledger can hold, none of them recent."""
    old = tuple(AT - 7 * 24 * 60 * MINUTE - n for n in range(MAX_CAP, 0, -1))
    families = ("despair", "body", "aggression", "self_diagnosis", "unlabelled")
    names = ("R1", "R2", "S4", *(f"R2:{family}" for family in families))
    last = tuple(Delivery(at=AT - 1, item_no=n, creator_no=n) for n in range(LAST))
    return Ledger(last=last, capped=dict.fromkeys(names, old), session_started_at=AT, active_at=AT)


def usual_page() -> list[Delivery]:
    """Two R2, four R1, the rest R0."""
    tiers = {0: 2, 10: 2, 2: 1, 6: 1, 12: 1}
    return [
        Delivery(at=AT, item_no=n, creator_no=n, tier=tiers.get(n - 1000, 0), family=n // 10 % 5)
        for n in range(1000, 1020)
    ]


def worst_page() -> list[Delivery]:
    """Everything R2, of one creator, told as a story of hope."""
    return [Delivery(at=AT, item_no=n, creator_no=1, tier=2, family=n % 5, is_s4=True) for n in range(1000, 1020)]


def machine() -> str:
    """The processor's name, so that a number can be compared."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].split(':')[1].strip() if names else platform.machine()}, Python {platform.python_version()}"


def main() -> None:
    """Times both pages and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2_000)
    repeats = parser.parse_args().repeats
    seen, before = frozenset(range(10_000, 10_000 + MAX_SEEN)), full_history()
    print(f"{machine()}, one core, {repeats} pages each")
    for name, page in (("usual page", usual_page()), ("worst page", worst_page())):
        took = []
        for _ in range(repeats):
            start = time.perf_counter()
            problems = violations(before, page, ADULT, at=AT, seen=seen)
            took.append((time.perf_counter() - start) * 1e6)
        p99 = statistics.quantiles(took, n=100)[98]
        print(f"{name}: median {statistics.median(took):.0f} µs, p99 {p99:.0f} µs, {len(problems)} violations")


if __name__ == "__main__":
    main()
