"""People through the real engine: no violations, and a recount under a stricter policy finds some."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from eval.simulation.baselines import BaselineFeed, CapsOnly, CatalogueLabels
from eval.simulation.closed_loop import STRESS_HABITS, EngineFeed, Habits, PersonLog, SharedTruth, simulate_person
from eval.simulation.outcomes import ExposureTotals, measure_exposure, measure_shares
from eval.simulation.personas import LOW_DISTRESS, PERSONAS, Member, events_of, make_members, react, visit_times
from eval.simulation.rankers import score_only
from eval.simulation.recount import deliveries_of, most_in_any_run, recount
from eval.simulation.world.build import generate
from eval.simulation.world.params import ENDS_AT, WorldParams
from eval.simulation.world.truth import World
from recsys.clock import DAY, to_text
from recsys.feed.record import unpack


@pytest.fixture(scope="session")
def world() -> World:
    """The world that the tiny artifact was trained on."""
    return generate(WorldParams(n_items=300, n_users=100, n_events=5_000))


def _shared(world: World, name: str, *, is_blind: bool = False) -> tuple[Member, SharedTruth]:
    personas = [persona for persona in PERSONAS if persona.name == name]
    truth, members = make_members(world, personas, 1, np.random.default_rng(3), kinds=(is_blind,))
    ids, tier = world.items["item_id"].to_list(), world.truth.items.tier
    shared = SharedTruth(
        truth=truth, item_ids=tuple(ids), creator_ids=tuple(world.items["creator_id"]),
        row_of={item_id: row for row, item_id in enumerate(ids)}, risky=np.flatnonzero(tier == 2),
        heavy=np.flatnonzero((tier == 1) | (tier == 2)),
    )  # fmt: skip
    return members[0], shared


def _simulate(world: World, service, name: str, days: int = 2, habits: Habits = STRESS_HABITS) -> PersonLog:
    member, shared = _shared(world, name)
    rng = np.random.default_rng(5)
    return simulate_person(
        member, shared, EngineFeed(engine=service.engine), habits, starts_at=ENDS_AT, days=days, rng=rng
    )


@pytest.mark.parametrize("name", ["passive", "curious teen", "family pair", "recovering"])
def test_days_with_apps_at_their_worst_have_no_violations(world, service, morocco, name) -> None:
    log = _simulate(world, service, name)

    def record(request_id: str):
        return unpack(service.store.users.read(log.member.user_id, request_id).answer.decision)

    exposure = measure_exposure(log, morocco, record)
    assert exposure.violations == []
    assert exposure.n > 40
    assert service.alerts == []


def test_deliveries_are_of_the_instant_at_which_the_service_served_them(world, service, morocco) -> None:
    """Every clock is behind, so every page comes after events of a later time than its own."""
    log = _simulate(world, service, "passive", habits=replace(STRESS_HABITS, slow_clock=1.0))
    deliveries, problems = deliveries_of(log, morocco)
    served = {number: page.answer.response.served_at for number, page in enumerate(log.pages) if page.answer.response}
    assert problems == []
    assert [to_text(delivery.at) for delivery in deliveries] == [served[delivery.page] for delivery in deliveries]
    assert any(to_text(page.at) < served[number] for number, page in enumerate(log.pages) if number in served)


def test_a_recount_under_a_stricter_policy_finds_what_the_looser_one_served(world, service, morocco, strict) -> None:
    deliveries, problems = deliveries_of(_simulate(world, service, "passive"), morocco)
    assert problems == []
    assert recount(deliveries, morocco, "x").violations == []
    assert recount(deliveries, strict, "x").violations


def test_the_same_seed_gives_the_same_days(world, make_service) -> None:
    first, second = (_simulate(world, make_service(), "diaspora", 1) for _ in range(2))
    assert [page.answer.item_ids for page in first.pages] == [page.answer.item_ids for page in second.pages]


def test_shares_are_those_of_what_was_shown(world, service) -> None:
    log = _simulate(world, service, "engaged-help", habits=Habits())
    _, shared = _shared(world, "engaged-help")
    rows = np.concatenate([page.rows for page in log.pages])
    local = np.zeros(300, np.bool_)
    shares = measure_shares(log, shared, local, catalogue_r2=0.1, starts_at=ENDS_AT, days=2)
    assert shares.n == len(rows)
    assert shares.local == 0
    assert shares.r1_r2 == pytest.approx((world.truth.items.tier[rows] >= 1).mean())
    assert len(shares.daily) == 2


def test_exposures_add_up() -> None:
    a, b = (
        ExposureTotals(name="a", n=3, most_20=1, cpu_us=[1.0]),
        ExposureTotals(name="b", n=4, most_20=2, violations=["v"]),
    )
    a.add(b)
    assert (a.n, a.most_20, a.violations, a.cpu_us) == (7, 2, ["v"], [1.0])


def test_a_blind_follower_only_watches_and_to_the_end(world) -> None:
    member, shared = _shared(world, "avoidant", is_blind=True)
    items = np.arange(200)
    informed = react(replace(member, is_blind=False), shared.truth, items, np.random.default_rng(1))
    blind = react(member, shared.truth, items, np.random.default_rng(1))
    assert blind.completed.mean() > 0.85 > informed.completed.mean()
    assert not blind.too_much.any()


def test_a_person_who_recovers_watches_less_r2_and_gives_negative_feedback_on_it(world) -> None:
    member, shared = _shared(world, "recovering")
    before, after = (
        react(member, shared.truth, shared.risky, np.random.default_rng(1), has_recovered=r) for r in (0, 1)
    )
    assert before.watch_fraction.mean() - after.watch_fraction.mean() > 0.3
    assert after.not_interested.mean() > 0.3 > before.not_interested.mean()
    assert shared.truth.people.distress[[member.row, member.other_row]].tolist() == [0.9, LOW_DISTRESS]


def test_events_name_every_video_once_as_viewed_and_never_twice(world) -> None:
    member, shared = _shared(world, "engaged-distress")
    done = react(member, shared.truth, np.arange(50), np.random.default_rng(1))
    events = events_of(member, done, shared.item_ids[:50], shared.creator_ids[:50], ENDS_AT)
    views = [event for event in events if event["kind"] == "view"]
    assert [event["item_id"] for event in views] == list(shared.item_ids[:50])
    assert [event["watch_fraction"] for event in views] == done.watch_fraction.tolist()
    assert len({event["event_id"] for event in events}) == len(events)


def test_visits_come_in_order_and_within_the_days() -> None:
    for persona in PERSONAS:
        times = visit_times(persona, ENDS_AT, 7, np.random.default_rng(1))
        assert times == sorted(times)
        assert 7 * persona.visits[0] <= len(times) <= 7 * persona.visits[1]
        assert all(ENDS_AT <= at < ENDS_AT + 7 * DAY for at in times)


def test_a_ranker_of_watch_time_loops_and_the_ledger_under_it_does_not(world, make_service) -> None:
    """The same greedy score without caps, with caps that forget between pages, and with caps that remember."""
    ids, tier = world.items["item_id"].to_list(), world.truth.items.tier
    is_r2 = world.items["risk_tier"].fill_null("R2") == "R2"
    labels = CatalogueLabels(
        theme=dict(zip(ids, tier.tolist(), strict=True)), is_r2=dict(zip(ids, is_r2, strict=True)), n_themes=5
    )
    most_in_20 = []
    for keeps_ledger in (None, False, True):
        service = make_service()
        for item_id in world.items.filter(pl.Series(tier <= 2))["item_id"]:
            service.edit(item_id, ENDS_AT, risk_tier="R0", risk_family=None, risk_source="human", risk_confidence=1.0)
        caps = None if keeps_ledger is None else CapsOnly(labelled=make_service().engine, keeps_ledger=keeps_ledger)
        member, shared = _shared(world, "engaged-distress")
        feed = BaselineFeed(engine=service.engine, ranker=score_only, labels=labels, caps=caps)
        log = simulate_person(member, shared, feed, Habits(), starts_at=ENDS_AT, days=2, rng=np.random.default_rng(5))
        rows = np.concatenate([page.rows for page in log.pages])
        most_in_20.append(most_in_any_run([bool(is_r2[row]) for row in rows.tolist()], 20))
    assert most_in_20[0] >= most_in_20[1] >= most_in_20[2]
    assert most_in_20[0] > 4
    assert most_in_20[2] <= 2
