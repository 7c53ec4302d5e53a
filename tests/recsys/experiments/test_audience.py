"""An experiment that nobody can be in is refused, and what a folder holds beside its files is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.experiments.assignment import assign
from recsys.experiments.audience import admits
from recsys.experiments.files import check_folder, load_experiments

EXAMPLE = "local-boost-ma-2026-11.yaml"
EVERY_LANGUAGE = ["ary", "ary-Latn", "ar", "fr", "zgh", "zgh-Latn", "en"]


def change(**values):
    return lambda tree: tree.update(values)


def last_coverage(share):
    return lambda tree: tree.update(ramp=[{**tree["ramp"][0], "coverage": share}])


def weights(*shares):
    def put(tree):
        for variant, share in zip(tree["variants"], shares, strict=True):
            variant["weight"] = share

    return put


EMPTY = {
    "a list": (change(targeting={"country": ["MA", "FR"]}), ":{}: targeting.country: found a list", "{$in: [MA, FR]}"),
    "not in all": (change(targeting={"language": {"$nin": EVERY_LANGUAGE}}), "targeting.language", "leaves no value"),
    "a foreign region": (change(targeting={"country": "FR", "region": "MA-06"}), "targeting.region", "nobody lives in"),
    "no region of the country": (
        change(targeting={"country": {"$ne": "MA"}, "region": {"$nin": ["MA-06"]}}), "targeting.region", "nobody lives",
    ),
    "a slice below a step": (change(slice=[0.0, 0.00001]), "slice", "the smallest share is 0.0001"),
    "a ramp that stays at 0": (last_coverage(0.0), "ramp[0].coverage", "found 0, which holds nobody"),
    "a variant below a step": (weights(0.99995, 0.00005), "variants[1].weight", "the smallest share is 0.0001"),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_an_experiment_that_nobody_can_be_in_is_refused(name, edit, market):
    change_tree, key, sentence = EMPTY[name]
    (problem,) = check_folder(edit(EXAMPLE, change_tree), market).problems
    assert key.removeprefix(":{}: ") in problem and sentence in problem and "expected" in problem


def test_a_holdout_that_keeps_everybody_out_is_refused(edit, market):
    folder = edit("registry.yaml", lambda tree: tree["holdouts"]["global-2026h2"].update(share=1.0))
    (problem,) = check_folder(folder, market).problems
    assert "holdout: found global-2026h2, which keeps everybody out" in problem


@pytest.mark.parametrize(
    "values",
    [
        {"slice": [0.0, 0.0001]},
        {"slice": [0.3, 0.3001]},
        {"targeting": {"country": "MA", "region": {"$nin": ["MA-06"]}}},
        {"targeting": {"language": {"$nin": EVERY_LANGUAGE[1:]}}},
        {"targeting": {"region": "MA-06"}},
        {"targeting": {}},
    ],
)
def test_the_smallest_audience_is_accepted(values, edit, market):
    assert check_folder(edit(EXAMPLE, change(**values)), market).problems == ()


CONDITIONS = st.one_of(
    st.sampled_from(EVERY_LANGUAGE),
    st.builds(lambda name: {"$ne": name}, st.sampled_from(EVERY_LANGUAGE)),
    st.builds(
        lambda operator, names: {operator: names},
        st.sampled_from(["$in", "$nin"]),
        st.lists(st.sampled_from(EVERY_LANGUAGE), min_size=1, max_size=6, unique=True),
    ),
)


@pytest.fixture(scope="module")
def everybody(market, running_folder, adult, after_ramp):
    """The example for everybody, with a condition on the language: one slice of everything, no holdout."""
    from dataclasses import replace

    loaded = load_experiments(running_folder, market)
    (example,) = loaded.experiments
    assign(loaded, user_id="u1", attributes=adult, at=after_ramp)  # loads the SDK, which takes its time once

    def with_language(condition):
        one = replace(example, slice=(0.0, 1.0), holdout=None, targeting={"language": condition})
        return replace(loaded, experiments=(one,))

    return with_language


@given(condition=CONDITIONS, language=st.sampled_from([*EVERY_LANGUAGE, None]))
def test_the_proof_reads_a_condition_as_the_assignment_does(everybody, adult, after_ramp, condition, language):
    drawn = assign(everybody(condition), user_id="u1", attributes={**adult, "language": language}, at=after_ramp)
    assert bool(drawn.variants) == admits(condition, language)


@pytest.mark.parametrize("name", ["LOCAL.YAML", "local.yml", "local.yaml.txt", "local.json", ".local.yaml", "local"])
def test_a_file_with_another_ending_is_named(name, folder, market):
    (folder / name).write_text("key: local\n", "utf-8")
    (problem,) = check_folder(folder, market).problems
    assert f"{folder / name}: is not read" in problem


def test_a_folder_of_experiments_inside_is_named(folder, market):
    (folder / "autumn").mkdir()
    assert check_folder(folder, market).problems == ()
    (folder / "autumn" / "local.yaml").write_text("key: local\n", "utf-8")
    (problem,) = check_folder(folder, market).problems
    assert f"{folder / 'autumn'}" in problem and "is not read" in problem


def test_notes_and_what_tools_hide_are_named_and_do_no_harm(folder, market):
    (folder / "README.md").write_text("who decides\n", "utf-8")
    (folder / ".gitkeep").write_text("", "utf-8")
    (folder / "..data").mkdir()
    (folder / "..data" / "registry.yaml").write_text("", "utf-8")
    report = check_folder(folder, market)
    assert report.problems == () and report.unread == ("..data/", ".gitkeep", "README.md")


def test_the_sample_experiment_is_a_draft(market):
    from recsys.resources import DEFAULT_EXPERIMENTS

    loaded = load_experiments(DEFAULT_EXPERIMENTS, market)
    assert [experiment.status for experiment in loaded.experiments] == ["draft"] and loaded.live == ()
