"""A broken file is refused, with a sentence that says where and why."""

import math
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.experiments.files import check_folder, load_experiments
from recsys.experiments.parameters import baseline
from recsys.policy.limits import flatten

EXAMPLE = "local-boost-ma-2026-11.yaml"


def overrides(**values):
    """A change that replaces the overrides of the second variant; dots are spelled as two underscores."""
    paths = {name.replace("__", "."): value for name, value in values.items()}
    return lambda tree: tree["variants"][1].update(overrides=paths)


def change(**values):
    return lambda tree: tree.update(values)


def ramp(*coverages):
    def put(tree):
        for step, share in zip(tree["ramp"], coverages, strict=True):
            step["coverage"] = share

    return put


BROKEN = {
    "unknown key": (change(audience="all"), "unknown field audience"),
    "unknown parameter": (overrides(weights__locl=0.5), "a path that the registry does not list"),
    "session length": (overrides(session__idle_minutes=5), "a path that the registry does not list"),
    "cards": (overrides(cards__rules__level_1_daily=0), "a path that the registry does not list"),
    "tiers": (overrides(never_served=["R4"]), "a path that the registry does not list"),
    "blocked tiers": (overrides(blocked__tiers=[]), "a path that the registry does not list"),
    "night": (overrides(night=[]), "a path that the registry does not list"),
    "ages": (overrides(ages__x=1), "a path that the registry does not list"),
    "ledger": (overrides(ledger__length=10), "a path that the registry does not list"),
    "daily minutes": (overrides(budget__daily_minutes=600), "a path that the registry does not list"),
    "looser cap": (overrides(windows__R2__rolling_24h=7), "looser than the market"),
    "smaller gap": (overrides(gaps__R2=5), "looser than the market"),
    "lower floor": (overrides(locality__floor=0.29), "looser than the market"),
    "negative cap": (overrides(windows__R2__rolling_24h=-1), "expected a whole number from 0 to 6"),
    "fraction of a cap": (overrides(windows__R2__rolling_24h=4.0), "expected a whole number"),
    "not a number": (overrides(weights__local=math.nan), "expected a number from 0.3 to 1.5"),
    "infinite": (overrides(weights__local=math.inf), "expected a number from 0.3 to 1.5"),
    "huge": (overrides(weights__local=10**400), "expected a number from 0.3 to 1.5"),
    "yes": (overrides(windows__R2__rolling_24h=True), "found True, expected a whole number"),
    "text": (overrides(weights__local="0.9"), "found '0.9', expected a number"),
    "weights": (lambda t: t["variants"][1].update(weight=0.7), "weights summing to 1.2"),
    "one variant": (lambda t: t["variants"].pop(), "expected two or more"),
    "control with overrides": (lambda t: t["variants"].reverse(), "expected control first"),
    "ramp down": (ramp(0.2, 0.1, 1.0), "a ramp that only goes up"),
    "ramp backwards": (lambda t: t["ramp"].reverse(), "expected a later one"),
    "no ramp": (change(ramp=[]), "expected at least one"),
    "coverage above 1": (ramp(0.02, 0.2, 2.0), "a number from 0 to 1"),
    "empty slice": (change(slice=[0.5, 0.5]), "from below to"),
    "slice of three": (change(slice=[0.1, 0.2, 0.3]), "from below to"),
    "layer": (change(layer="scorng"), "expected one of scoring, limits"),
    "layer of another": (change(layer="limits"), "expected in layer scoring, which owns it"),
    "holdout": (change(holdout="none"), "expected one of global-2026h2"),
    "no kill guardrail": (lambda t: [g.update(on_breach="pause") for g in t["guardrails"]], "on_breach: kill"),
    "unknown metric": (lambda t: t["primary"].update(metric="minutes"), "found minutes, expected one of"),
    "too short": (lambda t: t["analysis"].update(min_days=6), "a week has a weekend"),
    "ends before it starts": (lambda t: t["analysis"].update(max_days=10), "at least min_days"),
    "unknown attribute": (change(targeting={"agee": "18+"}), "found agee, expected one of country"),
    "unknown value": (change(targeting={"country": "MAR"}), "found 'MAR', expected some of MA"),
    "unknown operator": (change(targeting={"country": {"$inn": ["MA"]}}), "expected one operator of $in"),
    "empty audience": (change(targeting={"country": {"$in": []}}), "expected a list"),
    "minors": (change(targeting={"effective_age_band": {"$in": ["16-17"]}}), "`protected` sets it"),
    "a way around": (change(targeting={"$or": [{"country": "MA"}]}), "found $or, expected one of"),
    "single people": (change(targeting={"user_id": "u1"}), "found user_id, expected one of"),
    "another file's key": (change(key="something-else"), "expected the file's name"),
    "key": (change(key="Bad Key"), "lower-case letters"),
    "status": (change(status="runing"), "one of draft, running, paused, stopped"),
    "nobody's": (change(owner=" "), "owner: found nothing"),
    "another unit": (change(assignment={"unit": "session_id"}), "one of user_id"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_experiment_is_refused_with_a_sentence(name, edit, market):
    change_tree, sentence = BROKEN[name]
    with pytest.raises(ConfigError) as caught:
        load_experiments(edit(EXAMPLE, change_tree), market)
    message = str(caught.value)
    assert sentence in message and "expected" in message and EXAMPLE in message


def parameter(path, **values):
    def put(tree):
        tree["parameters"].setdefault(path, {"type": "int", "min": 0, "layer": "any", "tighten": "lower"})
        tree["parameters"][path].update(values)

    return put


BROKEN_REGISTRIES = {
    "a path that may never vary": (parameter("session.idle_minutes"), "a path that no experiment may change"),
    "blocked tiers": (parameter("blocked.tiers"), "a path that no experiment may change"),
    "a cap that may rise": (parameter("windows.R2.session", tighten="higher"), "expected int, lower"),
    "a cap that is free": (parameter("windows.R2.session", tighten=None, max=9), "expected int, lower"),
    "a cap with its own loose end": (parameter("windows.R2.session", max=9), "the other end is the market's value"),
    "a fraction of a cap": (parameter("windows.R2.session", min=0.5), "found a bound with a fraction"),
    "a cap for one layer": (parameter("windows.R2.session", layer="limits"), "expected any"),
    "a weight for all layers": (parameter("weights.cf", layer="any"), "expected scoring or limits"),
    "a negative weight": (parameter("weights.cf", min=-1.0), "expected it within 0 to 10"),
    "bounds the wrong way": (parameter("weights.cf", min=3.0), "found a range from 3 to 2"),
    "a floor under the market's": (parameter("locality.floor", max=0.2), "found a range from 0.3 to 0.2"),
    "minors let in": (lambda t: t["protected"].update(effective_age_band="16-17"), "calm adults only"),
    "levels let in": (lambda t: t["protected"].pop("loop_level"), "calm adults only"),
    "a protected list": (lambda t: t["protected"].update(country={"$in": ["MA"]}), "expected one value"),
    "a layer called any": (lambda t: t["layers"].update(any={"seed": "x"}), "expected another name"),
    "a shared seed": (lambda t: t["layers"]["limits"].update(seed="layer-scoring-2026"), "a shared seed ties"),
    "an attribute we do not have": (lambda t: t["attributes"].update(mood={"type": "string"}), "found mood"),
    "a region of elsewhere": (lambda t: t["attributes"]["region"]["values"].append("MA-99"), "found MA-99"),
    "a metric without columns": (lambda t: t["metrics"]["reports_per_1k"].pop("denom"), "found no denom"),
}


@pytest.mark.parametrize("name", BROKEN_REGISTRIES)
def test_a_broken_registry_is_refused_with_a_sentence(name, edit, market):
    change_tree, sentence = BROKEN_REGISTRIES[name]
    with pytest.raises(ConfigError) as caught:
        load_experiments(edit("registry.yaml", change_tree), market)
    assert sentence in str(caught.value) and "registry.yaml:" in str(caught.value)


def test_every_problem_of_every_file_is_reported_at_once(edit, another, market):
    another("second-one", layer="nowhere")
    folder = edit(EXAMPLE, lambda t: t["analysis"].update(min_days=1, max_days=50))
    problems = check_folder(folder, market).problems
    assert ["second-one" in p for p in problems] == [False, True, True]
    assert "min_days" in problems[0] and "layer: found nowhere" in problems[1] and "which owns it" in problems[2]


def test_a_problem_names_the_line(folder, market):
    path = folder / EXAMPLE
    text = path.read_text("utf-8").replace("rolling_24h: 4", "rolling_24h: 9")
    path.write_text(text, "utf-8")
    line = 1 + text[: text.index("windows.R2.rolling_24h: 9")].count("\n")
    (problem,) = check_folder(folder, market).problems
    assert problem.startswith(f"{path}:{line}: variants[1].overrides.windows.R2.rolling_24h: found 9")


def test_running_experiments_of_a_layer_may_not_overlap(another, market):
    folder = another("second-one", slice=[0.4, 0.9])
    (problem,) = check_folder(folder, market).problems
    assert "overlaps [0.0, 0.5] of local-boost-ma-2026-11" in problem


@pytest.mark.parametrize(
    "values", [{"status": "draft"}, {"kill_switch": True}, {"slice": [0.5, 1.0]}, {"layer": "limits", "variants": None}]
)
def test_what_does_not_run_together_may_overlap(values, another, market):
    tighten = [
        {"key": "control", "weight": 0.5, "overrides": {}},
        {"key": "calm", "weight": 0.5, "overrides": {"gaps.R2": 10}},
    ]
    values = {**values, **({"variants": tighten} if "variants" in values else {})}
    assert check_folder(another("second-one", **{"slice": [0.0, 0.5], **values}), market).problems == ()


def test_an_empty_folder_holds_no_experiments(tmp_path, market):
    assert load_experiments(tmp_path, market).experiments == ()


def test_a_folder_that_is_not_there_is_an_error(tmp_path, market):
    with pytest.raises(ConfigError, match="no such folder"):
        load_experiments(tmp_path / "experimnets", market)


def test_experiments_need_their_registry(folder, market):
    (folder / "registry.yaml").unlink()
    with pytest.raises(ConfigError, match=r"no registry\.yaml"):
        load_experiments(folder, market)


def test_a_file_that_would_be_overlooked_is_an_error(folder, market):
    (folder / "mine.yml").write_text("", "utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yml: is not read, expected a name that ends in \.yaml"):
        load_experiments(folder, market)


@pytest.mark.parametrize("content", [b"", b"a: [", b"\xff\xfe", b"- 1\n- 2\n", b"key: a\nkey: b\n", b"null"])
def test_a_file_that_is_no_mapping_is_an_error_in_a_sentence(content, folder, market):
    (folder / "mine.yaml").write_bytes(content)
    (problem,) = check_folder(folder, market).problems
    assert ("mine.yaml" in problem and "expected" in problem) or "duplicate key" in problem


def test_a_tighter_market_makes_an_old_override_too_loose(folder, market, tmp_path):
    """The same files in a market that allows 3 a day: 4 would loosen it."""
    from recsys.policy.checks import load_market

    text = (Path(__file__).parents[3] / "policies" / "morocco.yaml").read_text("utf-8")
    tighter = text.replace("rolling_24h: 6, rolling_7d: 21", "rolling_24h: 3, rolling_7d: 21")
    assert tighter != text
    (tmp_path / "tighter.yaml").write_text(tighter, "utf-8")
    (problem,) = check_folder(folder, load_market(tmp_path / "tighter.yaml")).problems
    assert "found 4, expected a whole number from 0 to 3: looser than the market" in problem


def test_the_table_shows_what_each_experiment_changes(folder, market):
    (row,) = check_folder(folder, market).rows
    assert (row.key, row.status, row.layer) == ("local-boost-ma-2026-11", "running", "scoring")
    assert row.slice == "0% to 50%" and row.variants == "control 50%, local-35 50%"
    assert row.changes == "local-35: weights.local = 0.95; local-35: windows.R2.rolling_24h = 4"


def test_the_version_changes_with_the_files(folder, market):
    before = load_experiments(folder, market).version
    assert before == load_experiments(folder, market).version
    with (folder / EXAMPLE).open("a", encoding="utf-8") as file:
        file.write("# seen\n")
    assert load_experiments(folder, market).version != before


def test_the_market_s_value_is_the_loose_end_of_every_limit(experiments, market):
    base = baseline(market)
    for path, parameter in experiments.parameters.items():
        if parameter.tighten:
            assert (parameter.high if parameter.tighten == "lower" else parameter.low) == base[path]
    assert experiments.parameters["locality.floor"].low == 0.30
    assert set(base) <= {*flatten_paths(market)}


def flatten_paths(market):
    from recsys.policy.compiled import base_limits, market_limits

    return {**flatten(market_limits(market)), **flatten(base_limits(market.ages["18+"]))}
