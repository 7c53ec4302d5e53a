"""Attacks through experiment files (policy-spec 11): an experiment can only tighten, and only what the schema names."""

import math
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from recsys.clock import MINUTE, from_text
from recsys.errors import ConfigError
from recsys.experiments.files import load_experiments
from recsys.experiments.parameters import ADJUSTABLE_LIMITS, WEIGHTS, adjustable_parameters
from recsys.experiments.schema import Experiment
from recsys.feed.engine import Engine
from recsys.feed.sources import BY_SURFACE
from recsys.policy.limits import is_at_least_as_strict

ROOT = Path(__file__).parents[2]
EXAMPLE = "local-boost-ma-2026-11"
AFTER_RAMP = from_text("2026-12-02T18:30:00Z")
PEOPLE = [f"person-{n}" for n in range(40)]


@pytest.fixture(scope="session")
def shipped(morocco):
    return load_experiments(ROOT / "experiments", morocco)


@pytest.fixture
def folder(tmp_path):
    """`folder(overrides, **values)`: the shipped folder with another second variant."""

    def write(overrides, **values):
        copy = Path(shutil.copytree(ROOT / "experiments", tmp_path / "experiments", dirs_exist_ok=True))
        yaml = YAML(typ="rt")
        tree = yaml.load((copy / f"{EXAMPLE}.yaml").read_text("utf-8"))
        tree["variants"][1]["overrides"] = overrides
        tree.update(values)
        with (copy / f"{EXAMPLE}.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(tree, file)
        return copy

    return write


def forced(experiments, *overrides):
    """As if the loader had let it through: everybody in variants with these overrides, one experiment per layer."""
    example = experiments.experiments[0]
    made = []
    for layer, values in zip(experiments.registry.layers, overrides, strict=False):
        variants = (example.variants[0], replace(example.variants[1], overrides=values))
        variants = (replace(variants[0], weight=0.001), replace(variants[1], weight=0.999))
        key = f"forced-{layer}"
        made.append(
            replace(example, status="running", key=key, layer=layer, slice=(0.0, 1.0), holdout=None, variants=variants)
        )
    return replace(experiments, experiments=tuple(made))


def adult(service, user_id="person-1"):
    service.is_adult(user_id)
    return user_id


# 16: raised caps, lowered gaps, emptied blocks, nonsense, stacking, reloads


BROKEN = {
    "a raised cap": {"windows.R2.rolling_24h": 7},
    "a lowered gap": {"gaps.R2": 5},
    "an emptied blocklist": {"blocked.tiers": []},
    "not a number": {"gaps.R2": math.nan},
    "negative": {"windows.R2.session": -1},
    "huge": {"windows.R2.session": 10**40},
    "text": {"windows.R2.session": "2"},
    "yes": {"windows.R2.session": True},
    "nothing": {"windows.R2.session": None},
    "nested": {"windows": {"R2": {"session": 99}}},
    "a nested value": {"windows.R2.session": {"value": 99}},
}


@pytest.mark.parametrize("name", BROKEN)
def test_attack_16_a_file_that_loosens_or_is_nonsense_is_rejected_with_a_sentence(folder, morocco, name):
    with pytest.raises(ConfigError, match="expected"):
        load_experiments(folder(BROKEN[name]), morocco)


def test_attack_16_a_file_that_omits_its_overrides_changes_nothing(folder, morocco, make_service, limits_now):
    experiments = load_experiments(folder({}), morocco)
    service, plain = make_service(experiments=experiments), make_service()
    for person in PEOPLE:
        adult(service, person), adult(plain, person)
        assert limits_now(service, person, AFTER_RAMP) == limits_now(plain, person, AFTER_RAMP)


anything = st.one_of(
    st.integers(), st.floats(), st.text(max_size=5), st.none(), st.booleans(), st.just(10**400),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
paths = st.one_of(
    st.sampled_from(sorted(ADJUSTABLE_LIMITS)), st.sampled_from(["weights.local", "blocked.tiers", "night", "x", ""])
)
overrides = st.dictionaries(paths, anything, max_size=6)


@settings(max_examples=25, deadline=None)
@given(first=overrides, second=overrides)
def test_attack_16_whatever_slips_through_the_meet_is_never_looser(make_service, shipped, limits_now, first, second):
    """Overrides that no loader checked, in two layers at once, through the whole engine."""
    service, plain = make_service(experiments=forced(shipped, first, second)), make_service()
    person = adult(service), adult(plain)
    base, found = (limits_now(one, person[0], AFTER_RAMP) for one in (plain, service))
    assert is_at_least_as_strict(found, base)
    page = service.ask(person[0], at=AFTER_RAMP)
    assert not page.degraded


def test_attack_16_a_refused_override_leaves_the_markets_value_and_an_audit_line(make_service, shipped, limits_now):
    experiments = forced(shipped, {"windows.R2.rolling_24h": 99, "gaps.R2": math.nan})
    service, plain = make_service(experiments=experiments), make_service()
    person = adult(service), adult(plain)
    page = service.ask(person[0], at=AFTER_RAMP)
    assert page.experiments
    assert limits_now(service, person[0], AFTER_RAMP) == limits_now(plain, person[0], AFTER_RAMP)
    lines = [line for line in service.alerts if "the market's value stays" in line]
    assert len(lines) == 2 and "windows.R2.rolling_24h" in lines[0] and "gaps.R2" in lines[1]


def test_attack_16_two_stacked_experiments_tighten_together(make_service, shipped, limits_now):
    first = {"windows.R2.rolling_24h": 4, "gaps.R2": 9}
    second = {"windows.R2.rolling_24h": 5, "windows.R2.session": 1, "gaps.R2": 12}
    service = make_service(experiments=forced(shipped, first, second))
    limits = limits_now(service, adult(service), AFTER_RAMP)
    assert limits.windows["R2"].rolling_24h == 4 and limits.windows["R2"].session == 1 and limits.gaps["R2"] == 12


def test_attack_16_a_reload_in_mid_session_and_its_rollback_keep_the_ledger(
    make_service, shipped, by_tier, exceeded
):  # fmt: skip
    base = make_service()
    tighter = make_service(base.store, experiments=forced(shipped, {"windows.R2.session": 1, "gaps.R2": 20}))
    person, shown = adult(base), 0
    for n in range(12):
        service = (base, tighter, base)[n % 3]
        listed = (*by_tier["R2"], *by_tier["R0"][20 * n : 20 * n + 20])
        page = service.ask(person, size=12, at=AFTER_RAMP + n * MINUTE, candidate_ids=listed, request_id=f"r{n}")
        shown += sum(item.tier == "R2" for item in page.items)
    assert shown <= 3 and exceeded(base, person) == []  # the market's session cap, whoever served


# 17: loosening by another name


INDIRECT = {
    "relabels tiers": {"never_served": ["R4"]},
    "raises the label threshold": {"label_threshold": 0.1},
    "a shorter session": {"session.idle_minutes": 1},
    "no card": {"cards.rules.level_1_daily": 0},
    "another ledger": {"ledger": "memory"},
    "a new surface": {"surfaces.push": {"ledger": False}},
    "night off": {"night": []},
    "another zone": {"time_zone": "UTC"},
    "minors as adults": {"trust_declared_age": True},
    "slower loop breaker": {"loop.refusals": 1_000},
    "more exploration": {"exploration.slots": 2},
}


@pytest.mark.parametrize("name", INDIRECT)
def test_attack_17_what_would_loosen_by_another_name_cannot_be_spelled(folder, morocco, name):
    path = next(iter(INDIRECT[name]))
    assert path not in adjustable_parameters(morocco)
    with pytest.raises(ConfigError, match="a path that the registry does not list"):
        load_experiments(folder(INDIRECT[name]), morocco)
    with pytest.raises(ConfigError, match="unknown field"):
        load_experiments(folder({}, **{path.split(".")[0]: 1}), morocco)


def test_attack_17_every_parameter_tightens_or_is_a_weight(morocco, shipped):
    for path, parameter in adjustable_parameters(morocco).items():
        assert parameter.tighten or path.startswith(WEIGHTS), path
    assert {p.tighten for p in shipped.parameters.values()} == {"lower", "higher", None}
    assert not {"surface", "ledger", "store", "cards", "night"} & {field.name for field in fields(Experiment)}


def test_attack_17_weights_at_their_ends_move_no_safety(make_service, shipped, by_tier, exceeded):
    for end in ("low", "high"):
        weights = {path: getattr(p, end) for path, p in shipped.parameters.items() if path.startswith(WEIGHTS)}
        service = make_service(experiments=forced(shipped, weights))
        person = adult(service)
        service.tell({"kind": "support_requested"}, user_id=person, at=AFTER_RAMP)
        page = service.ask(person, size=50, at=AFTER_RAMP, candidate_ids=(*by_tier["R2"], *by_tier["R0"][:30]))
        assert page.experiments and page.cards[0].card_id == "support"
        assert exceeded(service, person) == []


def test_attack_17_no_surface_runs_without_the_ledger(service, by_tier, evening):
    service.is_adult("casa-adult")
    for n, surface in enumerate(BY_SURFACE):
        before = service.store.users.read("casa-adult").state.safety.ledger.n_delivered
        page = service.ask(
            surface=surface, size=3, at=evening + n * MINUTE, query="a" if surface == "search" else None,
            anchor_item_id=by_tier["R0"][0] if surface == "related" else None,
        )  # fmt: skip
        after = service.store.users.read("casa-adult").state.safety.ledger.n_delivered
        assert after - before == len(page.items)
    with pytest.raises(KeyError):
        service.ask(surface="push")
    with pytest.raises(TypeError, match="stores"):  # an engine without a ledger cannot be made
        Engine(resources=service.engine.resources, key=b"k", new_id=str, timer=float, alert=print)
