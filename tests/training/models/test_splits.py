"""Laws of fixed splits: what a file may hold, and how lines, headers and numbers are told apart."""

import gzip
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from recsys.errors import DataError
from training.models.splits import read_npz, read_split


def matrix(path: Path, cells: dict[tuple[int, int], float], shape: tuple[int, int]) -> Path:
    rows, columns = zip(*cells, strict=True)
    sparse.save_npz(path, sparse.coo_array((list(cells.values()), (rows, columns)), shape=shape).tocsr())
    return path


def test_entries_are_signed_and_a_stored_zero_is_nothing_and_empty_rows_stay(tmp_path: Path) -> None:
    path = matrix(tmp_path / "m.npz", {(0, 0): 5.0, (0, 1): -1.0, (1, 0): 0.0}, (4, 3))
    assert read_npz(path).toarray().tolist() == [[1, -1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_matrix_with_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not finite"):
        read_npz(matrix(tmp_path / "m.npz", {(0, 0): np.nan}, (1, 1)))


def test_a_gzipped_matrix_is_read_as_the_plain_one(tmp_path: Path) -> None:
    path = matrix(tmp_path / "m.npz", {(0, 0): 1.0, (1, 2): 1.0}, (2, 3))
    (tmp_path / "m.npz.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert (read_npz(tmp_path / "m.npz.gz") != read_npz(path)).nnz == 0


def test_numbers_that_are_ids_are_refused_before_memory_grows(tmp_path: Path) -> None:
    matrix(tmp_path / "m.npz", {(0, 0): 1.0}, (1, 2))
    sparse.save_npz(tmp_path / "wide.npz", sparse.coo_array(([1.0], ([2_000_000_000], [0])), shape=(2_000_000_001, 1)))
    with pytest.raises(DataError, match=r"found users numbered up to 2,000,000,000, of which 1 are used"):
        read_npz(tmp_path / "wide.npz")


@pytest.mark.parametrize("form", ["pairs", "signed", "lightgcn"])
def test_zstandard_is_read_as_the_plain_text(form: str, tmp_path: Path) -> None:
    lines = ["0 1 1", "1 2 1"]
    (tmp_path / "plain.txt").write_text("\n".join(lines) + "\n")
    packed = io.BytesIO()
    pl.DataFrame({"line": lines}).write_csv(packed, include_header=False, quote_style="never", compression="zstd")
    (tmp_path / "packed.zst").write_bytes(packed.getvalue())
    plain, read = (read_split(form, tmp_path / n, tmp_path / n) for n in ("plain.txt", "packed.zst"))
    assert (plain.train != read.train).nnz == 0 and read.train.nnz


def test_a_user_without_items_is_a_user(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 1 2\n1 1\n2\n")
    (tmp_path / "test.txt").write_text("0 3\n5\n")
    split = read_split("lightgcn", tmp_path / "train.txt", tmp_path / "test.txt")
    assert split.train.shape == split.test.shape == (4, 3)


@pytest.mark.parametrize(
    "header", ["visitorid,itemid", "user,item", "userId,movieId", "reviewerID,asin", "customer_id,product_id", "U,I"]
)
def test_a_header_is_no_pair(header: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"{header}\nann,x\nbob,y\n")
    (tmp_path / "test.csv").write_text(f"{header}\nann,y\n")
    assert read_split("pairs", tmp_path / "train.csv", tmp_path / "test.csv").train.shape == (2, 2)


def test_a_header_of_unknown_words_over_numbers_is_no_pair(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("leser,buch\n7,1\n8,2\n")
    assert read_split("pairs", tmp_path / "train.csv", tmp_path / "test.csv").train.shape == (2, 2)


def test_names_without_a_header_are_pairs(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("ann,faust\nbob,emma\n")
    assert read_split("pairs", tmp_path / "train.csv", tmp_path / "test.csv").train.shape == (2, 2)


def test_a_header_with_the_item_first_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("item_id,user_id\n7,1\n")
    with pytest.raises(DataError, match=r"train\.csv line 1: found 'item_id' before 'user_id', expected user, item"):
        read_split("pairs", tmp_path / "train.csv", tmp_path / "train.csv")
