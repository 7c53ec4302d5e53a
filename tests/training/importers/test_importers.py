"""Laws of the importers, on hand-written files in the published layouts."""

import gzip
import shutil
from pathlib import Path

import polars as pl
import pytest
from scipy import sparse

from recsys.clock import from_text
from recsys.data.tables import read_dataset
from recsys.errors import DataError
from training.commands.imports import PUBLIC_SETS
from training.importers import FORMATS
from training.importers.common import DAY_ZERO
from training.validate import validate

FIXTURES = Path(__file__).parents[2] / "fixtures" / "importers"
AT = from_text("2026-01-01T00:00:00Z")
MOVIELENS = ("movielens-100k", "movielens-1m", "movielens-20m")
FOLDERS = (*(name for name in FORMATS if name != "movielens"), *MOVIELENS)


def format_of(folder: str) -> str:
    return "movielens" if folder in MOVIELENS else folder


def imported(folder: str, target: Path):
    report = FORMATS[format_of(folder)](FIXTURES / folder, target)
    return report, read_dataset(target)


def kinds_of(dataset, *columns: str) -> list[tuple[object, ...]]:
    return dataset.events.sort("at", "event_id").select("kind", *columns).collect().rows()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_import_passes_validation_whole(folder, tmp_path):
    report, _ = imported(folder, tmp_path)
    checked = validate(tmp_path, at=AT)
    assert checked.ok and checked.counted == ()
    assert {name: count.n_read for name, count in checked.tables.items()} == report.counts


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_import_repeats_to_the_same_tables(folder, tmp_path):
    first, second = (imported(folder, tmp_path / name)[1] for name in ("a", "b"))
    for table in ("creators", "items", "users", "events"):
        assert first.frame(table).collect().equals(second.frame(table).collect())


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_missing_file_is_a_sentence(folder, tmp_path):
    with pytest.raises(DataError, match=r"found .* in .*expected"):
        FORMATS[format_of(folder)](tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_column_is_named_beside_those_found(tmp_path):
    source = shutil.copytree(FIXTURES / "lastfm-countries", tmp_path / "source")
    (source / "users.csv").write_text("user,country\n1,Germany\n")
    with pytest.raises(DataError, match=r"column 'country_iso2' is missing, found user, country"):
        FORMATS["lastfm-countries"](source, tmp_path / "out")


def test_kuairand_rows_become_one_event_per_act(tmp_path):
    report, dataset = imported("kuairand", tmp_path)
    assert kinds_of(dataset, "user_id", "item_id", "creator_id", "watch_s", "watch_fraction", "variant") == [
        ("complete", "0", "10", None, None, None, "standard"),
        ("follow", "0", None, "900", None, None, "standard"),
        ("impression", "0", "10", None, None, None, "standard"),
        ("like", "0", "10", None, None, None, "standard"),
        ("view", "0", "10", None, 20.0, 1.0, "standard"),
        ("impression", "0", "11", None, None, None, "standard"),
        ("comment", "1", "10", None, None, None, "standard"),
        ("impression", "1", "10", None, None, None, "standard"),
        ("share", "1", "10", None, None, None, "standard"),
        ("view", "1", "10", None, 5.0, 0.25, "standard"),
        ("impression", "1", "11", None, None, None, "random"),
        ("not_interested", "1", "11", None, None, None, "random"),
        ("view", "1", "11", None, 1.0, 0.125, "random"),
    ]
    assert dataset.items.select("item_id", "creator_id", "duration_s", "sound_id").collect().rows() == [
        ("10", "900", 20.0, "77"),
        ("11", "901", 8.0, None),
    ]
    assert any("columns without a place in the data contract were left out" in notice for notice in report.notices)


def test_signed_labels_become_completes_and_refusals_and_days_are_the_split(tmp_path):
    report, dataset = imported("kuairand-signed", tmp_path)
    events = dataset.events.collect()
    assert sorted(events.select("variant", "user_id", "item_id", "kind").rows()) == [
        ("test", "1", "6", "not_interested"),
        ("train", "0", "5", "complete"),
        ("train", "0", "6", "not_interested"),
        ("train", "1", "5", "complete"),
        ("train", "1", "7", "not_interested"),
        ("valid", "0", "7", "complete"),
    ]
    is_train, is_test = events["at"] < report.cutoffs["valid"], events["at"] >= report.cutoffs["test"]
    assert (is_train == (events["variant"] == "train")).all()
    assert (is_test == (events["variant"] == "test")).all()
    assert (events["at"] >= DAY_ZERO).all()


def test_a_label_other_than_0_or_1_is_refused(tmp_path):
    source = shutil.copytree(FIXTURES / "kuairand-signed", tmp_path / "source")
    (source / "valid.txt").write_text("0 7 0.5\n")
    with pytest.raises(DataError, match=r"line 1 of valid\.txt, column 'label': found '0\.5', expected the label"):
        FORMATS["kuairand-signed"](source, tmp_path / "out")


def test_lightgcn_text_and_matrices_give_the_same_dataset(tmp_path):
    _, text = imported("lightgcn", tmp_path / "text")
    source = tmp_path / "source"
    source.mkdir()
    for part, cells in {"train": [(0, 0), (0, 1), (1, 2), (2, 0), (2, 3)], "test": [(0, 2), (1, 0)]}.items():
        rows, columns = zip(*cells, strict=True)
        matrix = sparse.csr_array(([1] * len(cells), (rows, columns)), shape=(3, 4), dtype="int8")
        sparse.save_npz(source / f"{part}.npz", matrix)
    FORMATS["lightgcn"](source, tmp_path / "npz")
    matrices = read_dataset(tmp_path / "npz")
    for table in ("items", "users", "events"):
        assert text.frame(table).collect().equals(matrices.frame(table).collect())
    assert text.items.collect()["item_id"].to_list() == ["0", "1", "2", "3"]
    assert set(text.events.collect()["kind"]) == {"like"}


def test_lightgcn_lines_that_are_no_numbers_are_refused(tmp_path):
    source = shutil.copytree(FIXTURES / "lightgcn", tmp_path / "source")
    (source / "test.txt").write_text("0 x\n")
    with pytest.raises(DataError, match=r"line 1 of test\.txt: found '0 x', expected lines of numbers"):
        FORMATS["lightgcn"](source, tmp_path / "out")


@pytest.mark.parametrize("folder", MOVIELENS)
def test_ratings_become_likes_views_and_refusals_in_every_layout(folder, tmp_path):
    report, dataset = imported(folder, tmp_path)
    assert kinds_of(dataset, "user_id", "item_id") == [
        ("like", "1", "10"),
        ("view", "1", "11"),
        ("not_interested", "2", "10"),
    ]
    items = dataset.items.collect()
    assert items["title"][0].startswith("Café")
    assert items["text"][0] == "Action, Comedy"
    first = dataset.events.collect()["at"].min()
    assert items["published_at"][0] == first
    assert report.counts["events"] == 3


def test_declared_ages_become_bands_and_doubtful_ones_unknown(tmp_path):
    _, small = imported("movielens-100k", tmp_path / "100k")
    assert small.users.select("age_band", "age_source").collect().rows() == [
        ("under_13", "declared"),
        ("18+", "declared"),
    ]
    _, large = imported("movielens-1m", tmp_path / "1m")
    assert large.users.collect()["age_band"].to_list() == ["unknown", "18+"]


def test_two_layouts_in_one_folder_are_refused(tmp_path):
    source = shutil.copytree(FIXTURES / "movielens-1m", tmp_path / "source")
    shutil.copy(FIXTURES / "movielens-20m" / "ratings.csv", source)
    with pytest.raises(DataError, match="expected exactly one"):
        FORMATS["movielens"](source, tmp_path / "out")


def test_artists_are_creators_with_one_item_and_unknown_countries_are_said(tmp_path):
    report, dataset = imported("lastfm-countries", tmp_path)
    assert dataset.creators.select("creator_id", "country").collect().rows() == [
        ("first band", "DE"),
        ("[unknown]", "ZZ"),
    ]
    assert dataset.items.select("item_id", "creator_id", "country").collect().rows() == [
        ("first band", "first band", "DE"),
        ("[unknown]", "[unknown]", None),
    ]
    assert dataset.users.select("user_id", "country").collect().rows() == [("1", "DE"), ("2", None)]
    assert "1 artists have no country and were given ZZ (unknown)" in report.notices


def test_the_longest_title_of_a_video_wins_and_a_video_without_one_still_has_a_title(tmp_path):
    _, dataset = imported("microlens", tmp_path)
    assert dataset.items.select("item_id", "title").collect().rows() == [
        ("1", 'A "quoted" short title, and the rest of it #tag'),
        ("2", "Second"),
        ("3", "item 3"),
    ]
    assert dataset.items.collect()["published_at"].to_list() == [1654408947388, 1654408947388, 1654408950000]


def test_every_format_has_a_command_and_every_command_a_format():
    assert set(PUBLIC_SETS) == set(FORMATS)


def test_atomic_files_of_recbole_become_ratings_titles_and_declared_ages(tmp_path):
    report, dataset = imported("recbole", tmp_path)
    assert kinds_of(dataset, "user_id", "item_id", "value") == [
        ("like", "1", "10", "5"),
        ("view", "1", "11", "3"),
        ("not_interested", "2", "10", "1"),
    ]
    assert dataset.items.select("title", "text").collect().rows() == [
        ('Café "Le" Bleu', "Action Comedy"),
        ("Quiet", "Drama"),
    ]
    assert dataset.users.select("age_band").collect()["age_band"].to_list() == ["under_13", "18+"]
    assert any("gender:token" in notice for notice in report.notices)


def test_atomic_files_without_types_or_with_another_scale_are_refused(tmp_path):
    (tmp_path / "a.inter").write_text("user_id\titem_id\n1\t2\n")
    with pytest.raises(DataError, match=r"a\.inter, line 1: found the field 'user_id' without a type"):
        FORMATS["recbole"](tmp_path, tmp_path / "out")
    (tmp_path / "a.inter").write_text("user_id:token\titem_id:token\trating:float\n1\t2\t-9.5\n1\t3\t10\n")
    with pytest.raises(DataError, match=r"ratings from -9\.5 to 10, .* sanad import table --user user_id:token"):
        FORMATS["recbole"](tmp_path, tmp_path / "out")


@pytest.mark.parametrize(("age", "band"), [("", "unknown"), ("1", "unknown"), ("239", "unknown"), ("25-34", "unknown"),
    ("12", "under_13"), ("15", "13-15"), ("17", "16-17"), ("18", "18+")])  # fmt: skip
def test_an_age_that_nobody_gave_is_nobodys_band(age, band, tmp_path):
    source = shutil.copytree(FIXTURES / "recbole", tmp_path / "source")
    (source / "tiny.user").write_text(f"user_id:token\tage:token\n1\t{age}\n")
    FORMATS["recbole"](source, tmp_path / "out")
    assert read_dataset(tmp_path / "out").users.collect()["age_band"].to_list() == [band, None]


def test_stars_of_yelp_are_ratings_of_businesses(tmp_path):
    _, dataset = imported("yelp", tmp_path)
    assert kinds_of(dataset, "user_id", "item_id") == [
        ("like", "ann", "b1"),
        ("view", "ann", "b2"),
        ("not_interested", "bob", "b1"),
    ]
    assert dataset.items.select("title", "text").collect().rows() == [
        ("Corner Bakery", "Bakeries, Coffee & Tea"),
        ("Blue Garage", None),
    ]
    assert dataset.events.collect()["at"].min() == from_text("2018-07-07T22:09:11Z")


def test_goods_of_amazon_are_counted_by_parent_and_made_by_their_store(tmp_path):
    _, dataset = imported("amazon-reviews-2023", tmp_path)
    assert dataset.items.select("item_id", "creator_id", "title", "text").collect().rows() == [
        ("P1", "Rosa", 'Rose "soft" cream', "All Beauty for dry skin no scent A cream."),
        ("P2", "P2", "Comb", "All Beauty Hair"),
    ]
    assert dataset.events.collect()["at"].to_list() == [1588687728923, 1588615855070, 1589665266052]


def test_slates_of_mind_are_impressions_and_clicks_and_the_history_comes_before_them(tmp_path):
    _, dataset = imported("mind", tmp_path)
    slate = from_text("2019-11-15T09:55:12Z")
    of_u1 = dataset.events.filter(user_id="U1").select("kind", "item_id", "request_id", pl.col("at") - slate)
    assert sorted(of_u1.collect().rows(), key=str) == [
        ("complete", "N1", None, -2_000),
        ("complete", "N2", None, -1_000),
        ("complete", "N3", "1", 0),
        ("impression", "N1", "1", 0),
        ("impression", "N3", "1", 0),
    ]
    assert dataset.items.collect()["text"].to_list()[1] == "health wellness"


def test_listeners_of_last_fm_have_countries_and_only_the_ages_they_gave(tmp_path):
    report, dataset = imported("lastfm-360k", tmp_path)
    assert dataset.users.select("user_id", "country", "age_band").collect().rows() == [
        ("00000c28", "DE", "18+"),
        ("00001411", "RU", "unknown"),
        ("00004d2a", None, "unknown"),
    ]
    assert dataset.items.collect()["title"].to_list() == ['betty "b" blowtorch', "die Ärzte"]
    assert any("'Atlantis'" in notice for notice in report.notices)


def test_entries_below_zero_are_negative_feedback_and_a_user_without_items_stays(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for part in ("train", "test"):
        matrix = sparse.csr_array(([1, -1, 0], ([0, 0, 1], [0, 1, 0])), shape=(3, 2), dtype="int8")
        sparse.save_npz(source / f"{part}.npz", matrix)
    FORMATS["lightgcn"](source, tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    train = dataset.events.filter(variant="train").select("user_id", "item_id", "kind").collect()
    assert train.rows() == [("0", "0", "like"), ("0", "1", "not_interested")]
    assert dataset.users.collect()["user_id"].to_list() == ["0", "1", "2"]


def test_ids_for_row_numbers_are_refused_before_memory_grows(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2000000000\n")
    (tmp_path / "test.txt").write_text("0 3\n")
    with pytest.raises(DataError, match=r"train\.txt: found items numbered up to 2,000,000,000, of which 2 are used"):
        FORMATS["lightgcn"](tmp_path, tmp_path / "out")


def test_a_film_that_the_films_lack_is_added_and_said(tmp_path):
    source = shutil.copytree(FIXTURES / "movielens-20m", tmp_path / "source")
    with (source / "ratings.csv").open("a") as file:
        file.write("2,99,5.0,1112484819\n")
    report = FORMATS["movielens"](source, tmp_path / "out")
    assert "1 of 4 events are of 1 ids that movies.csv does not have, such as '99'" in " ".join(report.notices)
    assert validate(tmp_path / "out", at=AT).counted == ()


def test_a_file_that_stands_there_twice_is_refused(tmp_path):
    source = shutil.copytree(FIXTURES / "movielens-20m", tmp_path / "source")
    (source / "ratings.csv.gz").write_bytes(gzip.compress((source / "ratings.csv").read_bytes()))
    with pytest.raises(DataError, match=r"found ratings\.csv and ratings\.csv\.gz in .*, expected one of them"):
        FORMATS["movielens"](source, tmp_path / "out")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_set_is_read_from_gzip_as_plain(folder, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in (FIXTURES / folder).iterdir():
        (source / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    FORMATS[format_of(folder)](source, tmp_path / "gz")
    _, plain = imported(folder, tmp_path / "plain")
    packed = read_dataset(tmp_path / "gz")
    for table in ("creators", "items", "users", "events"):
        assert packed.frame(table).collect().equals(plain.frame(table).collect())


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_set_refuses_half_a_download(folder, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in (FIXTURES / folder).iterdir():
        packed = gzip.compress(path.read_bytes())
        (source / f"{path.name}.gz").write_bytes(packed[: len(packed) - 9])
    with pytest.raises(DataError, match=r"\.gz"):
        FORMATS[format_of(folder)](source, tmp_path / "out")
