"""The layers of a policy file, worked out once."""

from recsys.policy.compiled import CompiledPolicy, explain_limits
from recsys.policy.limits import meet


def test_a_compiled_policy_is_the_meet_of_its_layers(policy):
    for (band, level, night), limits in policy.limits.items():
        layers = [layer for _, layer in policy.layers(band, level, night)]
        assert meet(*layers) == meet(*reversed(layers)) == limits


def test_an_explanation_names_the_first_layer_that_set_a_number(policy):
    named = policy.layers("18+", 1, True)
    rows = {path: (value, name) for path, value, name in explain_limits(named)}
    assert rows["windows.R2.session"] == (0, "night at level 1")
    assert rows["windows.R1.session"] == (4, "night")
    assert rows["windows.S4.session"] == (6, "age 18+")
    assert rows["gaps.R2"] == (30, "level 1")
    assert rows["creators.last_20"] == (2, "market")


def test_a_compiled_policy_reads_its_zone_from_the_market(market):
    assert CompiledPolicy(market).zone.key == "Africa/Casablanca"
