"""Which languages the best pages of people would have, by their first language."""

from collections.abc import Sequence

import numpy as np
import pytest

from recsys.data.impressions import Impressions
from recsys.models.features import RESPONSE, ItemFacts
from recsys.vocabulary import HEADS
from training.models.languages import PRIOR_RESPONSES, LanguageMix, fit_language_mix
from training.models.rates import fit_rates

CODES = {"fr": 1, "ary": 2, "zgh": 3, "MA": 4}


def facts(language: Sequence[int]) -> ItemFacts:
    n = len(language)
    codes_of = np.zeros(n, np.int32)
    return ItemFacts(
        published_at=np.zeros(n, np.int64), duration_s=np.zeros(n, np.float32), creator=codes_of,
        language=np.array(language, np.int32), country=codes_of, region=codes_of, topics=np.zeros((n, 12), np.float32),
        codes=CODES,
    )  # fmt: skip


def shown(people: Sequence[int], rows: Sequence[int], response: Sequence[float]) -> Impressions:
    n = len(rows)
    return Impressions(
        people=np.array(people, np.int32), rows=np.array(rows, np.int32), is_known=np.ones(n, np.bool_),
        slate=np.arange(n), at=np.arange(n),
        position=np.ones(n, np.float32), propensity=np.ones(n, np.float32), did=np.zeros((n, len(HEADS)), np.bool_),
        response=np.array(response, np.float32),
    )  # fmt: skip


def mix_of(
    log: Impressions, languages: Sequence[Sequence[str] | None], language: Sequence[int], rates: Sequence[float] = ()
) -> LanguageMix:
    expected = np.array(rates or [0.5] * len(language), np.float32)
    is_learnable = np.ones(len(language), np.bool_)
    return fit_language_mix(log, languages, facts(language), expected, is_learnable, np.random.default_rng(0))


def old_feed(more: float, n_people: int = 60, n_items: int = 400, seed: int = 0) -> LanguageMix:
    """
    An old feed shows one French video in ten, of a catalogue that is half French, to people whose first language is
    French and who watch `more` of it.
    """
    rng = np.random.default_rng(seed)
    language = np.where(np.arange(n_items) % 2 == 0, 1, 2)
    rate = rng.uniform(0.2, 0.6, n_items)
    rows = np.concatenate([rng.choice(np.flatnonzero(language == code), n) for code, n in ((1, 300), (2, 2_700))])
    people = rng.integers(0, n_people, len(rows))
    response = np.clip(rate[rows] + np.where(language[rows] == 1, more, 0) + rng.normal(0, 0.2, len(rows)), 0, 1)
    log = shown(people.tolist(), rows.tolist(), response.tolist())
    fitted = fit_rates(log, np.arange(n_items, dtype=np.int32), None)[:, RESPONSE]  # of few impressions nearly the mean
    return mix_of(log, [("fr", "ary")] * n_people, language.tolist(), fitted.tolist())


def test_what_was_watched_is_drawn_to_that_of_all() -> None:
    mix = mix_of(shown([0, 0, 1], [0, 1, 1], [1.0, 0.5, 0.5]), [("fr", "ary"), ("ary", "fr")], [1, 2, 0])
    everybody = {
        name: (own + 0.0) / (2.0 + PRIOR_RESPONSES) for name, own in (("fr", 1.0), ("ary", 1.0))
    }  # itself drawn to nothing
    assert mix.watched["fr"] == pytest.approx(
        {
            name: (own + PRIOR_RESPONSES * everybody[name]) / (1.5 + PRIOR_RESPONSES)
            for name, own in (("fr", 1), ("ary", 0.5))
        },
        abs=1e-4,
    )
    assert mix.watched["ary"]["ary"] > mix.watched["ary"]["fr"]


def test_a_language_that_an_old_feed_hid_is_wanted_as_far_as_people_watch_it() -> None:
    alike, more = old_feed(0.0), old_feed(0.3)
    assert alike.watched["fr"]["fr"] < 0.2 and alike.wanted["fr"]["fr"] == pytest.approx(0.5, abs=0.1)
    assert more.wanted["fr"]["fr"] > 0.7


def test_a_language_that_few_understand_has_its_share_on_the_pages_of_those() -> None:
    language = [1, 2, 3] * 60
    people = [("ary", "fr")] * 30 + [("ary", "fr", "zgh")] * 3
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 180, 990)
    seen_by = np.repeat(np.arange(33), 30)
    log = shown(seen_by.tolist(), rows.tolist(), rng.random(990).tolist())
    wanted = mix_of(log, people, language).wanted["ary"]
    assert wanted["zgh"] == pytest.approx(1 / 3, abs=0.1)


def test_shares_are_between_none_and_all_and_no_risk_is_on_a_page() -> None:
    log = shown([0] * 6, [0, 1, 2, 3, 4, 5], [1.0, 0, 1, 0, 1, 0])
    expected, learnable = np.full(6, 0.5, np.float32), np.array([1, 1, 1, 0, 0, 0], np.bool_)
    mix = fit_language_mix(
        log, [("fr", "ary")], facts([1, 1, 1, 2, 2, 2]), expected, learnable, np.random.default_rng(0)
    )
    assert mix.wanted["fr"] == {"fr": 1.0}


@pytest.mark.parametrize("languages", [[None], [()], [("xx",)]])
def test_people_without_a_known_language_have_no_share(languages: list[tuple[str, ...] | None]) -> None:
    mix = mix_of(shown([0], [0], [1.0]), languages, [1])
    assert not any(mix.wanted.values()) and not any(mix.watched.values())


def test_a_log_without_impressions_and_items_of_unknown_languages_give_no_mix() -> None:
    assert mix_of(shown([], [], []), [("fr",)], [1]) == LanguageMix()
    assert mix_of(shown([0], [0], [1.0]), [("fr",)], [0]) == LanguageMix()
