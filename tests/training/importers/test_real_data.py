"""The importers on the real files, where they are at hand; expected numbers are the published ones."""

import shutil
from pathlib import Path

import pytest

from recsys.clock import from_text
from recsys.data.tables import read_dataset
from training.importers import FORMATS
from training.interactions import build_interactions
from training.validate import clean

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
FIXTURES = Path(__file__).parents[2] / "fixtures" / "importers"
AT = from_text("2026-01-01T00:00:00Z")

pytestmark = pytest.mark.data


def real(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the evaluation data {name} is not beside the repository")
    return SHARED / name


@pytest.mark.parametrize(
    ("form", "name", "n_users", "n_items", "n_train"),
    [
        ("lightgcn", "gowalla", 29_858, 40_981, 810_128),
        ("kuairand-signed", "kuairand-signed", 16_974, 4_373, 184_172),
        ("lastfm-countries", "lastfm-countries", 15_000, 1_004, 232_606),
    ],
)
def test_a_published_training_part_is_what_lies_before_the_first_cutoff(
    form, name, n_users, n_items, n_train, tmp_path
):
    report = FORMATS[form](real(name), tmp_path)
    dataset, checked = clean(tmp_path, at=AT, assume_tier="R0")
    assert checked.counted == ()
    built = build_interactions(dataset, before=report.cutoffs["valid"])
    assert (len(built.user_ids), len(built.item_ids), built.n_events) == (n_users, n_items, n_train)


def test_microlens_titles_and_events_are_read_whole(tmp_path):
    report = FORMATS["microlens"](real("microlens-titles"), tmp_path)
    assert report.counts == {"creators": 19_738, "items": 19_738, "users": 18_516, "events": 37_684}
    assert clean(tmp_path, at=AT, assume_tier="R0")[1].counted == ()


def test_the_real_feature_files_of_kuairand_are_read_beside_a_written_log(tmp_path):
    source = shutil.copytree(real("kuairand-pure-features"), tmp_path / "source")
    log = (FIXTURES / "kuairand" / "log_standard_4_08_to_4_21_pure.csv").read_text()
    (source / "log_standard_4_08_to_4_21_pure.csv").write_text(log)
    report = FORMATS["kuairand"](source, tmp_path / "out")
    assert report.counts == {"creators": 6_510, "items": 7_583, "users": 27_285, "events": 10}
    _, checked = clean(tmp_path / "out", at=AT, assume_tier="R0")
    assert checked.counted == ()
    follows = read_dataset(tmp_path / "out").events.collect().filter(kind="follow")
    assert follows["creator_id"].null_count() == 0
