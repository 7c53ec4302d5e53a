"""Agreement with ranx and RecTools on random runs, person by person; `oracles/freeze.py` made their values."""

import json
from pathlib import Path

import numpy as np
import pytest

from recsys.metrics import (
    ACCURACY,
    EMPTY,
    average_popularity,
    coverage,
    find_hits,
    novelty,
    score_lists,
    serendipity,
)

ORACLES = json.loads((Path(__file__).parent / "oracles" / "values.json").read_text())
KS = (1, 5, 10)
LENGTH = max(len(items) for items in ORACLES["lists"])
LISTS = np.array([items + [EMPTY] * (LENGTH - len(items)) for items in ORACLES["lists"]])
N_RELEVANT = np.array([len(items) for items in ORACLES["relevant"]])
HITS = find_hits(LISTS, np.concatenate(ORACLES["relevant"]), N_RELEVANT)
COUNTS = np.bincount(np.concatenate(ORACLES["known"]).astype(int), minlength=ORACLES["n_items"])


@pytest.mark.parametrize("library", ["ranx", "rectools"])
def test_accuracy_agrees_with_both_libraries_person_by_person(library: str) -> None:
    ours, theirs = score_lists(HITS, N_RELEVANT, KS), ORACLES[library]
    names = [name for name in ours if name in theirs]
    assert len(names) == len(KS) * (len(ACCURACY) - (library == "ranx"))  # ranx has one ideal of NDCG
    for name in names:
        assert ours[name] == pytest.approx(np.array(theirs[name]), abs=1e-12), name


@pytest.mark.parametrize("k", KS)
def test_what_is_new_popular_and_surprising_agrees_with_rectools(k: int) -> None:
    theirs, first = ORACLES["rectools"], LISTS[:, :k]
    n_people = sum(1 for known in ORACLES["known"] if known)
    assert novelty(COUNTS, n_people, first) == pytest.approx(np.array(theirs[f"novelty@{k}"]))
    assert average_popularity(COUNTS, first) == pytest.approx(np.array(theirs[f"popularity@{k}"]))
    is_eligible = np.ones(ORACLES["n_items"], np.bool_)
    assert coverage(first, is_eligible) == pytest.approx(theirs[f"coverage@{k}"])


@pytest.mark.parametrize("k", KS)
def test_serendipity_agrees_with_rectools_where_no_two_items_are_equally_popular(k: int) -> None:
    ours = serendipity(HITS[:, :k], np.arange(1, ORACLES["n_items"] + 1), LISTS[:, :k])
    assert ours == pytest.approx(np.array(ORACLES["rectools"][f"serendipity@{k}"]))
