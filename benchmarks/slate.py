"""
What the slot loop costs per page: milliseconds for 500 candidates and 20 slots with every window on.

    python benchmarks/slate.py [--pages 2000]

People scroll page after page, so that the ledger is full, gaps and caps bind and both floors hold. The validator's
share is timed beside it, and finds nothing.
"""

import argparse
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from recsys.clock import MINUTE, Millis
from recsys.feed.slate import delivered, select
from recsys.policy.checks import load_market
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import Limits
from recsys.policy.schema import SessionRules
from recsys.safety.copies import COLUMNS
from recsys.safety.floors import Supply
from recsys.safety.ledger import deliver, server_time, touch
from recsys.safety.validator import violations
from recsys.types import Candidates
from recsys.user.state import Ledger

POLICY = Path(__file__).parents[1] / "policies" / "morocco.yaml"
START: Millis = 1_800_000_000_000
SUPPLY = Supply(supportive=20, local=20, local_share=0.3)
PAGES_EACH = 25  # pages of one person


def candidates(rng: np.random.Generator, n: int, first: int) -> Candidates:
    """`n` candidates, best first: a fifth risky, a third local, a tenth of the supportive ones stories of hope."""
    tier = rng.choice([0, 1, 2], n, p=[0.8, 0.1, 0.1])
    is_supportive = (tier == 0) & (rng.random(n) < 0.5)
    return Candidates(
        np.arange(first, first + n, dtype=np.int32),
        {
            "tier": tier.astype(np.int8),
            "family": np.where(tier == 2, rng.integers(0, 4, n), -1).astype(np.int8),
            "is_s4": is_supportive & (rng.random(n) < 0.1),
            "is_supportive": is_supportive,
            "is_local": rng.random(n) < 0.3,
            "creator_no": rng.integers(0, 120, n),
            **{name: np.zeros(n, dtype) for name, dtype in COLUMNS.items()},
            "is_explorable": (tier == 0) & (rng.random(n) < 0.05),
            "is_new_creator": np.zeros(n, np.bool_),
            "topics": rng.integers(0, 1 << 12, n).astype(np.int16),
        },
    )


def person(
    rng: np.random.Generator, limits: Limits, rules: SessionRules, n: int, size: int
) -> list[tuple[float, float]]:
    """Milliseconds of (select, validate) for each page of one person."""
    ledger, at, took = Ledger(), START, []
    for page in range(PAGES_EACH):
        ledger = touch(ledger, at + 20 * MINUTE, rules)
        at = server_time(ledger, at)
        table = candidates(rng, n, 1_000 * page)
        start = time.perf_counter()
        chosen = select(
            table,
            ledger=ledger,
            limits=limits,
            supply=SUPPLY,
            supply_factor=1.5,
            size=size,
            at=at,
            rng=rng,
            explore_slots=1,
        )
        middle = time.perf_counter()
        deliveries = delivered(table, chosen.rows, at)
        before_check = time.perf_counter()
        problems = violations(ledger, deliveries, limits, at=at)
        end = time.perf_counter()
        if problems:
            raise SystemExit(problems[0].sentence)
        took.append(((middle - start) * 1e3, (end - before_check) * 1e3))
        ledger = deliver(ledger, deliveries, at)
    return took


def machine() -> str:
    """The processor's name, so that a number can be compared."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].split(':')[1].strip() if names else platform.machine()}, Python {platform.python_version()}"


def line(name: str, took: list[float]) -> str:
    """Median and 99th percentile, as text."""
    return f"{name}: median {statistics.median(took):.2f} ms, p99 {statistics.quantiles(took, n=100)[98]:.2f} ms"


def main() -> None:
    """Times the policy of each age band and level and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=2_000)
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--size", type=int, default=20)
    options = parser.parse_args()
    market = load_market(POLICY)
    policy, rng = CompiledPolicy(market), np.random.default_rng(0)
    print(f"{machine()}, one core; {options.candidates} candidates, {options.size} slots, violations 0")
    for band, level in (("18+", 0), ("18+", 1), ("16-17", 0)):
        took = [
            pair
            for _ in range(max(1, options.pages // PAGES_EACH))
            for pair in person(rng, policy.limits[band, level, False], market.session, options.candidates, options.size)
        ]
        select_took, check_took = zip(*took, strict=True)
        print(f"{band} level {level}: {line('select', list(select_took))}; {line('validate', list(check_took))}")


if __name__ == "__main__":
    main()
