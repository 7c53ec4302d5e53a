"""The numbers of policies/morocco.yaml, written out again by hand from the specification, and files that are wrong."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from recsys.config import load
from recsys.errors import ConfigError
from recsys.policy.checks import load_market
from recsys.policy.limits import Windows
from recsys.policy.schema import Market, family_number, parse_hours, tier_number

POLICY = Path(__file__).parents[3] / "policies" / "morocco.yaml"
BANDS = ("18+", "16-17", "13-15")
# Section 3 of the specification. Columns: last 20, session, 24 h, 7 d, gap; adult, then 16-17, then 13-15. 0 = "-".
BASE = {
    "R2": [(2, 3, 6, 21, 6), (1, 2, 3, 10, 20), (1, 1, 2, 6, 30)],
    "R1": [(4, 8, 20, 80, 2), (3, 6, 12, 50, 3), (2, 4, 8, 30, 4)],
    "R1+R2": [(5, 10, 24, 90, 0), (3, 7, 14, 55, 0), (2, 4, 9, 33, 0)],
    "S4": [(4, 6, 12, 50, 3), (3, 6, 12, 50, 3), (2, 6, 12, 50, 3)],
}
TIGHTENED = [(1, 1, 2, 7, 30), (1, 1, 1, 3, 40), (0, 0, 0, 0, 0)]
NEVER = (0, 0, 0, 0)
# By night: R2 half, 0, 0; R1 half, and 0 for minors, whose night holds R0 only (section 0). The others as by day.
NIGHT = {
    "R2": [(1, 1, 3, 10), NEVER, NEVER],
    "R1": [(2, 4, 10, 40), NEVER, NEVER],
}


def row(windows: Windows) -> tuple[int | None, ...]:
    return (windows.last_20, windows.session, windows.rolling_24h, windows.rolling_7d)


@pytest.mark.parametrize("counter", BASE)
@pytest.mark.parametrize("n", range(3), ids=BANDS)
def test_the_base_windows_are_those_of_the_table(policy, counter, n):
    limits = policy.limits[BANDS[n], 0, False]
    assert (*row(limits.windows[counter]), limits.gaps.get(counter, 0)) == BASE[counter][n]


@pytest.mark.parametrize("n", range(3), ids=BANDS)
def test_level_1_tightens_r2_and_leaves_the_rest(policy, n):
    limits = policy.limits[BANDS[n], 1, False]
    caps, gap = TIGHTENED[n][:4], TIGHTENED[n][4]
    assert row(limits.windows["R2"]) == caps
    assert limits.gaps["R2"] == (gap or BASE["R2"][n][4])  # beside a cap of 0 the gap says nothing more
    for counter in ("R1", "R1+R2", "S4"):
        assert row(limits.windows[counter]) == BASE[counter][n][:4]


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("night", [False, True])
def test_level_2_has_no_r2_at_all(policy, band, night):
    assert row(policy.limits[band, 2, night].windows["R2"]) == NEVER


@pytest.mark.parametrize("n", range(3), ids=BANDS)
def test_the_night_halves_for_adults_and_leaves_minors_r0(policy, n):
    limits = policy.limits[BANDS[n], 0, True]
    assert row(limits.windows["R2"]) == NIGHT["R2"][n]
    assert row(limits.windows["R1"]) == NIGHT["R1"][n]
    assert row(limits.windows["R1+R2"]) == BASE["R1+R2"][n][:4]
    assert row(limits.windows["S4"]) == BASE["S4"][n][:4]


def test_at_night_on_level_1_no_r2_comes(policy):
    assert row(policy.limits["18+", 1, True].windows["R2"]) == NEVER


@pytest.mark.parametrize(
    ("band", "floors"), [("18+", (0.4, 0.6, 0.8)), ("16-17", (0.6, 0.6, 0.8)), ("13-15", (0.6, 0.6, 0.8))]
)
def test_the_supportive_floor_rises_with_the_level(policy, band, floors):
    assert tuple(policy.limits[band, level, False].supportive_floor for level in (0, 1, 2)) == floors


def test_what_holds_for_everybody(policy):
    for limits in policy.limits.values():
        assert limits.blocked_tiers >= {3, 4}
        assert limits.creator_last_20 == 2
        assert limits.local_floor == 0.30


def test_minors_see_labelled_items_for_an_hour_a_day(policy):
    assert {band for band in policy.market.ages if policy.limits[band, 0, False].labelled_only} == {
        "16-17",
        "13-15",
        "under_13",
    }
    assert {band: policy.limits[band, 0, False].daily_minutes for band in policy.market.ages} == {
        "18+": None, "16-17": 60, "13-15": 60, "under_13": 60,
    }  # fmt: skip


def test_under_13_is_labelled_r0_without_a_personal_feed_and_otherwise_as_13_15(policy):
    limits, older = policy.limits["under_13", 0, False], policy.limits["13-15", 0, False]
    assert limits.blocked_tiers == {1, 2, 3, 4}
    assert limits.non_personalised
    assert not older.non_personalised
    assert (limits.windows, limits.gaps, limits.supportive_floor) == (older.windows, older.gaps, older.supportive_floor)


def test_nights_are_22_to_7_for_minors_and_0_to_6_for_adults(policy):
    minor, adult = policy.limits["16-17", 0, False].night, policy.limits["18+", 0, False].night
    assert [m in minor for m in (22 * 60 - 1, 22 * 60, 0, 7 * 60 - 1, 7 * 60)] == [False, True, True, True, False]
    assert [m in adult for m in (1439, 0, 6 * 60 - 1, 6 * 60)] == [False, True, True, False]
    assert policy.market.ages["18+"].night.is_optional
    assert all(policy.market.ages[band].night.needs_choice for band in ("16-17", "13-15", "under_13"))


def test_the_other_numbers_of_the_specification(market):
    assert (market.session.idle_minutes, market.session.gap_minutes) == (30, 5)
    assert (market.session.break_every, market.session.seen_days) == (20, 30)
    assert market.label_threshold == 0.8
    assert not market.trust_declared_age
    assert market.supportive_topics == tuple(f"S{n}" for n in range(1, 11))
    assert (market.hope_topic, market.grief_topic) == ("S4", "S11")
    locality = market.locality
    assert (locality.floor, locality.target, locality.supply_factor, locality.creator_last_20) == (0.30, 0.40, 1.5, 2)
    assert (locality.new_creator.impressions, locality.new_creator.share) == (1_000, 0.10)
    assert market.exploration.slots == 1
    loop = market.loop
    assert (loop.risk_share, loop.refusals) == (0.15, 3)
    assert (loop.completion_ratio, loop.completion_exposures) == (1.25, 3)
    assert (loop.long_session_minutes, loop.long_session_items) == (60, 150)
    assert (loop.night_minutes, loop.night_count) == (20, 3)
    assert (loop.entropy_drop, loop.entropy_items) == (0.30, 50)
    assert (loop.repeated, loop.signals_to_raise) == (3, 2)
    assert (loop.clean_days, loop.clean_days_minor) == (7, 14)
    assert (loop.topic_off_days, loop.topic_reduced_days) == (14, 140)
    rules = market.cards.rules
    assert (rules.level_1_session, rules.level_1_daily, rules.level_2_daily) == (1, 2, 3)


def test_no_helpline_is_shown_that_nobody_verified_and_nobody_signed_the_numbers_yet(market):
    assert market.signed_off is None
    assert all(line.verified_at is None for line in market.helplines)


@pytest.mark.parametrize(("older", "younger"), [("18+", "16-17"), ("16-17", "13-15"), ("13-15", "under_13")])
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("night", [False, True])
def test_a_younger_band_is_never_allowed_more_at_any_level_by_day_or_night(policy, older, younger, level, night):
    a, b = policy.limits[older, level, night], policy.limits[younger, level, night]
    for counter, windows in a.windows.items():
        assert all(x <= y for x, y in zip(row(b.windows[counter]), row(windows), strict=True))
    assert b.supportive_floor >= a.supportive_floor
    assert b.night >= a.night


# Files that are wrong


@pytest.fixture
def broken(tmp_path):
    """`broken(change)` writes the market's file with a change to its tree and gives the path."""

    def write(change):
        yaml = YAML(typ="rt")
        tree = yaml.load(POLICY.read_text("utf-8"))
        change(tree)
        path = tmp_path / "market.yaml"
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(tree, file)
        return path

    return write


def problems(path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_market(path)
    return list(caught.value.problems)


def line_of(path, text: str) -> int:
    return next(n for n, line in enumerate(path.read_text("utf-8").splitlines(), 1) if text in line)


def test_an_unknown_key_is_named_with_file_line_and_the_nearest_key(broken):
    path = broken(lambda tree: tree["locality"].insert(1, "flor", 0.3))
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:{line_of(path, 'flor:')}: locality: unknown field flor, expected one of floor,")
    assert problem.endswith("did you mean floor?")


def test_a_file_of_the_version_before_is_refused_with_the_new_name_of_its_key(broken):
    def rename(tree):
        tree["locality"].insert(1, "proven", tree["locality"].pop("floor_eligible"))

    (problem,) = problems(broken(rename))
    assert problem.endswith("locality: unknown field proven, expected its new name, floor_eligible")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "found nan, expected a finite number"),
        (-0.1, "found -0.1, expected a number from 0 to 1"),
        (1e9, "found 1000000000.0, expected a number from 0 to 1"),
        ("much", "found 'much', expected a finite number"),
        (None, "found nothing, expected a finite number"),
        ([0.3], "found [0.3], expected a finite number"),
        (True, "found true, expected a finite number"),
        ("30%", "found '30%', expected a finite number; write 0.3 for 30 %"),
        ("2.5 %", "found '2.5 %', expected a finite number; write 0.025 for 2.5 %"),
    ],
)
def test_a_wrong_number_is_named_with_its_line(broken, value, expected):
    path = broken(lambda tree: tree["locality"].update(floor=value))
    assert f"{path}:{line_of(path, '  floor:')}: locality.floor: {expected}" in problems(path)


@pytest.mark.parametrize("value", [-1, 101, 2.5, "3", True, float("nan")])
def test_a_cap_is_a_whole_number_from_0_to_100(broken, value):
    path = broken(lambda tree: tree["ages"]["16-17"]["windows"]["R2"].update(rolling_24h=value))
    found = problems(path)
    assert any(f"{path}:" in p and "rolling_24h" in p and "a whole number" in p for p in found)


def test_a_missing_counter_is_refused(broken):
    path = broken(lambda tree: tree["ages"]["18+"]["windows"].pop("S4"))
    assert any(
        "ages.18+: windows and gaps: found ['R1', 'R1+R2', 'R2', 'S4'], expected R1, R2, R1+R2, S4" in p
        for p in problems(path)
    )


def test_a_looser_younger_band_is_refused(broken):
    def loosen(tree):
        tree["ages"]["16-17"]["windows"]["R2"]["rolling_24h"] = 7
        tree["ages"]["16-17"]["gaps"]["R1"] = 1

    path = broken(loosen)
    cap, gap = sorted(problems(path))
    where = f"{path}:{line_of(path, 'rolling_24h: 7')}: ages.16-17.windows.R2.rolling_24h"
    assert cap == f"{where}: found 7, which is looser than 6 of 18+; expected 6 or stricter"
    assert "ages.16-17.gaps.R1: found 1, which is looser than 2 of 18+; expected 2 or stricter" in gap


def test_a_looser_level_of_a_younger_band_is_refused(broken):
    def loosen(tree):
        tree["ages"]["16-17"]["levels"][1]["windows"]["R2"]["session"] = 2
        tree["ages"]["16-17"]["levels"][1]["windows"]["R2"]["rolling_24h"] = 3

    path = broken(loosen)
    session, day = sorted(problems(path), key=lambda problem: "rolling" in problem)
    where = f"{path}:{line_of(path, 'session: 2, rolling_24h: 3, rolling_7d: 3')}: ages.16-17.levels.1.windows.R2"
    assert session == f"{where}.session: found 2, which is looser than 1 of 18+ at level 1; expected 1 or stricter"
    assert day == f"{where}.rolling_24h: found 3, which is looser than 2 of 18+ at level 1; expected 2 or stricter"


def test_a_neighbour_must_name_its_neighbour_back(broken):
    (problem,) = problems(broken(lambda tree: tree["regions"]["MA-12"]["neighbours"].append("MA-01")))
    assert "regions.MA-12.neighbours: found MA-01, which does not name MA-12; expected both or neither" in problem


def test_a_neighbour_must_be_a_region_of_the_file(broken):
    (problem,) = problems(broken(lambda tree: tree["regions"]["MA-12"]["neighbours"].append("MA-99")))
    assert "regions.MA-12.neighbours: found MA-99, expected one of MA-01, MA-02" in problem


def test_a_zone_must_exist(broken):
    (problem,) = problems(broken(lambda tree: tree.update(time_zone="Africa/Marrakech")))
    assert "time_zone: found Africa/Marrakech, expected a zone such as Africa/Casablanca" in problem


@pytest.mark.parametrize("tiers", [["R3"], ["R4"], []])
def test_r3_and_r4_cannot_be_taken_off_the_list(broken, tiers):
    (problem,) = problems(broken(lambda tree: tree.update(never_served=tiers)))
    assert "expected R3 and R4 among them" in problem


def test_a_missing_band_topic_or_level_is_refused(broken):
    assert any("ages: 13-15 is missing, expected" in p for p in problems(broken(lambda t: t["ages"].pop("13-15"))))
    assert any("topics: S12 is missing, expected" in p for p in problems(broken(lambda t: t["topics"].pop("S12"))))
    assert any(
        "ages.18+.levels: found [1], expected 1 and 2" in p
        for p in problems(broken(lambda tree: tree["ages"]["18+"]["levels"].pop(2)))
    )


def test_all_problems_come_at_once(broken):
    def spoil(tree):
        tree["locality"]["floor"] = 2
        tree["session"]["idle_minutes"] = "long"
        tree["ages"]["18+"]["night"]["hours"] = ["25:00-06:00"]

    found = problems(broken(spoil))
    assert [any(key in p for p in found) for key in ("locality.floor", "session.idle_minutes", "hours")] == [True] * 3


def test_a_weight_that_no_scorer_knows_is_refused(broken):
    (problem,) = problems(broken(lambda tree: tree["weights"].update(gripping=1.0)))
    assert "weights.gripping: found a weight gripping, expected one of cf, content," in problem


def test_an_age_above_all_other_keys_of_the_contract_cannot_be_empty(broken):
    path = broken(lambda tree: tree.update(ages=None))
    assert any("ages: found nothing, expected a mapping" in p for p in problems(path))


def test_the_file_reads_the_same_twice(market, broken):
    assert load(broken(lambda tree: None), Market) == market


@pytest.mark.parametrize(("text", "minutes"), [("22:00-07:00", (1320, 420)), ("00:00-23:59", (0, 1439))])
def test_hours_are_minutes_of_the_day(text, minutes):
    assert parse_hours(text) == minutes


@pytest.mark.parametrize("text", ["24:00-07:00", "7:00-9:00", "22:00", "22:00-07:60", "22:00-07:00 "])
def test_other_hours_are_refused(text):
    with pytest.raises(ValueError, match="expected such as 22:00-07:00"):
        parse_hours(text)


def test_tiers_and_families_have_numbers():
    assert [tier_number(tier) for tier in ("R0", "R1", "R2", "R3", "R4")] == [0, 1, 2, 3, 4]
    assert [family_number(name) for name in (None, "despair", "unlabelled")] == [-1, 0, 4]
