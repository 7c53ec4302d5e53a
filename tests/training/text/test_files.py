"""Laws of the commands about texts: `detect` and `embed`."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep

import numpy as np
import pytest
from typer.testing import CliRunner

from recsys.errors import ArtifactError, DataError
from recsys.models.artifact import Artifact
from recsys.types import Floats
from training.commands.text import app
from training.text.embeddings import CHUNK_TEXTS
from training.text.encoder import Encoder, EncoderParams, make_encoder
from training.text.files import TextFile, encode_file, read_texts, save_vectors

ROOT = Path(__file__).parents[3]


def encoder(fingerprint: str = "f1", dim: int = 16) -> Encoder:
    def run(texts: Sequence[str]) -> Floats:
        return np.array([[len(text), *([1.0] * (dim - 1))] for text in texts], np.float32)

    return Encoder(name="counting", fingerprint=fingerprint, dim=dim, batch_size=4, load=lambda: run)


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\n\r\ntwo", ["one", "", "two"]),
        (b"\xef\xbb\xbfone", ["one"]),
        (b"bad \xff byte", ["bad \ufffd byte"]),
        (b"", []),
    ],
)
def test_line_n_of_a_file_is_text_n(raw: bytes, texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(raw)
    assert read_texts(tmp_path / "a.txt") == TextFile(texts, [None] * len(texts))


def test_a_csv_may_say_languages_and_hold_long_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'language,text\nary,"two\nlines"\n,{"x" * 200_000}\n', "utf-8")
    found = read_texts(path)
    assert found.texts[0] == "two\nlines" and len(found.texts[1]) == 200_000
    assert found.languages == ["ary", None]
    path.write_text("caption\nx\n", "utf-8")
    with pytest.raises(DataError, match="found caption, expected a column 'text'"):
        read_texts(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(tmp_path / "nowhere.txt")


def test_a_csv_with_a_cell_beyond_every_transcript_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"text\nsalam\n{'a' * 10_000_001}\n")
    with pytest.raises(DataError, match="line 3: found no CSV"):
        read_texts(tmp_path / "t.csv")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("name", "mark"), [("t.CSV", ","), ("t.tsv", "\t")])
def test_tables_are_read_by_their_ending_plain_and_packed(
    name: str, mark: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / (name if pack is bytes else f"{name}.gz")
    path.write_bytes(pack(f"text{mark}language\nbonjour{mark}fr\n".encode()))
    assert read_texts(path) == TextFile(["bonjour"], ["fr"])


@pytest.mark.parametrize("row", ["bonjour, monde,fr", "bonjour"])
def test_a_row_with_more_or_fewer_fields_is_refused_with_its_line(row: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"text,language\nsalut,fr\n{row}\n")
    with pytest.raises(DataError, match=r"line 3: found (more|fewer) fields than the 2 of the first line"):
        read_texts(tmp_path / "t.csv")


def test_a_csv_with_something_else_for_a_language_names_every_row(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text,language\na,fr\nb,French\nc,ary-Latn\nd,x\n")
    with pytest.raises(DataError) as refused:
        read_texts(tmp_path / "texts.csv")
    assert [problem.split(": ")[1] for problem in refused.value.problems] == [
        "row 2, column language",
        "row 4, column language",
    ]


def test_detect_prints_one_object_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,language\nje ne sais pas pourquoi,\nsalam,ary\nⴰⵣⵓⵍ,\n,\n".encode() + b"\xff,\n")
    done = CliRunner().invoke(app, ["detect", str(path), "--json"])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert [row["language"] for row in rows] == ["fr", "ary-Latn", "zgh", "und", "und"]
    assert list(rows[0]) == ["language", "dialect", "script", "proportions", "confidence", "is_understood"]


def test_detect_shows_a_table_and_takes_a_declared_language(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("salam\n", "utf-8")
    done = CliRunner().invoke(app, ["detect", str(tmp_path / "a.txt"), "--declared", "ary"])
    assert done.exit_code == 0
    assert "ary-Latn" in done.stdout


def test_vectors_are_those_of_the_engine(tiny: Artifact, tmp_path: Path) -> None:
    texts = TextFile(["je ne sais pas pourquoi", "", "كنحس براسي عيان بزاف"], [None, None, "ary"])
    like = _with_encoder(tiny, "f1")
    found = encode_file(texts, encoder(), tmp_path, like)
    centres = like.spaces["text"].centres
    plain = encode_file(texts, encoder(), tmp_path)
    assert plain.n_reused == 2 and plain.centre == ()
    assert found.centre[0] == "fr" and found.centre[2] == "ary"
    assert found.vectors == pytest.approx(centres.apply(plain.vectors, list(found.centre)))
    assert not found.vectors[1].any()


def test_vectors_of_another_encoder_are_refused(tiny: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected the same; name the artifact's encoder"):
        encode_file(TextFile(["a"], [None]), encoder("f2"), tmp_path, _with_encoder(tiny, "f1"))


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.text.embeddings.CHUNK_TEXTS", 8)
    seen: list[str] = []

    def run(texts: Sequence[str]) -> Floats:
        if len(seen) >= 16:
            raise KeyboardInterrupt
        seen.extend(texts)
        return np.ones((len(texts), 16), np.float32)

    texts = TextFile([f"text {n}" for n in range(40)], [None] * 40)
    stopping = Encoder(name="stopping", fingerprint="f1", dim=16, batch_size=8, load=lambda: run)
    with pytest.raises(KeyboardInterrupt):
        encode_file(texts, stopping, tmp_path)
    found = encode_file(texts, encoder(), tmp_path)
    assert (found.n_encoded, found.n_reused) == (24, 16)


def test_a_file_of_vectors_says_what_they_are(tmp_path: Path) -> None:
    out = tmp_path / "v.npz"
    found = encode_file(TextFile(["a", ""], [None, None]), encoder(), tmp_path)
    save_vectors(out, found, encoder(), "")
    with np.load(out, allow_pickle=False) as stored:
        assert stored["vectors"].shape == (2, 16)
        assert str(stored["encoder"]) == "f1"
        assert str(stored["centred_like"]) == ""
    assert [path.name for path in tmp_path.glob(".writing*")] == []


@pytest.mark.slow
def test_embed_writes_vectors_with_the_small_encoder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("bonjour à tous\n\nsalam\n", "utf-8")
    command = ["embed", str(tmp_path / "a.txt"), "--out", str(tmp_path / "v.npz"), "--encoder", "use"]
    command += ["--cache", str(tmp_path / "cache")]
    first = CliRunner().invoke(app, command)
    again = CliRunner().invoke(app, command)
    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert "2 encoded now, 0 from the cache" in first.stderr
    assert "0 encoded now, 2 from the cache" in again.stderr
    with np.load(tmp_path / "v.npz", allow_pickle=False) as stored:
        assert np.linalg.norm(stored["vectors"], axis=1) == pytest.approx([1, 0, 1], abs=1e-5)


def _with_encoder(artifact: Artifact, fingerprint: str) -> Artifact:
    from dataclasses import replace

    import msgspec

    return replace(artifact, manifest=msgspec.structs.replace(artifact.manifest, encoder=fingerprint))


@pytest.mark.slow
def test_a_command_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """The real process and the real signal: what its last whole chunk holds is not encoded again."""
    texts = [f"caption number {n} about sleep" for n in range(3 * CHUNK_TEXTS)]
    (tmp_path / "texts.txt").write_text("\n".join(texts), "utf-8")
    arguments = ["embed", "texts.txt", "--out", "v.npz", "--encoder", "use", "--cache", "cache", "--quiet"]
    script = "import sys, sanad; sys.exit(sanad.run(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=tmp_path, env=environment)
    chunks = tmp_path / "cache" / "embeddings"
    while not list(chunks.rglob("*.npy")):
        assert process.poll() is None, "it ended before it could be killed"
        sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "v.npz").exists()
    n_kept = sum(len(np.load(path)) for path in chunks.rglob("*.npy"))
    assert CHUNK_TEXTS <= n_kept < len(texts)

    use = make_encoder(EncoderParams(model="use"), tmp_path / "cache")
    found = encode_file(read_texts(tmp_path / "texts.txt"), use, tmp_path / "cache")
    assert (found.n_reused, found.n_encoded) == (n_kept, len(texts) - n_kept)
    some = [0, CHUNK_TEXTS, 3 * CHUNK_TEXTS - 1]
    assert found.vectors[some] == pytest.approx(use.encode([texts[n] for n in some]), abs=1e-6)
