"""Laws of training, from files to an artifact, with every real part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.clock import DAY, Millis, from_text, to_text
from recsys.data.fingerprint import fingerprint
from recsys.data.impressions import is_risky
from recsys.data.tables import read_dataset, write_dataset
from recsys.errors import ConfigError, DataError
from recsys.models.artifact import load_artifact
from recsys.models.ials import IALSParams
from recsys.models.text import TextParams
from training.interactions import build_interactions
from training.models.settings import BlendParams
from training.params import TrainParams
from training.prepare import with_effective_tiers
from training.text.encoder import EncoderParams
from training.train import Trained, run

NOW: Millis = from_text("2026-11-20T00:00:00Z")
N_ITEMS, N_USERS = 24, 12
PARAMS = TrainParams(
    holdout_days=2,
    blend=BlendParams(ials=IALSParams(embedding_size=4)),
    text=TextParams(min_language_items=5),
    encoder=EncoderParams(model="use", threads=1),
)


def write(folder: Path, *, tier: str | None = "R0", titles: bool = True, more: int = 0) -> Path:
    """24 items of two creators; on each of 10 days every person likes one item; the last two days are held out."""
    n = N_ITEMS + more
    ids = [f"v{i}" for i in range(n)]
    write_dataset(
        folder,
        creators=pl.DataFrame({"creator_id": ["near", "far"], "country": ["MA", "FR"]}),
        items=pl.DataFrame(
            {
                "item_id": ids,
                "creator_id": ["near", "far"] * (n // 2) + ["near"] * (n % 2),
                "published_at": [NOW - 30 * DAY] * n,
                "title": [f"sleeping well, part {i}" if titles else f"item {i_}" for i, i_ in enumerate(ids)],
                "language": ["en"] * n,
                "topics": [["S3"]] * n,
                "risk_tier": [tier] * n,
                "risk_source": ["partner" if tier else None] * n,
            },
            schema_overrides={"risk_tier": pl.String, "risk_source": pl.String},
        ),
        users=pl.DataFrame({"user_id": [f"u{u}" for u in range(N_USERS)], "country": ["MA"] * N_USERS}),
        events=pl.DataFrame(
            [
                {
                    "event_id": f"e{day}-{u}",
                    "user_id": f"u{u}",
                    "kind": "like",
                    "at": NOW - (10 - day) * DAY + u,
                    "item_id": f"v{(u % 2) + 2 * ((day + u) % 11)}",
                }
                for day in range(10)
                for u in range(N_USERS)
            ]
        ),
    )
    return folder


def train(tmp_path: Path, name: str = "model", params: TrainParams = PARAMS, data: str = "data") -> Trained:
    return run(tmp_path / data, tmp_path / name, params, NOW, cache=tmp_path / "cache")


def test_an_artifact_holds_what_the_data_says(tmp_path: Path) -> None:
    write(tmp_path / "data")
    trained = train(tmp_path)
    loaded = load_artifact(tmp_path / "model")
    assert loaded.manifest == trained.manifest
    assert loaded.items["item_id"].to_list() == [f"v{i}" for i in range(N_ITEMS)]
    assert loaded.items["text_id"].n_unique() == N_ITEMS
    assert list(loaded.spaces) == ["cf", "text"]
    assert loaded.manifest.risk_source == "labelled"
    assert loaded.manifest.counts["texts_encoded"] == N_ITEMS
    assert loaded.manifest.data_fingerprint == fingerprint(tmp_path / "data")
    assert len(loaded.safe_feed) == N_ITEMS
    assert {int(i[1:]) % 2 for i in loaded.safe_feed[:12]} == {0}  # the local creator first
    assert loaded.popularity.markets == ("MA",)


def test_the_held_out_days_are_named_and_nothing_is_learned_from_them(tmp_path: Path) -> None:
    write(tmp_path / "data")
    train(tmp_path)
    loaded = load_artifact(tmp_path / "model")
    cutoff = NOW - DAY + N_USERS - 1 + 1 - 2 * DAY  # two days before just after the last event
    assert loaded.manifest.cutoff == to_text(cutoff)
    assert all(history.at.max() < cutoff for history in loaded.histories.values())
    assert loaded.manifest.counts["events_learned_from"] < loaded.manifest.counts["events"] == 120


@pytest.mark.parametrize("params", [TrainParams(holdout_days=30), TrainParams(holdout_from=NOW - 20 * DAY)])
def test_a_holdout_that_leaves_nothing_to_learn_from_is_refused(tmp_path: Path, params: TrainParams) -> None:
    write(tmp_path / "data")
    with pytest.raises(DataError, match=r"found no event before .* lower --holdout-days"):
        train(tmp_path, params=params)


def test_a_published_split_is_held_out_from_its_instant(tmp_path: Path) -> None:
    write(tmp_path / "data")
    manifest = train(tmp_path, params=replace(PARAMS, holdout_from=NOW - 5 * DAY, encoder=None)).manifest
    assert manifest.cutoff == to_text(NOW - 5 * DAY)
    assert manifest.counts["events_learned_from"] == 5 * N_USERS  # days 0 to 4 of ten


def test_holding_out_nothing_learns_from_everything(tmp_path: Path) -> None:
    write(tmp_path / "data")
    train(tmp_path, params=TrainParams(holdout_days=0, blend=PARAMS.blend, encoder=None))
    loaded = load_artifact(tmp_path / "model")
    assert loaded.manifest.cutoff is None
    assert loaded.manifest.counts["events_learned_from"] == 120


def test_refits_of_a_seed_are_equal_to_the_last_byte(tmp_path: Path) -> None:
    write(tmp_path / "data")
    first, again = train(tmp_path, "a").manifest, train(tmp_path, "b").manifest
    assert first.files == again.files
    assert again.counts["texts_encoded"] == 0


def test_two_more_items_encode_two_more_texts(tmp_path: Path) -> None:
    write(tmp_path / "data")
    train(tmp_path)
    write(tmp_path / "more", more=2)
    counts = train(tmp_path, data="more").manifest.counts
    assert (counts["texts_encoded"], counts["texts_reused"]) == (2, N_ITEMS)


def test_titles_that_are_only_ids_make_no_text_space_and_load_no_encoder(tmp_path: Path) -> None:
    write(tmp_path / "data", titles=False)
    manifest = train(tmp_path).manifest
    assert manifest.spaces == ("cf",)
    assert manifest.encoder is None


def test_assumed_tiers_stand_in_the_manifest_and_make_no_safe_feed(tmp_path: Path) -> None:
    write(tmp_path / "data", tier=None)
    with pytest.raises(DataError, match="--assume-tier R0"):
        train(tmp_path)
    assert not (tmp_path / "model").exists()
    manifest = train(tmp_path, params=TrainParams(assume_tier="R0", blend=PARAMS.blend, encoder=None)).manifest
    assert manifest.risk_source == "assumed"
    assert load_artifact(tmp_path / "model").safe_feed == ()


def test_risky_items_teach_nothing(tmp_path: Path) -> None:
    write(tmp_path / "data", tier="R2")
    train(tmp_path)
    loaded = load_artifact(tmp_path / "model")
    assert not np.any(loaded.spaces["cf"].item_vectors)
    assert not np.any(loaded.popularity.scores)
    assert all(len(history) == 0 for history in loaded.histories.values())


def test_a_copy_of_a_risky_item_and_an_item_raised_by_a_predicted_label_teach_nothing(tmp_path: Path) -> None:
    """v0 has the platform's hash of v1, which is R2; v2 is R2 by its predicted label. All three are labelled."""
    write(tmp_path / "data")
    items = pl.read_parquet(tmp_path / "data" / "items.parquet")
    is_copy = pl.col("item_id").is_in(["v0", "v1"])
    items = items.with_columns(
        perceptual_hash=pl.when(is_copy).then(pl.lit("0123456789abcdef")).otherwise(None),
        risk_tier=pl.when(pl.col("item_id") == "v1").then(pl.lit("R2")).otherwise("risk_tier"),
    )
    write_dataset(tmp_path / "data", items=items)
    train(tmp_path, params=replace(PARAMS, encoder=None))
    loaded = load_artifact(tmp_path / "model")
    assert loaded.items["item_id"].to_list()[:3] == ["v0", "v1", "v2"]
    assert not np.any(loaded.popularity.scores[:, :2]) and np.all(loaded.popularity.scores[-1, 2:20] > 0)
    assert not any({0, 1} & set(history.items.tolist()) for history in loaded.histories.values())
    raised = loaded.items.with_columns(predicted_tier=pl.when(pl.col("item_id") == "v2").then(pl.lit("R2")))
    assert np.flatnonzero(is_risky(raised)).tolist() == [0, 1, 2]
    seen = build_interactions(with_effective_tiers(read_dataset(tmp_path / "data"), raised))
    assert not seen.positives[:, [0, 1, 2]].nnz and seen.positives[:, [3]].nnz


def test_data_without_one_event_still_makes_an_artifact(tmp_path: Path) -> None:
    write(tmp_path / "data")
    events = pl.read_parquet(tmp_path / "data" / "events.parquet").clear()
    write_dataset(tmp_path / "data", events=events)
    assert train(tmp_path).manifest.cutoff is None
    assert not np.any(load_artifact(tmp_path / "model").popularity.scores)


def test_bad_parameters_are_all_reported_at_once_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        train(tmp_path, params=TrainParams(holdout_days=-1, blend=BlendParams(ials=IALSParams(reg=0))))
    assert len(error.value.problems) == 2


def test_every_step_reports_progress(tmp_path: Path) -> None:
    write(tmp_path / "data")
    seen: set[str] = set()
    run(
        tmp_path / "data",
        tmp_path / "model",
        PARAMS,
        NOW,
        cache=tmp_path / "cache",
        on_progress=lambda stage, done, total: seen.add(stage),
    )
    assert {"validate", "interactions", "ials", "encode", "save"} <= seen


def test_the_fingerprint_of_data_changes_with_any_byte_or_name_and_not_with_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x", "utf-8")
    first = fingerprint(tmp_path)
    (tmp_path / ".half.tmp").write_text("x", "utf-8")
    assert fingerprint(tmp_path) == first
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    assert fingerprint(tmp_path) != first
