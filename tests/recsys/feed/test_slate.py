import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import DAY, HOUR, MINUTE
from recsys.feed import slate
from recsys.feed.slate import delivered, floors
from recsys.policy.limits import Limits, Windows
from recsys.safety.copies import COLUMNS, bound_pairs
from recsys.safety.floors import Supply
from recsys.safety.ledger import recount
from recsys.safety.validator import UNLABELLED, violations
from recsys.types import Candidates
from recsys.user.state import Delivery, Ledger

PLENTY = Supply(supportive=20, local=20, local_share=0.5)
caps = st.one_of(st.none(), st.integers(0, 9))
windows = st.builds(Windows, last_20=caps, session=caps, rolling_24h=caps, rolling_7d=caps)
counters = st.sampled_from(["R1", "R2", "R1+R2", "S4"])
limits_ = st.builds(
    Limits,
    windows=st.dictionaries(counters, windows),
    gaps=st.dictionaries(counters, st.integers(1, 49)),
    creator_last_20=st.one_of(st.none(), st.integers(1, 5)),
    supportive_floor=st.floats(0, 1),
    local_floor=st.floats(0, 1),
)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", autouse=True, params=["compiled", "Python"])
def loops(request):
    """Every law holds for both loops."""
    library = request.getfixturevalue("native") if request.param == "compiled" else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slate, "library", lambda: library)
        yield


def no_floors(limits: Limits) -> Limits:
    return dataclasses.replace(limits, supportive_floor=0.0, local_floor=0.0)


def table(kinds: list[dict[str, object]], first: int = 0) -> Candidates:
    """Candidates by hand, best first; R0 of a creator of its own unless said otherwise."""
    usual = {
        "tier": 0,
        "family": -1,
        "is_s4": False,
        "is_supportive": False,
        "is_local": False,
        "is_explorable": False,
        "is_new_creator": False,
        **{name: 0 for name in COLUMNS},
    }
    rows = [{**usual, "creator_no": first + n, **kind} for n, kind in enumerate(kinds)]
    names = [*usual, "creator_no"]
    columns = {name: np.array([row[name] for row in rows]) for name in names}
    return Candidates(
        np.arange(first, first + len(kinds), dtype=np.int32), {**columns, "topics": np.zeros(len(kinds), int)}
    )


def scroll_on(somebody, make_candidates, steps, limits_of, seed, n_pages, *, relabels=False):
    """A person who asks for pages of 1 to 50, at any pace; every page is judged before it is delivered."""
    rng, person, first = np.random.default_rng(seed), somebody(), 0
    for _ in range(n_pages):
        person.wait(int(rng.choice(steps)))
        limits = limits_of(rng)
        if relabels and person.history and rng.random() < 0.3:
            raise_some(person, rng)
        candidates = make_candidates(rng, int(rng.integers(0, 120)), first, int(rng.integers(1, 60)))
        eligible = candidates.take(np.bool_(not limits.labelled_only) | (candidates["family"] != UNLABELLED))
        chosen = person.page(eligible, limits, int(rng.integers(1, 51)), seed=int(rng.integers(1000)))
        page = delivered(eligible, chosen.rows, person.at)
        copies = bound_pairs(eligible, chosen.rows.tolist())
        found = violations(person.ledger, page, limits, at=person.at, seen=set(person.seen.item_nos), copies=copies)
        assert found == ()
        person.take(page, limits)
        first += len(candidates)
    return person


def raise_some(person, rng) -> None:
    """Labels of past deliveries go up; the dumb history learns of it too."""
    raised = {
        int(n): int(tier)
        for n, tier in zip(rng.integers(0, len(person.history), 3), rng.choice([1, 2, 3], 3), strict=True)
    }
    for n, tier in raised.items():
        shown = person.history[n]
        old = shown.delivery
        now = Delivery(**{f: getattr(old, f) for f in old.__struct_fields__} | {"tier": max(tier, old.tier)})
        person.history[n] = dataclasses.replace(shown, delivery=now)
    past = [shown.delivery for shown in person.history if shown.delivery.at >= person.at - 8 * DAY]
    person.ledger = recount(person.ledger, past, person.at, person.ledger.revision + 1)


@given(seed=seeds, limits=limits_)
@settings(max_examples=60, deadline=None)
def test_no_page_breaks_a_window_whatever_the_limits(somebody, make_candidates, steps, dumb_recount, seed, limits):
    person = scroll_on(somebody, make_candidates, steps, lambda rng: limits, seed, 8)
    assert dumb_recount(person.history) == []


@given(seed=seeds)
@settings(max_examples=60, deadline=None)
def test_no_window_of_the_market_is_ever_exceeded_by_day_night_or_level(
    somebody, make_candidates, steps, dumb_recount, policy, seed
):
    bands = [key for key in policy.limits if key[0] == ("18+", "16-17", "13-15")[seed % 3]]
    person = scroll_on(
        somebody, make_candidates, steps, lambda rng: policy.limits[bands[int(rng.integers(len(bands)))]], seed, 10
    )
    assert dumb_recount(person.history) == []


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_after_labels_were_raised_nothing_is_added_to_a_window_that_is_full(
    somebody, make_candidates, steps, policy, seed
):
    scroll_on(somebody, make_candidates, steps, lambda rng: policy.limits["18+", 0, False], seed, 10, relabels=True)


@given(seed=seeds, limits=limits_, n=st.integers(0, 30), size=st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_without_floors_every_slot_holds_the_best_candidate_that_breaks_nothing(
    somebody, make_candidates, steps, seed, limits, n, size
):
    limits = no_floors(limits)
    person = scroll_on(somebody, make_candidates, steps, lambda rng: limits, seed, 2)
    person.wait(MINUTE)
    candidates = make_candidates(np.random.default_rng(seed), n, 10_000, 6)
    chosen = person.page(candidates, limits, size, explore_slots=0)
    rows, refusals = by_brute_force(person, candidates, limits, size)
    assert chosen.rows.tolist() == rows
    assert chosen.refusals == refusals


def judge(person, candidates, rows, limits):
    page = delivered(candidates, np.array(rows, np.intp), person.at)
    return violations(person.ledger, page, limits, at=person.at, copies=bound_pairs(candidates, rows))


def by_brute_force(person, candidates, limits, size):
    """Try every candidate in every slot, and let the validator judge."""
    rows: list[int] = []
    refusals = 0
    for _ in range(size):
        left = [row for row in range(len(candidates)) if row not in rows]
        judged = {row: judge(person, candidates, [*rows, row], limits) for row in left}
        new = [row for row in left if all(v.rule != "duplicate" for v in judged[row])]
        refusals += bool(new) and is_risk_window(judged[new[0]], limits)
        feasible = [row for row in left if not judged[row]]
        if not feasible:
            break
        rows.append(feasible[0])
    return rows, refusals


def is_risk_window(found, limits) -> bool:
    """Whether only windows above 0 of R1 and R2 speak against a candidate."""
    counters = [v.rule.split(":", 1)[1] if v.rule[:4] in ("cap:", "gap:") else "other" for v in found]
    tables = [limits.windows.get("R2" if counter[:3] == "R2:" else counter, Windows()) for counter in counters]
    above_0 = all(0 not in dataclasses.asdict(windows).values() for windows in tables)
    return bool(found) and above_0 and all(counter[0] == "R" for counter in counters)


@given(seed=seeds, limits=limits_, n=st.integers(0, 40), size=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_a_short_page_explains_every_candidate_it_leaves(somebody, make_candidates, steps, seed, limits, n, size):
    person = scroll_on(somebody, make_candidates, steps, lambda rng: limits, seed, 2)
    person.wait(MINUTE)
    candidates = make_candidates(np.random.default_rng(seed), n, 10_000, 6)
    chosen = person.page(candidates, limits, size)
    rows = chosen.rows.tolist()
    assert len(set(rows)) == len(rows) == len(chosen.propensities) == len(chosen.is_exploration) == len(chosen.forced)
    assert all(0 <= row < n for row in rows)
    if len(rows) == size:
        assert chosen.blocked == {}
        return
    assert sum(chosen.blocked.values()) == n - len(rows)
    for row in set(range(n)) - set(rows):
        rules = {v.rule for v in judge(person, candidates, [*rows, row], limits) if v.position == len(rows) + 1}
        assert rules & set(chosen.blocked)


@given(seed=seeds, limits=limits_)
@settings(max_examples=40, deadline=None)
def test_a_page_depends_on_the_seed_and_not_on_the_order_of_mappings(somebody, make_candidates, steps, seed, limits):
    person = scroll_on(somebody, make_candidates, steps, lambda rng: limits, seed, 3)
    candidates = make_candidates(np.random.default_rng(seed), 60, 10_000, 20)
    first = person.page(candidates, limits, 30, seed=7)
    turned = dataclasses.replace(
        limits, windows=dict(reversed(limits.windows.items())), gaps=dict(reversed(limits.gaps.items()))
    )
    fields = {name: getattr(person.ledger, name) for name in person.ledger.__struct_fields__}
    person.ledger = Ledger(**fields | {"capped": dict(reversed(person.ledger.capped.items()))})
    again = person.page(candidates, turned, 30, seed=7)
    assert first.rows.tolist() == again.rows.tolist()
    assert first.propensities.tolist() == again.propensities.tolist()
    assert (first.blocked, first.refusals, first.forced) == (again.blocked, again.refusals, again.forced)


# Exploration


@given(seed=seeds)
@settings(max_examples=60, deadline=None)
def test_an_exploration_slot_says_one_over_the_number_of_feasible_candidates(somebody, make_candidates, policy, seed):
    limits = no_floors(policy.limits["18+", 0, False])
    person = somebody()
    person.wait(0)
    candidates = make_candidates(np.random.default_rng(seed), 60, 0, 12)
    chosen = person.page(candidates, limits, 20, seed=seed)
    rows = chosen.rows.tolist()
    assert sum(chosen.is_exploration) <= 1
    for n, row in enumerate(rows):
        if not chosen.is_exploration[n]:
            assert chosen.propensities[n] == 1
            continue
        feasible = [
            other
            for other in np.flatnonzero(candidates["is_explorable"]).tolist()
            if other not in rows[:n] and not judge(person, candidates, [*rows[:n], other], limits)
        ]
        assert row in feasible
        assert chosen.propensities[n] == np.float32(1 / len(feasible))


def test_exploration_is_uniform_over_what_is_feasible(somebody, policy):
    person = somebody()
    person.wait(0)
    candidates = table([{"is_explorable": n >= 20} for n in range(24)])
    drawn = [
        int(chosen.rows[chosen.is_exploration.index(True)])
        for chosen in (person.page(candidates, Limits(), 20, seed=seed) for seed in range(400))
    ]
    counts = np.bincount(drawn, minlength=24)[20:]
    assert counts.sum() == 400
    assert counts.min() > 70  # 100 expected, 8.7 the deviation


def test_exploration_is_the_new_creators_until_they_have_their_share_of_the_local_slots(somebody):
    """
    40 local items, every second reviewed; two of the reviewed are by new creators. The first page explores one of them,
    by chance alone; the second page, with one new creator among 30 local slots and a share of 3 %, explores anybody.
    """
    kinds = [{"is_local": True, "is_explorable": n % 2 == 0, "is_new_creator": n in (36, 38)} for n in range(40)]
    first_rows, second_rows = set(), set()
    for seed in range(60):
        person, candidates = somebody(), table(kinds)
        person.wait(0)
        chosen = person.scroll(candidates, Limits(), 20, seed=seed, new_creator_share=0.03)
        slot = chosen.is_exploration.index(True)
        first_rows.add(int(chosen.rows[slot]))
        assert chosen.propensities[slot] == np.float32(0.5)
        assert sum(d.is_new_creator for d in person.ledger.last) == 1
        again = person.page(table(kinds, first=100), Limits(), 20, seed=seed, new_creator_share=0.03)
        slot = again.is_exploration.index(True)
        second_rows.add(int(again.rows[slot]))
        assert again.propensities[slot] < 0.1
    assert first_rows == {36, 38} and len(second_rows - {36, 38}) > 5


def test_without_new_creators_exploration_draws_from_everybody_reviewed(somebody):
    person = somebody()
    candidates = table([{"is_local": True, "is_explorable": n >= 20} for n in range(24)])
    chosen = person.page(candidates, Limits(), 20, new_creator_share=1.0)
    assert chosen.propensities[chosen.is_exploration.index(True)] == np.float32(0.25)


@given(seed=seeds, most=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_a_draw_from_the_best_gives_each_of_them_an_equal_chance_and_all_others_none(somebody, seed, most):
    person = somebody()
    candidates = table([{"is_explorable": n % 2 == 0} for n in range(40)])
    chosen = person.page(candidates, Limits(), 20, seed, explore_from=most, new_creator_share=0.0)
    slot = chosen.is_exploration.index(True)
    before = set(chosen.rows[:slot].tolist())
    feasible = [row for row in range(0, 40, 2) if row not in before][:most]
    assert int(chosen.rows[slot]) in feasible
    assert chosen.propensities[slot] == np.float32(1 / len(feasible)) >= np.float32(1 / most)


def test_no_slots_for_exploration_mean_none(somebody):
    person = somebody()
    candidates = table([{"is_explorable": True}] * 40)
    assert person.page(candidates, Limits(), 40, explore_slots=0).rows.tolist() == list(range(40))


# Floors


def hits(person, name: str) -> list[bool]:
    return [getattr(shown.delivery, name) for shown in person.history]


def short_runs(flags: list[bool], wanted: int) -> list[int]:
    """Where every complete run of 20 ends that has fewer than wanted."""
    return [end for end in range(20, len(flags) + 1) if sum(flags[end - 20 : end]) < wanted]


def every_kind(rng: np.random.Generator, first: int, *, both: bool = True) -> Candidates:
    """240 R0 and risky items of creators of their own, enough of each kind, in random order."""
    kinds: list[dict[str, object]] = []
    for supportive, local in [(True, False), (False, True), (False, False), *([(True, True)] if both else [])]:
        kinds += [{"is_supportive": supportive, "is_local": local, "is_explorable": n < 5} for n in range(50)]
    kinds += [{"tier": 1 + n % 2, "family": n % 4 if n % 2 else -1, "is_local": n % 3 == 0} for n in range(40)]
    return table([kinds[n] for n in rng.permutation(len(kinds))], first)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_with_enough_supply_both_floors_hold_in_every_run_of_20(somebody, policy, seed):
    rng, person = np.random.default_rng(seed), somebody()
    keys = [key for key in policy.limits if key[0] != "under_13"]
    limits = policy.limits[keys[seed % len(keys)]]
    for page in range(8):
        person.wait(MINUTE)
        chosen = person.scroll(
            every_kind(rng, 1_000 * page), limits, int(rng.integers(1, 51)), seed=seed, supply=PLENTY
        )
        assert chosen.floor_missed == ()
    assert short_runs(hits(person, "is_supportive"), int(20 * limits.supportive_floor + 1e-9)) == []
    assert short_runs(hits(person, "is_local"), 6) == []


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_floors_that_no_item_serves_together_are_kept_side_by_side(somebody, policy, seed):
    rng, person = np.random.default_rng(seed), somebody()
    limits = policy.limits["18+", 0, False]  # 8 supportive and 6 local of 20
    for page in range(8):
        person.wait(MINUTE)
        candidates = every_kind(rng, 1_000 * page, both=False)
        person.scroll(candidates, limits, int(rng.integers(1, 51)), seed=seed, supply=PLENTY)
    assert short_runs(hits(person, "is_supportive"), 8) == []
    assert short_runs(hits(person, "is_local"), 6) == []


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_a_floor_that_is_raised_is_reached_within_20_deliveries(somebody, policy, seed):
    rng, person = np.random.default_rng(seed), somebody()
    low, high = policy.limits["18+", 0, False], policy.limits["18+", 1, False]  # 8, then 12 of 20
    person.wait(0)
    person.scroll(every_kind(rng, 0), low, 40, supply=PLENTY)
    missed = []
    for page in range(1, 6):
        missed += person.scroll(
            every_kind(rng, 1_000 * page), high, int(rng.integers(1, 21)), supply=PLENTY
        ).floor_missed
    short = [end for end in short_runs(hits(person, "is_supportive"), 12) if end > 40]
    assert all(end < 60 for end in short)
    assert len(short) == len(missed)
    assert {miss.reason for miss in missed} <= {"lost before this page"}
    assert short_runs(hits(person, "is_local"), 6) == []


@given(seed=seeds, n_supportive=st.integers(0, 12), n_local=st.integers(0, 9), limits=limits_)
@settings(max_examples=40, deadline=None)
def test_what_a_short_supply_costs_a_floor_is_counted_exactly(somebody, seed, n_supportive, n_local, limits):
    rng, person = np.random.default_rng(seed), somebody()
    missed = []
    for page in range(6):
        kinds = [
            {"is_supportive": n < n_supportive, "is_local": n_supportive <= n < n_supportive + n_local}
            for n in range(60)
        ]
        kinds += [{"tier": 1 + n % 2, "creator_no": n % 9} for n in range(20)]
        candidates = table([kinds[n] for n in rng.permutation(len(kinds))], 1_000 * page)
        person.wait(MINUTE)
        chosen = person.page(candidates, limits, int(rng.integers(1, 51)), supply=PLENTY)
        assert judge(person, candidates, chosen.rows, limits) == ()  # nothing else is relaxed for a floor
        person.take(delivered(candidates, chosen.rows, person.at), limits)
        missed += chosen.floor_missed
    wanted = [floor.wanted for floor in floors(Ledger(), limits, PLENTY, 1.5)]
    for name, flag, floor in zip(("supportive", "local"), ("is_supportive", "is_local"), wanted, strict=True):
        assert len(short_runs(hits(person, flag), floor)) == sum(miss.name == name for miss in missed)


def test_the_supportive_floor_stays_when_the_local_one_cannot_be_served(somebody):
    """Local items are all of one creator who was on the page twice; supportive ones still come first."""
    limits = Limits(supportive_floor=0.5, local_floor=0.5, creator_last_20=2)
    person = somebody()
    candidates = table(
        [{}] * 20 + [{"is_supportive": True}] * 12 + [{"is_local": True, "is_supportive": True, "creator_no": 999}] * 12
    )
    chosen = person.scroll(candidates, limits, 20, supply=PLENTY)
    assert sum(hits(person, "is_supportive")) == 10
    assert sum(hits(person, "is_local")) == 2
    assert [(miss.name, miss.reason) for miss in chosen.floor_missed] == [("local", "creator_spacing")]


def test_a_floor_takes_the_best_candidates_first_and_the_owed_ones_last(somebody):
    """A deficit of three in 20: seventeen best, then three supportive (by hand)."""
    person = somebody()
    candidates = table([{}] * 30 + [{"is_supportive": True}] * 5)
    chosen = person.page(candidates, Limits(supportive_floor=0.15), 20)
    assert chosen.rows.tolist() == [*range(17), 30, 31, 32]
    assert chosen.forced == ("",) * 17 + ("supportive",) * 3


@pytest.mark.parametrize(
    ("share", "factor", "floor", "wanted"),
    [(0.5, 1.5, 0.30, 6), (0.2, 1.5, 0.30, 6), (0.1, 1.5, 0.30, 3), (0.0, 1.5, 0.30, 0), (0.05, 1.5, 0.30, 1)],
)
def test_the_local_floor_shrinks_with_the_local_share_of_the_supply(share, factor, floor, wanted):
    supply = Supply(supportive=20, local=20, local_share=share)
    assert floors(Ledger(), Limits(local_floor=floor), supply, factor)[1].wanted == wanted


def test_a_floor_never_asks_for_more_than_the_catalogue_holds():
    supply = Supply(supportive=3, local=2, local_share=1.0)
    both = floors(Ledger(), Limits(supportive_floor=0.8, local_floor=0.3), supply, 1.5)
    assert [floor.wanted for floor in both] == [3, 2]


# By hand


def test_a_page_of_r2_alone_holds_what_the_gap_lets_through(somebody, policy):
    """Gap 6 and nothing else to put between: one item, then a short page (attack 18)."""
    person = somebody()
    person.wait(0)
    candidates = table([{"tier": 2, "family": n % 4} for n in range(30)])
    chosen = person.page(candidates, policy.limits["18+", 0, False], 20)
    assert chosen.rows.tolist() == [0]
    assert chosen.blocked == {"gap:R2": 29}
    assert chosen.refusals == 1


def test_one_family_fills_half_of_a_cap(somebody, policy):
    """R2 2 of 20, so one of each family; the second despair waits (by hand)."""
    person = somebody()
    person.wait(0)
    candidates = table([{"tier": 2, "family": 0}] * 2 + [{"tier": 2, "family": 1}] + [{}] * 30)
    chosen = person.page(candidates, no_floors(policy.limits["18+", 0, False]), 20, explore_slots=0)
    assert chosen.rows.tolist()[:9] == [0, 3, 4, 5, 6, 7, 8, 2, 9]
    assert 1 not in chosen.rows


def test_a_cap_of_zero_is_not_a_refusal(somebody, policy):
    person = somebody()
    person.wait(0)
    candidates = table([{"tier": 2, "family": 0}] * 5 + [{}] * 30)
    assert person.page(candidates, no_floors(policy.limits["18+", 2, False]), 20).refusals == 0


def test_a_window_opens_one_millisecond_after_24_hours(somebody):
    limits = Limits(windows={"R2": Windows(rolling_24h=2)})
    person = somebody()
    person.wait(0)
    person.scroll(table([{"tier": 2, "family": 0}, {"tier": 2, "family": 1}]), limits, 2)
    person.wait(DAY)
    later = table([{"tier": 2, "family": 0}], 100)
    assert person.page(later, limits, 1).blocked == {"cap:R2": 1}
    person.wait(1)
    assert person.page(later, limits, 1).rows.tolist() == [0]


def test_no_candidates_make_an_empty_page(somebody):
    chosen = somebody().page(table([{}]).take(np.array([], np.intp)), Limits(), 20)
    assert (len(chosen.rows), dict(chosen.blocked), chosen.refusals, chosen.floor_missed) == (0, {}, 0, ())


def test_a_longer_wait_never_makes_a_page_stricter(somebody, make_candidates, policy):
    """Time only opens windows: what a page holds after 25 h is at least as much R2 as at once (by count)."""
    limits = no_floors(policy.limits["18+", 0, False])
    rng, person = np.random.default_rng(3), somebody()
    person.wait(0)
    person.scroll(make_candidates(rng, 100, 0), limits, 50)
    candidates = make_candidates(rng, 100, 1_000)
    soon = person.page(candidates, limits, 20)
    person.wait(25 * HOUR)
    late = person.page(candidates, limits, 20)
    assert (candidates["tier"][late.rows] > 0).sum() >= (candidates["tier"][soon.rows] > 0).sum()
