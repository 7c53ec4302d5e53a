"""What people watch by their first language, by hand."""

import numpy as np
import pytest

from recsys.data.impressions import Impressions
from recsys.models.features import ItemFacts
from recsys.vocabulary import HEADS
from training.models.languages import PRIOR_RESPONSES, fit_language_mix


def facts(language: list[int], codes: dict[str, int]) -> ItemFacts:
    n = len(language)
    codes_of = np.zeros(n, np.int32)
    return ItemFacts(
        published_at=np.zeros(n, np.int64), duration_s=np.zeros(n, np.float32), creator=codes_of,
        language=np.array(language, np.int32), country=codes_of, region=codes_of, topics=np.zeros((n, 12), np.float32),
        codes=codes,
    )  # fmt: skip


def shown(people: list[int], rows: list[int], response: list[float]) -> Impressions:
    n = len(rows)
    return Impressions(
        people=np.array(people, np.int32), rows=np.array(rows, np.int32), is_known=np.ones(n, np.bool_),
        slate=np.arange(n), at=np.arange(n),
        position=np.ones(n, np.float32), propensity=np.ones(n, np.float32), did=np.zeros((n, len(HEADS)), np.bool_),
        response=np.array(response, np.float32),
    )  # fmt: skip


CODES = {"fr": 1, "ary": 2, "MA": 3}
FACTS = facts([1, 2, 0], CODES)


def test_shares_of_a_first_language_are_drawn_to_those_of_all() -> None:
    mix = fit_language_mix(shown([0, 0, 1], [0, 1, 1], [1.0, 0.5, 0.5]), ["fr", "ary"], FACTS)
    everybody = {"fr": 0.5, "ary": 0.5}
    assert mix["fr"] == pytest.approx(
        {
            name: (own + PRIOR_RESPONSES * everybody[name]) / (1.5 + PRIOR_RESPONSES)
            for name, own in (("fr", 1), ("ary", 0.5))
        },
        abs=1e-4,
    )
    assert mix["ary"]["ary"] > 0.5 > mix["ary"]["fr"]


def test_what_was_left_counts_for_nothing_and_an_unknown_language_is_no_preference() -> None:
    mix = fit_language_mix(shown([0, 0, 0], [0, 1, 2], [1.0, 0.0, 1.0]), ["fr"], FACTS)
    assert mix == {"fr": {"fr": 1.0}}


def test_people_without_a_stated_language_and_a_log_without_impressions_give_no_mix() -> None:
    assert fit_language_mix(shown([0], [0], [1.0]), [None], FACTS) == {}
    assert fit_language_mix(shown([], [], []), ["fr"], FACTS) == {}
