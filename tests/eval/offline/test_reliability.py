"""Laws of reliability: predicted against observed, by hand and on a real artifact."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from eval.offline.reliability import head_reliability, reliability
from eval.report.html_reliability import reliability_plots
from eval.report.wording import reliability_sentence
from recsys.clock import DAY, HOUR
from recsys.data.tables import write_dataset
from recsys.models.artifact import load_artifact
from recsys.models.ials import IALSParams
from training.models.ranker import RankerParams
from training.models.settings import BlendParams
from training.params import TrainParams
from training.train import run

T0 = 1_790_000_000_000


def test_bins_by_hand() -> None:
    probabilities = np.repeat([0.1, 0.5], 10).astype(np.float32)
    did = np.array([True] * 2 + [False] * 8 + [True] * 5 + [False] * 5)
    head = head_reliability("like", probabilities, did)
    assert [(round(b.predicted, 3), b.observed, b.n) for b in head.bins] == [(0.1, 0.2, 10), (0.5, 0.5, 10)]
    assert (head.predicted, head.observed, head.error) == pytest.approx((0.3, 0.35, 0.05))
    assert head.auc == pytest.approx((5 * 8 + (5 * 5 + 2 * 8) / 2) / (7 * 13))  # ties count half


def test_calibrated_probabilities_have_small_errors_and_wrong_ones_large_errors() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random(20_000).astype(np.float32)
    did = rng.random(20_000) < probabilities
    calibrated, wrong = head_reliability("like", probabilities, did), head_reliability("like", probabilities / 4, did)
    assert len(calibrated.bins) == 10 and {b.n for b in calibrated.bins} == {2_000}
    assert calibrated.error < 0.02 < 0.3 < wrong.error and wrong.auc == calibrated.auc


@pytest.mark.parametrize("did", [True, False])
def test_one_kind_of_outcome_is_no_order_and_no_error(did: bool) -> None:
    head = head_reliability("share", np.full(5, 0.3, np.float32), np.full(5, did))
    assert (
        head.auc is None and [b.n for b in head.bins] == [5] and "shared: predicted 30.0%" in reliability_sentence(head)
    )


def test_a_model_without_a_ranker_has_no_reliability(small) -> None:
    assert reliability(replace(small.artifact, ranker=None), small.data, None) == []
    assert "no ranker" in reliability_plots([])


def test_a_ranker_is_evaluated_on_impressions_after_its_cutoff(tmp_path) -> None:
    """People like their own language three times in four, the other one in ten; probabilities on new days say so."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(60):
        for n, item in enumerate(rng.permutation(100).tolist()):
            at = T0 + n * DAY // 8 + user * HOUR // 60
            rows.append((f"u{user}", f"v{item}", "impression", at))
            if rng.random() < (0.75 if item % 2 == user % 2 else 0.1):
                rows.append((f"u{user}", f"v{item}", "like", at + 1))
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "kind", "at"], orient="row")
    write_dataset(
        tmp_path / "data",
        creators=pl.DataFrame({"creator_id": ["c"], "country": ["MA"]}),
        items=pl.DataFrame(
            {"item_id": [f"v{n}" for n in range(100)], "creator_id": ["c"] * 100, "published_at": [T0 - DAY] * 100,
             "title": [f"v{n}" for n in range(100)], "risk_tier": ["R0"] * 100, "language": ["fr", "en"] * 50}
        ),
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(60)], "languages": [["fr"], ["en"]] * 30}),
        events=events.with_row_index("event_id").cast({"event_id": pl.String}),
    )  # fmt: skip
    params = TrainParams(
        encoder=None,
        blend=BlendParams(ials=IALSParams(embedding_size=1)),
        ranker=RankerParams(min_actions=5, space_share=0.5),
        holdout_days=3,
    )
    run(tmp_path / "data", tmp_path / "model", params, T0 + 30 * DAY)
    (like,) = reliability(load_artifact(tmp_path / "model"), tmp_path / "data", None)
    cutoff = int(events["at"].max()) + 1 - 3 * DAY
    assert like.head == "like" and like.n == (events.filter(pl.col("at") >= cutoff)["kind"] == "impression").sum()
    assert like.error < 0.12 and like.auc > 0.75 and like.predicted == pytest.approx(like.observed, abs=0.06)
