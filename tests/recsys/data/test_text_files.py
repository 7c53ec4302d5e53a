"""Laws of text in data files: dialects that are read, and damage that is said with the file and the line."""

import gzip
from collections.abc import Callable

import pytest

from recsys.data.tables import read_dataset
from recsys.errors import DataError
from tests.recsys.data.conftest import EVENTS, Files

HEADER, FIRST, SECOND = EVENTS.splitlines()
BOM = b"\xef\xbb\xbf"
READ: dict[str, bytes] = {
    "byte order mark": BOM + EVENTS.encode(),
    "byte order mark and quotes": BOM + ('"event_id"' + EVENTS.removeprefix("event_id")).encode(),
    "CR LF": EVENTS.replace("\n", "\r\n").encode(),
    "CR alone": EVENTS.replace("\n", "\r").encode(),
    "no end of the last line": EVENTS.rstrip().encode(),
    "blank lines": f"\n{HEADER}\n\n{FIRST}\n   \n,,,,\n{SECOND}\n\r\n\n".encode(),
    "gzip under a plain name": gzip.compress(EVENTS.encode()),
}


@pytest.mark.parametrize("name", READ)
def test_a_dialect_gives_the_same_rows(files: Files, name: str) -> None:
    events = read_dataset(files(events={"events.csv": READ[name]})).events.collect()
    assert events["event_id"].to_list() == ["e1", "e2"]
    assert events["item_id"].to_list() == ["v1", "v1"]


@pytest.mark.parametrize(
    ("cell", "title"),
    [
        (r'"say \"hi\", you"', 'say "hi", you'),
        ('"say ""hi"", you"', 'say "hi", you'),
        (r'"C:\dir\"', "C:\\dir\\"),
        (r'"ends \"so\""', 'ends "so"'),
        ('"two\nlines"', "two\nlines"),
        (r"back\slash", r"back\slash"),
    ],
)
def test_quotes_are_read_as_written_in_either_dialect(files: Files, cell: str, title: str) -> None:
    items = f"item_id,creator_id,published_at,title,risk_tier\nv1,c1,2026-01-01T00:00:00Z,{cell},R0\n"
    assert read_dataset(files(items={"items.csv": items.encode()})).items.collect()["title"].to_list() == [title]


def test_an_empty_text_is_unknown_in_quotes_and_without(files: Files) -> None:
    users = b'user_id,country,guardian_id,consent,joined_at,languages\nu1,"","","","",""\nu2,,,,,\n'
    rows = read_dataset(files(users={"users.csv": users})).users.collect()
    assert rows.drop("user_id").null_count().row(0) == (2,) * (rows.width - 1)


def test_a_byte_order_mark_before_json_and_blank_lines_are_no_rows(files: Files) -> None:
    lines = BOM + b'{"user_id": "u1", "country": ""}\n\n  \r\n{"user_id": "u2"}\n'
    rows = read_dataset(files(users={"users.jsonl": lines})).users.collect()
    assert rows.select("user_id", "country").rows() == [("u1", None), ("u2", None)]


def zipped_half(text: str) -> bytes:
    packed = gzip.compress((text * 500).encode())
    return packed[: len(packed) // 2]


def zipped_with_a_flipped_bit(text: str) -> bytes:
    packed = bytearray(gzip.compress((text * 50).encode()))
    packed[-6] ^= 4  # in the checksum
    return bytes(packed)


DAMAGED: dict[str, tuple[str, bytes, str]] = {
    "half a download": ("events.csv.gz", zipped_half(EVENTS), "events.csv.gz ends too early"),
    "a flipped bit": ("events.csv.gz", zipped_with_a_flipped_bit(EVENTS), "events.csv.gz cannot be read"),
    "a last line that is cut off": ("events.csv", EVENTS.encode()[:-25], "line 3 of events.csv is cut off"),
    "another separator": ("events.csv", EVENTS.replace(",", ";").encode(),
                          "line 1 of events.csv: found the header 'event_id;user_id;kind;at;item_id'"),
    "tabs under .csv": ("events.csv", EVENTS.replace(",", "\t").encode(), "or name it .tsv"),
    "commas under .tsv": ("events.tsv", EVENTS.encode(), "expected columns divided by tabs"),
    "another case": ("events.csv", EVENTS.replace("user_id", "User_ID").encode(),
                     "line 1 of events.csv: found the column 'User_ID', expected 'user_id'"),
    "a blank in the header": ("events.csv", EVENTS.replace("user_id", " user_id").encode(), "' user_id', expected"),
    "an unknown header": ("events.csv", b"visitorid,itemid\n1,2\n", "line 1 of events.csv: found no column of"),
    "no header": ("events.csv", f"{FIRST}\n{SECOND}\n".encode(), "found no column of the table events among 'e1, u1"),
    "a column twice": ("events.csv", EVENTS.replace("item_id", "kind").encode(), "found the column 'kind' twice"),
    "UTF-16": ("events.csv", EVENTS.encode("utf-16"), "events.csv: found UTF-16"),
    "a spreadsheet": ("events.csv", b"PK\x03\x04rest", "events.csv: found a zip archive"),
    "Parquet under .csv": ("events.csv", b"PAR1restPAR1", "call it .parquet"),
    "half of Parquet": ("events.parquet", b"PAR1" + b"x" * 40, "events.parquet ends too early"),
    "no Parquet": ("events.parquet", EVENTS.encode(), "found b'even' at its beginning, expected Parquet"),
    "Latin-1": ("events.csv", EVENTS.replace("e2", "é2").encode("latin-1"), "line 3 of events.csv holds the byte 0xe9"),
    "NaN": ("events.jsonl", b'{"event_id": "NaN"}\n{"event_id": "e1", "watch_s": NaN}\n',
            "line 2 of events.jsonl, column 'watch_s': found NaN"),
    "NaN behind many quotes": ("events.jsonl", b'{"event_id": "' + b'\\"' * 500_000 + b'", "watch_s": NaN}\n',
                               "line 1 of events.jsonl, column 'watch_s': found NaN"),
    "a torn line of many quotes": ("events.jsonl", b'{"event_id": "e1"}\n{"event_id": "' + b'\\"' * 500_000,
                                   "line 2 of events.jsonl is cut off"),
    "a torn line": ("events.jsonl", b'{"event_id": "e1"}\n{"event_id": "e', "line 2 of events.jsonl is cut off"),
    "a line without its beginning": ("events.jsonl", b'{"event_id": "e1"}\nent_id": "e"}\n', "line 2 of events.jsonl"),
    "an object as a value": ("events.jsonl", b'{"event_id": {"a": 1}}\n', "line 1 of events.jsonl, column 'event_id'"),
    "a list as an id": ("events.jsonl", b'{"event_id": ["a"]}\n', "column 'event_id': found '[\"a\"]', expected one"),
    "two objects in a line": ("events.jsonl", b'{"event_id": "e1"}{"event_id": "e2"}\n', "line 1 of events.jsonl"),
    "a list of objects": ("events.json", b'[{"event_id": "e1"}]', "expected one JSON object per line"),
    "CR between objects": ("events.jsonl", b'{"event_id": "e1"}\r{"event_id": "e2"}', "lines that end in CR only"),
    "half a character": ("events.jsonl", b'{"event_id": "\\ud83d"}\n', "line 1 of events.jsonl is not one JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_said_with_the_file_and_the_line(files: Files, name: str) -> None:
    file, content, sentence = DAMAGED[name]
    with pytest.raises(DataError) as caught:
        read_dataset(files(events={file: content}))
    assert sentence in str(caught.value)
    assert all(problem.startswith("table events: ") for problem in caught.value.problems)


LATE: dict[str, Callable[[], tuple[str, bytes, str]]] = {
    "too many fields": lambda: ("events.csv", f"{HEADER}\n{FIRST}\n{SECOND},x\n".encode(), "line 3 of events.csv"),
    "a quote in a field": lambda: ("events.csv", f'{HEADER}\n"a" b{FIRST}\n'.encode(), "line 2 of events.csv"),
    "a number without end": lambda: (
        "events.jsonl", b'{"event_id": "e1", "watch_s": 1e999}\n', "line 1 of events.jsonl"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LATE)
def test_what_only_reading_finds_is_said_with_its_line_too(files: Files, name: str) -> None:
    from recsys.clock import from_text
    from training.validate import validate

    file, content, sentence = LATE[name]()
    if file.endswith("jsonl"):
        rest = b'{"event_id": "e", "user_id": "u1", "kind": "view", "at": 0, "item_id": "v1"}\n'
        content = content + rest
    with pytest.raises(DataError) as caught:
        validate(files(events={file: content}), at=from_text("2026-02-01T00:00:00Z"))
    assert sentence in str(caught.value)
