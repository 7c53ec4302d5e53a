"""Assignment is a pure function; nobody who must not be in an experiment is; nothing ever gets looser."""

import json
import math
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import from_text
from recsys.experiments.assignment import NO_ASSIGNMENT, _typed_attributes, assign, draw_variants
from recsys.experiments.files import load_experiments
from recsys.experiments.parameters import REACHED_BAND, DrawnVariant, limits_of, merge_overrides
from recsys.experiments.payload import Experiments, make_payload, parse_features
from recsys.policy.compiled import base_limits, market_limits
from recsys.policy.limits import Limits, Windows, changed, flatten, is_at_least_as_strict, meet

KEY = "local-boost-ma-2026-11"
EXAMPLE = f"{KEY}.yaml"
PEOPLE = [f"u{n}" for n in range(4_000)]


def variants(experiments, at, adult, people=PEOPLE, **attributes):
    """The variant of each person in each experiment."""
    return {
        user: assign(experiments, user_id=user, attributes={**adult, **attributes}, at=at).variants for user in people
    }


def base(market) -> Limits:
    return meet(market_limits(market), base_limits(market.ages[REACHED_BAND]))


def test_the_same_person_gets_the_same_variant_every_time(experiments, adult, after_ramp, folder, market):
    first = variants(experiments, after_ramp, adult)
    assert first == variants(experiments, after_ramp, adult)
    assert first == variants(load_experiments(folder, market), after_ramp, adult)


def test_a_treated_person_gets_more_local_weight_and_a_tighter_cap(experiments, market, adult, after_ramp):
    drawn = {
        given.variants[KEY]: given
        for user in PEOPLE[:200]
        if (given := assign(experiments, user_id=user, attributes=adult, at=after_ramp)).variants
    }
    assert drawn["control"].limits == Limits() and drawn["control"].weights == {}
    treated = drawn["local-35"]
    assert treated.weights == {"local": 0.95} and treated.problems == ()
    assert treated.limits == Limits(windows={"R2": Windows(rolling_24h=4)})
    assert changed(base(market), meet(base(market), treated.limits)) == {"windows.R2.rolling_24h": (6, 4)}


@pytest.mark.parametrize(
    "attributes",
    [
        *[{"effective_age_band": band} for band in ("16-17", "13-15", "under_13", "unknown", "", None, 18, ["18+"])],
        *[{"loop_level": level} for level in (1, 2, -1, None, False, True, "0", 0.0, math.nan)],
    ],
)
def test_only_calm_adults_are_ever_assigned(attributes, experiments, adult, after_ramp):
    assert all(not drawn for drawn in variants(experiments, after_ramp, adult, PEOPLE[:300], **attributes).values())


@pytest.mark.parametrize("missing", ["effective_age_band", "loop_level"])
def test_a_missing_attribute_means_in_no_experiment(missing, experiments, adult, after_ramp):
    known = {name: value for name, value in adult.items() if name != missing}
    assert all(assign(experiments, user_id=u, attributes=known, at=after_ramp) is NO_ASSIGNMENT for u in PEOPLE[:300])


def test_the_payload_protects_by_itself(experiments, adult, after_ramp):
    features = experiments.features(after_ramp)
    for strange in ({"effective_age_band": "16-17"}, {"loop_level": 1}):
        attributes = [_typed_attributes(experiments.registry, user, {**adult, **strange}) for user in PEOPLE[:300]]
        assert all(draw_variants(features, of_person) == [] for of_person in attributes)


def test_an_id_given_as_an_attribute_is_ignored(experiments, adult, after_ramp):
    plain = assign(experiments, user_id="u7", attributes=adult, at=after_ramp)
    assert assign(experiments, user_id="u7", attributes={**adult, "id": "u1"}, at=after_ramp) == plain


def test_a_person_without_a_name_is_in_no_experiment(experiments, adult, after_ramp):
    assert assign(experiments, user_id="", attributes=adult, at=after_ramp).variants == {}


def test_who_is_called_zero_is_a_person_like_any_other(experiments, adult, after_ramp):
    some = [str(n) for n in range(50)]
    assigned = variants(experiments, after_ramp, adult, some)
    assert {"0"} | {u for u, v in assigned.items() if v} <= set(some) and any(assigned.values())


def test_targeting_leaves_others_out(experiments, adult, after_ramp):
    for strange in ({"country": "FR"}, {"country": None}, {"language": "en"}, {"language": ["ary"]}):
        assert not any(variants(experiments, after_ramp, adult, PEOPLE[:300], **strange).values())


def test_an_unknown_region_never_matches_not_in(another, market, adult, after_ramp):
    folder = another("second-one", slice=[0.5, 1.0], targeting={"region": {"$nin": ["MA-01"]}})
    experiments = load_experiments(folder, market)

    def in_second(region):
        assigned = variants(experiments, after_ramp, adult, PEOPLE[:300], region=region)
        return sum("second-one" in chosen for chosen in assigned.values())

    assert in_second("MA-06") > 0
    assert in_second("MA-01") == in_second(None) == 0


def test_before_the_first_step_nobody_takes_part(experiments, adult):
    before = from_text("2026-11-23T07:59:59.999Z")
    assert not any(variants(experiments, before, adult).values())
    assert any(variants(experiments, from_text("2026-11-23T08:00:00Z"), adult).values())


def test_a_ramp_up_moves_nobody_between_variants(experiments, adult):
    steps = ["2026-11-23T08:00:00Z", "2026-11-25T08:00:00Z", "2026-11-30T08:00:00Z", "2027-11-30T08:00:00Z"]
    assigned = [variants(experiments, from_text(step), adult) for step in steps]
    counts = [sum(map(bool, chosen.values())) for chosen in assigned]
    assert counts == sorted(counts) and 0 < counts[0] < counts[1] < counts[2] == counts[3]
    for earlier, later in pairwise(assigned):
        assert all(later[user] == drawn for user, drawn in earlier.items() if drawn)


def test_the_shares_are_those_of_the_file(experiments, adult, after_ramp):
    """Half of the layer, without a twentieth held out: 0.475 of 4,000 = 1,900; six standard deviations are 190."""
    assigned = Counter(drawn.get(KEY) for drawn in variants(experiments, after_ramp, adult).values())
    taking_part = assigned["control"] + assigned["local-35"]
    assert abs(taking_part - 1_900) < 190
    assert abs(assigned["control"] - taking_part / 2) < 6 * math.sqrt(taking_part) / 2


def test_disjoint_slices_exclude_each_other_and_layers_do_not(another, edit, market, adult, after_ramp):
    another("second-one", slice=[0.5, 1.0])
    calm = [
        {"key": "control", "weight": 0.5, "overrides": {}},
        {"key": "calm", "weight": 0.5, "overrides": {"gaps.R2": 12}},
    ]
    experiments = load_experiments(another("third-one", slice=[0.0, 1.0], layer="limits", variants=calm), market)
    assigned = variants(experiments, after_ramp, adult).values()
    assert not any(KEY in chosen and "second-one" in chosen for chosen in assigned)
    assert all("second-one" in chosen or KEY in chosen or "third-one" in chosen for chosen in assigned)
    pairs = Counter(
        (chosen[KEY], chosen["third-one"]) for chosen in assigned if KEY in chosen and "third-one" in chosen
    )
    assert chi_square(pairs) < 6.63  # 99 % of independent pairs are below this, with one degree of freedom


def chi_square(pairs):
    """Pearson's statistic of a table of counts."""
    total = sum(pairs.values())
    rows, columns = Counter(), Counter()
    for (row, column), count in pairs.items():
        rows[row] += count
        columns[column] += count
    expected = {(r, c): rows[r] * columns[c] / total for r in rows for c in columns}
    return sum((pairs[cell] - share) ** 2 / share for cell, share in expected.items())


def test_two_layers_that_tighten_one_cap_take_the_tighter(experiments):
    drawn = [
        DrawnVariant("a", "scoring", "x", {"windows.R2.rolling_24h": 4, "supportive.floor": 0.5}),
        DrawnVariant("b", "limits", "x", {"windows.R2.rolling_24h": 2, "supportive.floor": 0.45, "gaps.R2": 9}),
    ]
    expected = {"windows.R2.rolling_24h": 2, "supportive.floor": 0.5, "gaps.R2": 9}
    for order in (drawn, drawn[::-1]):
        assert flatten(merge_overrides(experiments.parameters, order).limits) == expected


def test_a_holdout_is_in_none_of_its_experiments(another, market, adult, after_ramp):
    second = {"slice": [0.5, 1.0], "holdout": "global-2026h2"}
    experiments = load_experiments(another("second-one", **second), market)
    assigned = variants(experiments, after_ramp, adult)
    held = {user for user, chosen in assigned.items() if not chosen}
    assert abs(len(held) - 200) < 6 * math.sqrt(4_000 * 0.05 * 0.95)


def test_a_holdout_that_two_layers_share_closes_neither(another, market, adult, after_ramp):
    calm = [
        {"key": "control", "weight": 0.5, "overrides": {}},
        {"key": "calm", "weight": 0.5, "overrides": {"gaps.R2": 12}},
    ]
    folder = another("calm-one", layer="limits", variants=calm, slice=[0.0, 1.0], holdout="global-2026h2")
    assigned = variants(load_experiments(folder, market), after_ramp, adult)
    assert any(len(chosen) == 2 for chosen in assigned.values())
    assert 0 < sum(not chosen for chosen in assigned.values()) < 400


@pytest.mark.parametrize("values", [{"kill_switch": True}, {"status": "paused"}, {"status": "stopped"}])
def test_a_killed_or_paused_experiment_leaves_the_payload(values, edit, market, adult, after_ramp):
    experiments = load_experiments(edit(EXAMPLE, lambda tree: tree.update(values)), market)
    assert KEY not in json.dumps(make_payload(experiments, after_ramp))
    assert not any(variants(experiments, after_ramp, adult, PEOPLE[:300]).values())


def test_no_experiments_is_an_assignment_of_nothing(adult, after_ramp):
    assert assign(Experiments(), user_id="u1", attributes=adult, at=after_ramp) == NO_ASSIGNMENT


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats()
    | st.integers(0, 100)
    | st.floats(0, 1)
    | st.sampled_from([math.nan, math.inf, -math.inf, 10**400, -1, "4", "", b"4", True, 0.0, -0.0])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
PATHS = ["windows.R2.rolling_24h", "windows.R1.last_20", "gaps.R2", "supportive.floor", "locality.floor"]
PATHS += ["creators.last_20", "weights.local", "weights.supportive", "weights.cf"]
FOREIGN = ["blocked.tiers", "night", "labelled_only", "session.idle_minutes", "windows", "windows.R2", "gaps.R1+R2", ""]
OVERRIDES = st.dictionaries(st.sampled_from(PATHS + FOREIGN) | st.text(max_size=4) | st.integers(), ANYTHING)


@settings(max_examples=250)
@given(several=st.lists(OVERRIDES | ANYTHING, max_size=4), layers=st.lists(st.sampled_from(["scoring", "limits", "x"])))
def test_no_payload_makes_anything_looser(experiments, market, several, layers):
    names = [*layers, *["scoring"] * len(several)]
    drawn = [DrawnVariant(f"e{n}", names[n], "x", overrides) for n, overrides in enumerate(several)]
    merged = merge_overrides(experiments.parameters, drawn)
    effective = meet(base(market), merged.limits)
    assert is_at_least_as_strict(effective, base(market))
    assert set(changed(base(market), effective)) <= set(PATHS)  # what is not in the registry keeps its value
    assert all(math.isfinite(v) for v in flatten(merged.limits).values())
    for name, weight in merged.weights.items():
        parameter = experiments.parameters[f"weights.{name}"]
        assert type(weight) is float and parameter.low <= weight <= parameter.high


@settings(max_examples=200)
@given(path=st.sampled_from(PATHS), value=ANYTHING)
def test_every_value_is_either_taken_or_named_in_the_audit(experiments, path, value):
    merged = merge_overrides(experiments.parameters, [DrawnVariant("e", "scoring", "x", {path: value})])
    taken = {**flatten(merged.limits), **{f"weights.{name}": w for name, w in merged.weights.items()}}
    if merged.problems:
        assert not taken and path in merged.problems[0] and merged.problems[0].startswith("e: ")
    else:
        assert taken.get(path, 0) == value  # a cap of zero is set; a gap or floor of zero is none


@settings(max_examples=50)
@given(overrides=OVERRIDES)
def test_a_payload_changed_behind_our_back_still_cannot_loosen(experiments, market, adult, after_ramp, overrides):
    tampered = make_payload(experiments, after_ramp)
    tampered["features"]["layer.scoring"]["rules"][0]["variations"] = [overrides, overrides]
    drawn = draw_variants(parse_features(tampered), _typed_attributes(experiments.registry, "u0", adult))
    effective = meet(base(market), merge_overrides(experiments.parameters, drawn).limits)
    assert is_at_least_as_strict(effective, base(market))


def test_a_refused_value_leaves_the_others_in_force(experiments):
    overrides = {"windows.R2.rolling_24h": math.nan, "gaps.R2": 9, "weights.local": True}
    merged = merge_overrides(experiments.parameters, [DrawnVariant("e", "scoring", "x", overrides)])
    assert flatten(merged.limits) == {"gaps.R2": 9} and merged.weights == {}
    assert merged.problems == (
        "e: 'windows.R2.rolling_24h': found nan, expected a whole number from 0 to 6; the market's value stays",
        "e: 'weights.local': found True, expected a number from 0.3 to 1.5; the market's value stays",
    )


@pytest.mark.parametrize("value", [10**5000, -(10**5000), [[[10**5000]]]], ids=["large", "small", "nested"])
def test_a_value_too_large_to_print_is_refused_all_the_same(value, experiments):
    merged = merge_overrides(
        experiments.parameters, [DrawnVariant("e", "scoring", "x", {"gaps.R2": value, "weights.cf": value})]
    )
    assert merged.limits == Limits() and merged.weights == {} and len(merged.problems) == 2


def test_a_weight_from_another_layer_is_refused(experiments):
    merged = merge_overrides(experiments.parameters, [DrawnVariant("e", "limits", "x", {"weights.local": 1.0})])
    assert merged.weights == {} and "expected in layer scoring" in merged.problems[0]


def test_limits_of_is_the_other_way_of_flatten(market):
    allowed = {path: v for path, v in flatten(base(market)).items() if path.partition(".")[0] in ("windows", "gaps")}
    allowed["locality.floor"] = 0.3
    assert flatten(limits_of(allowed)) == allowed


def test_the_payload_is_plain_json(experiments, after_ramp):
    shown = make_payload(experiments, after_ramp)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    (rule,) = shown["features"]["layer.scoring"]["rules"]
    assert rule["coverage"] == 1.0
    assert rule["condition"] == {
        "country": "MA",
        "language": {"$in": ["ary", "ary-Latn", "ar", "fr"], "$exists": True},
        "effective_age_band": "18+",
        "loop_level": 0,
    }


def test_assigning_opens_no_socket_and_brings_no_torch(running_folder):
    """In a process of its own: what the files need, what assignment needs, and that neither talks to anybody."""
    script = """
import socket, sys
from pathlib import Path
def refuse(*a, **k): raise AssertionError("a socket was opened")
from recsys.policy.checks import load_market
from recsys.experiments.files import load_experiments
from recsys.experiments.assignment import assign
e = load_experiments(Path(sys.argv[1]), load_market(Path("policies/morocco.yaml")))
assert "growthbook" not in sys.modules, "reading the files needs no SDK"
socket.socket.__init__ = refuse
a = {"country": "MA", "language": "ary", "effective_age_band": "18+", "loop_level": 0}
drawn = [assign(e, user_id=f"u{n}", attributes=a, at=1796169600000).variants for n in range(100)]
assert any(drawn)
assert "torch" not in sys.modules and "growthbook" in sys.modules
import threading
assert threading.active_count() == 1
"""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", script, str(running_folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
