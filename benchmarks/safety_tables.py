"""The tables of `benchmarks/safety.py`."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from eval.offline.intervals import Estimate, estimate, resample
from eval.simulation.outcomes import ExposureTotals, TrueShares
from eval.simulation.recount import WINDOWS
from recsys.policy.schema import Market

COUNTERS: Final = ("R1", "R2", "R1+R2", "S4", "R2:despair", "R2:body", "R2:aggression", "R2:self_diagnosis")
COLUMNS: Final = {
    "r2": "R2",
    "r1_r2": "R1+R2",
    "most_20": "max R2 in 20",
    "longest": "longest run",
    "supportive": "supportive",
    "local": "local",
    "watched": "mean watch",
}


def print_exposures(people: Sequence[ExposureTotals], market: Market, seconds: float) -> None:
    """All counts of the first part."""
    total = ExposureTotals(name="everybody")
    by_name: dict[str, ExposureTotals] = {}
    for person in people:
        total.add(person)
        by_name.setdefault(person.name, ExposureTotals(name=person.name)).add(person)
    print(f"\n{total.n:,} impressions, {total.n_people:,} people, {total.pages:,} pages, {seconds:,.0f} s")
    print(f"violations: {len(total.violations)}")
    for sentence in total.violations[:20]:
        print(f"  {sentence}")
    median, p99 = np.percentile(np.array(total.cpu_us), [50, 99])
    print(f"a page takes {median:,.0f} µs of processor in the median, {p99:,.0f} µs at p99")
    _print_fullest(total, market)
    _print_people([*by_name.values(), total])
    print("\nwhat had raised a level at the end of their days (signals of docs/safety.md), in people")
    for row in by_name.values():
        print(f"  {row.name:20}{row.n_people:>5} people: " + ", ".join(f"{s} {n}" for s, n in row.raised.most_common()))
    print(f"\npages short: {total.short:,} of {total.pages:,}; each names its reasons (most frequent first)")
    print("  " + ", ".join(f"{why} {n:,}" for why, n in total.missing.most_common(14)))
    _print_floors(total)


def _print_fullest(total: ExposureTotals, market: Market) -> None:
    """The fullest window anyone ever had."""
    print("\nthe fullest window that anyone had, of the cap at that time (by whom)")
    for band in [band for band in market.ages if any(key[0] == band for key in total.fullest)]:
        print(f"  {band:18}" + "".join(f"{window:>37}" for window in WINDOWS))
        for counter in COUNTERS:
            cells = [total.fullest.get((band, counter, window)) for window in WINDOWS]
            texts = [f"{cell[0].n} of {cell[0].cap} ({cell[1]})" if cell else "0" for cell in cells]
            print(f"    {counter:16}" + "".join(f"{text:>37}" for text in texts))


def _print_people(rows: Sequence[ExposureTotals]) -> None:
    """One line per persona."""
    heads = ("shown", "R0", "R1", "R2", "in 20", "in 50", "run", "supportive", "local", "night", "level 0/1/2 of pages")
    print(f"\n  {'':20}" + "".join(f"{head:>11}" for head in heads[:-1]) + f"{heads[-1]:>24}")
    for row in rows:
        n, pages = max(1, row.n), max(1, row.pages)
        shares = [f"{row.tiers[tier] / n:.1%}" for tier in ("R0", "R1", "R2")]
        rest = [f"{value / n:.1%}" for value in (row.supportive, row.local, row.night)]
        levels = " / ".join(f"{row.levels[level] / pages:.0%}" for level in (0, 1, 2))
        cells = [f"{row.n:,}", *shares, *map(str, (row.most_20, row.most_50, row.longest)), *rest]
        print(f"  {row.name:20}" + "".join(f"{cell:>11}" for cell in cells) + f"{levels:>24}")


def _print_floors(total: ExposureTotals) -> None:
    print("\nfloors, over every complete run of 20 deliveries")
    for name, count in total.floors.items():
        print(
            f"  {name:12}{count.runs:>12,} runs, {count.below:,} below the market's floor, "
            f"{count.below_supply:,} of them although the catalogue had enough for the person"
        )
    reasons: Counter[str] = total.floor_reasons
    print("  why: " + (", ".join(f"{why} {n:,}" for why, n in reasons.most_common(12)) or "none"))


def print_shares(
    results: Sequence[tuple[str, str, TrueShares]], personas: Sequence[str], policies: Sequence[str]
) -> None:
    """A table per persona, policies below each other, with 95 % intervals over people."""
    n = max(1, len(results) // (len(personas) * len(policies)))
    resamples = resample(n, np.random.default_rng(0))
    width = max(map(len, policies)) + 2
    print(f"\nrankers over the same catalogue, {n} people each; [95 % bootstrap interval over people]")
    for persona in personas:
        has_escape = any(np.isfinite(shares.escape) for _, who, shares in results if who == persona)
        heads = COLUMNS | ({"escape": "escape"} if has_escape else {})
        print(f"\n{persona}\n  {'':{width}}" + "".join(f"{head:>19}" for head in heads.values()))
        for policy in policies:
            rows = [shares for p, who, shares in results if (p, who) == (policy, persona)]
            cells = []
            for name in heads:
                values = np.array([getattr(shares, name) for shares in rows], np.float64)
                cells.append(_cell(name, estimate(values, resamples)))
            print(f"  {policy:{width}}" + "".join(f"{cell:>19}" for cell in cells))


def print_overview(
    results: Sequence[tuple[str, str, TrueShares]], personas: Sequence[str], policies: Sequence[str]
) -> None:
    """One line per ranker: the share of R2 by persona, and the worst of all people."""
    print("\nR2 in what each kind of person is shown, in %; last the person who was shown most of it")
    width, columns = max(map(len, policies)) + 2, [*personas, "worst person"]
    parts = [name.split(" ") if " " in name else name.split("-") if "-" in name else ["", name] for name in columns]
    for line in zip(*([" ".join(part[:-1]), part[-1]] for part in parts), strict=True):
        print(f"  {'':{width}}" + "".join(f"{word:>14}" for word in line))
    for policy in policies:
        rows = [(who, shares.r2) for p, who, shares in results if p == policy and np.isfinite(shares.r2)]
        means = [float(np.mean([r2 for who, r2 in rows if who == persona])) for persona in personas]
        print(f"  {policy:{width}}" + "".join(f"{100 * r2:>14.1f}" for r2 in [*means, max(r2 for _, r2 in rows)]))


def _cell(name: str, value: Estimate) -> str:
    """A number with its interval, in the units of its column."""
    if value.mean is None or value.low is None or value.high is None:
        return "–"
    if name in ("most_20", "longest", "escape"):
        return f"{value.mean:.1f} [{value.low:.1f}, {value.high:.1f}]"
    if name == "watched":
        return f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]"
    digits = 1 if value.high < 0.1 else 0
    return f"{100 * value.mean:.{digits}f} % [{100 * value.low:.{digits}f}, {100 * value.high:.{digits}f}]"
