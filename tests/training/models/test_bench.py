"""Fixed splits: reading them, cutting validation, and the whole pipeline on small and awkward ones."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

import sanad
from recsys.errors import DataError
from training.commands.bench import write_results
from training.models.bench import BLEND, run_split
from training.models.splits import Split, read_split, split_entries


def camps(n_users: int, n_items: int, share: float = 0.25, seed: int = 0) -> sparse.csr_matrix:
    random = np.random.default_rng(seed)
    near = (np.arange(n_users)[:, None] + np.arange(n_items)) % 4 == 0
    return sparse.csr_matrix(
        (random.random((n_users, n_items)) < np.where(near, 2.5 * share, share / 5)), dtype=np.float32
    )


def split_of(matrix: sparse.csr_matrix) -> Split:
    train, test = split_entries(matrix, 0.3, np.random.default_rng(1))
    return Split(train, None, test)


def test_a_split_divides_every_entry_and_leaves_every_user_a_positive_one() -> None:
    matrix = camps(60, 40)
    matrix.data[::3] = -1
    kept, taken = split_entries(matrix, 0.5, np.random.default_rng(0))
    assert_array_equal((kept + taken).toarray(), matrix.toarray())
    assert kept.multiply(taken).nnz == 0
    had, has = (matrix.toarray() > 0).any(1), (kept.toarray() > 0).any(1)
    assert_array_equal(had, has)


@pytest.mark.parametrize("n_users", [3, 40, 300])
def test_the_blend_is_above_popularity_where_users_differ(n_users: int) -> None:
    found = {row.name: row for row in run_split(split_of(camps(n_users, 60)), 10, 0).rows}
    assert set(found) >= {"popularity", "graph_filter", "spectral", "ials", "ease", "bm25", "bpr", BLEND}
    assert all(0 <= row.ndcg <= 1 for row in found.values())
    if n_users == 300:
        assert found[BLEND].ndcg > 1.5 * found["popularity"].ndcg


def test_where_only_popularity_matters_the_blend_is_not_below_it() -> None:
    random = np.random.default_rng(0)
    chance = 0.5 / np.arange(1, 81)
    matrix = sparse.csr_matrix(random.random((400, 80)) < chance, dtype=np.float32)
    found = {row.name: row for row in run_split(split_of(matrix), 10, 0).rows}
    assert found[BLEND].ndcg >= 0.97 * found["popularity"].ndcg


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (np.ones((1, 1)), np.ones((1, 1))),
        (np.array([[1, 1, 0, 0]]), np.array([[0, 0, 1, 0]])),
        (np.array([[1, 0, 0], [0, 0, 0]]), np.array([[0, 1, 0], [0, 1, 1]])),  # the second is in test alone
        (np.array([[1, 1, 1]]), np.array([[1, 1, 1]])),  # everything is masked
    ],
)
def test_degenerate_splits_give_finite_numbers(train: np.ndarray, test: np.ndarray) -> None:
    given = Split(sparse.csr_matrix(train, dtype=np.float32), None, sparse.csr_matrix(test, dtype=np.float32))
    report = run_split(given, 20, 0)
    assert all(0 <= row.recall <= 1 and 0 <= row.ndcg <= 1 for row in report.rows)
    assert report.n_evaluated == np.count_nonzero(test.any(axis=1))


def test_what_a_person_has_in_train_is_no_hit_where_the_list_is_longer_than_the_rest() -> None:
    train, test = np.array([[1, 1, 0], [1, 0, 1]]), np.array([[1, 0, 1], [0, 1, 0]])  # item 0 of the first is in both
    given = Split(sparse.csr_matrix(train, dtype=np.float32), None, sparse.csr_matrix(test, dtype=np.float32))
    for row in run_split(given, 20, 0).rows:
        assert row.recall == (1 / 2 + 1) / 2
        assert row.ndcg == pytest.approx((1 / (1 + 1 / np.log2(3)) + 1) / 2)


def test_without_validation_users_the_blend_is_popularity() -> None:
    train = sparse.csr_matrix((np.ones(50), (np.arange(50), np.arange(50) % 5)), (50, 7), np.float32)  # one item each
    test = sparse.csr_matrix((np.ones(50), (np.arange(50), (np.arange(50) * 3 + 1) % 7)), (50, 7), np.float32)
    for valid in (None, sparse.csr_matrix((50, 7), dtype=np.float32)):
        found = {row.name: row for row in run_split(Split(train, valid, test), 3, 0).rows}
        assert (found[BLEND].recall, found[BLEND].ndcg) == (found["popularity"].recall, found["popularity"].ndcg)


def test_a_user_without_a_positive_pair_in_train_gets_what_is_popular() -> None:
    train, test = np.zeros((41, 30)), np.zeros((41, 30))
    train[:40] = camps(40, 30).toarray()
    train[:30, 29] = 1  # the most popular item stands last
    test[40, 29] = 1
    given = Split(sparse.csr_matrix(train, dtype=np.float32), None, sparse.csr_matrix(test, dtype=np.float32))
    found = {row.name: row for row in run_split(given, 1, 0).rows}
    assert found["blend"].recall == found["popularity"].recall == 1


def test_all_formats_give_the_same_split(tmp_path: Path) -> None:
    train, test = np.array([[1, 1, 0], [0, 1, 1]]), np.array([[0, 0, 1], [1, 0, 0]])
    for name, matrix in (("train", train), ("test", test)):
        sparse.save_npz(tmp_path / f"{name}.npz", sparse.csr_matrix(matrix))
        rows, columns = np.nonzero(matrix)
        lines = [f"{row} {' '.join(map(str, np.flatnonzero(matrix[row])))}" for row in range(2)]
        (tmp_path / f"{name}.lightgcn").write_text("\n".join(lines) + "\n")
        pairs = [f"anna{row},item {column}" for row, column in zip(rows, columns, strict=True)]
        (tmp_path / f"{name}.pairs").write_text("\n".join(["user,item", *pairs, pairs[0]]) + "\n")
        signed = [f"{row} {column} 1.00" for row, column in zip(rows, columns, strict=True)]
        (tmp_path / f"{name}.signed").write_bytes(gzip.compress("\n".join(signed).encode()))
    for form in ("npz", "lightgcn", "pairs", "signed"):
        found = read_split(form, tmp_path / f"train.{form}", tmp_path / f"test.{form}")
        assert_array_equal(found.train.toarray(), train)
        assert_array_equal(found.test.toarray(), test)


def test_a_number_is_the_same_however_it_is_written_and_people_may_have_no_items(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("0 1 01 2\n1\n2 0\n")
    (tmp_path / "test").write_text("1 2\n")
    found = read_split("lightgcn", tmp_path / "train", tmp_path / "test")
    assert_array_equal(found.train.toarray(), [[0, 1, 1], [0, 0, 0], [1, 0, 0]])
    assert_array_equal(found.test.toarray(), [[0, 0, 0], [0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize("lines", ['"a, b","x, y",5\nc,z,1\n', "a, b\tx, y\t5\nc\tz\t1\n"])
def test_an_id_may_hold_the_separator_in_quotes_and_a_comma_between_tabs(tmp_path: Path, lines: str) -> None:
    (tmp_path / "train").write_text(lines)
    (tmp_path / "test").write_text('c,"x, y"\n')
    found = read_split("pairs", tmp_path / "train", tmp_path / "test")
    assert_array_equal(found.train.toarray(), [[1, 0], [0, 1]])
    assert_array_equal(found.test.toarray(), [[0, 0], [1, 0]])


def test_negative_labels_are_below_zero_and_a_pair_with_both_is_negative(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("a x 1.0\na y 0.0\na z 1\na z 0\n")
    (tmp_path / "test").write_text("b x 1\nb z 1\nb z 0\n")
    found = read_split("signed", tmp_path / "train", tmp_path / "test")
    assert_array_equal(found.train.toarray(), [[1, -1, -1], [0, 0, 0]])  # so that it is left out of the list
    assert_array_equal(found.test.toarray(), [[0, 0, 0], [1, 0, -1]])


@pytest.mark.parametrize(
    ("form", "text", "sentence"),
    [
        ("npz", "no matrix", "found no sparse matrix"),
        ("pairs", "", "found an empty file"),
        ("pairs", "only-one\n", r"line 1: found 1 values, expected 2"),
        ("signed", "a b\n", r"line 1: found 2 values, expected 3"),
        ("signed", "a b yes\n", r"line 1: found label 'yes', expected a number"),
        ("signed", "a b 0\n", "found no positive pair"),
        ("lightgcn", "0 1 x\n", r"line 1: found 'x', expected numbers only"),
        ("lightgcn", f"0 {'9' * 30}\n", r"line 1: found '9{30}', expected numbers only"),
    ],
)
def test_a_bad_file_is_refused_with_a_sentence(tmp_path: Path, form: str, text: str, sentence: str) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_split(form, tmp_path / "f", tmp_path / "f")


@pytest.mark.parametrize("form", ["npz", "pairs"])
@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00" + b"\xff" * 40, b"PK\x03\x04", b"\x80\x04"])
def test_a_broken_or_empty_file_is_refused_with_a_sentence(tmp_path: Path, form: str, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DataError, match="expected") as said:
        read_split(form, tmp_path / "f", tmp_path / "f")
    assert "pickle" not in str(said.value)


def test_the_command_prints_json_and_refuses_bad_files_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = split_entries(camps(80, 30), 0.3, np.random.default_rng(0))
    sparse.save_npz(tmp_path / "train.npz", train)
    sparse.save_npz(tmp_path / "test.npz", test)
    said = ["bench", "split", "--train", str(tmp_path / "train.npz"), "--test", str(tmp_path / "test.npz")]
    assert sanad.run([*said, "--format", "npz", "--k", "5", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["k"] == 5
    assert {row["name"] for row in found["rows"]} >= {"popularity", "blend"}
    assert sanad.run([*said, "--format", "pairs"]) == 2
    assert "expected a table of pairs" in capsys.readouterr().err
    assert sanad.run([*said, "--format", "csv"]) == 2
    assert "expected one of npz, lightgcn, pairs, signed" in capsys.readouterr().err


def test_results_of_one_set_leave_those_of_the_others(tmp_path: Path) -> None:
    report = run_split(split_of(camps(40, 30)), 5, 0)
    for name in ("b", "a", "b"):
        write_results(name, report, tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## a", "## b"]
