"""Service keys: shown once, kept as digests, changed while the service runs, bounded each for itself."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sanad
from recsys.errors import ConfigError
from serving.auth.keys import Keyring, ServiceKey, change_keys, keys_of, new_key, read_keys
from serving.auth.rates import Bucket
from serving.auth.scopes import SCOPES
from tests.serving.conftest import NOON, Open


def sanad_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> object:
    assert sanad.run([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_file_holds_no_key_and_is_for_its_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "keys.json"
    made = sanad_json(capsys, "key", "new", "app", "--scope", "events", "--scope", "feed", "--key-file", file)
    assert isinstance(made, dict) and made["scopes"] == ["feed", "events"]
    text = made["key"]
    assert text not in file.read_text() and hashlib.sha256(text.encode()).hexdigest() in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]
    found = Keyring(read_keys(file), is_open=False).find(text.encode())
    assert found is not None and (found.name, found.id) == ("app", made["id"])


def test_a_list_says_what_there_is_and_a_revoked_key_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.json"
    common = ("--scope", "feed", "--key-file", file)
    old, new = (sanad_json(capsys, "key", "new", "app", *common) for _ in range(2))
    assert isinstance(old, dict) and isinstance(new, dict)
    listed = sanad_json(capsys, "key", "list", "--key-file", file)
    assert isinstance(listed, list) and [row["id"] for row in listed] == [old["id"], new["id"]]
    assert "digest" not in str(listed)
    assert sanad.run(["key", "revoke", old["id"], "--key-file", str(file)]) == 0
    assert [key.id for key in read_keys(file)] == [new["id"]]
    assert sanad.run(["key", "revoke", old["id"], "--key-file", str(file)]) == 2
    assert f"found no key '{old['id']}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["new", "app", "--scope", "feeds"], "found 'feeds', expected one of feed, events"),
        (["new", "local", "--scope", "feed"], "expected a name of letters"),
        (["new", "a b", "--scope", "feed"], "expected a name of letters"),
        (["new", "a\n", "--scope", "feed"], "expected a name of letters"),
        (["new", "app", "--scope", "feed", "--per-second", "0"], "per-second: found"),
        (["new", "app", "--scope", "feed", "--per-second", "nan"], "per-second: found nan, expected above 0"),
        (["list"], "make it with: sanad key new"),
    ],
)
def test_what_cannot_be_a_key_is_refused(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.json"
    assert sanad.run(["key", *arguments, "--key-file", str(file)]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not file.exists()


KEY = {"name": "app", "digest": "0" * 64, "scopes": ["feed"]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "truncated"),
        ('{"keys": {}}', "array"),
        (json.dumps({"keys": [KEY], "more": 1}), "more"),
        (json.dumps({"keys": [{**KEY, "scope": 1}]}), "scope"),
        (json.dumps({"keys": [{**KEY, "scopes": []}]}), "length >= 1"),
        (json.dumps({"keys": [{**KEY, "scopes": ["root"]}]}), "root"),
        (json.dumps({"keys": [{**KEY, "digest": "0" * 63}]}), "regex"),
        (json.dumps({"keys": [{**KEY, "digest": "0" * 64 + "\n"}]}), "regex"),
        (json.dumps({"keys": [KEY, KEY]}), "each once"),
        ("\ud83d", "malformed"),
    ],
)
def test_a_file_that_cannot_be_is_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=f"(?i){sentence}"):
        read_keys(file)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    change_keys(file, lambda keys: keys)
    file.chmod(0o620)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(file)


def test_changes_at_once_follow_each_other(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"

    def add(number: int) -> None:
        key = new_key(f"k{number}", ["feed"], None, NOON)[1]
        change_keys(file, lambda keys: (*keys, key))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert {key.name for key in read_keys(file)} == {f"k{n}" for n in range(24)}


def test_digests_of_the_variable_may_do_everything_unless_the_file_says_less(tmp_path: Path) -> None:
    key = new_key("app", ["feed"], None, NOON)[1]
    file = tmp_path / "keys.json"
    change_keys(file, lambda keys: (key,))
    found = keys_of([f"old:{'a' * 64}", "b" * 64, f"wide:{key.digest}"], file)
    assert [(known.name, known.scopes) for known in found] == [
        ("app", ("feed",)), ("old", SCOPES), ("key bbbbbbbb", SCOPES),
    ]  # fmt: skip


def test_a_file_without_keys_lets_nobody_in(open_service: Open, tmp_path: Path) -> None:
    change_keys(tmp_path / "keys.json", lambda keys: keys)
    with open_service(key_file=tmp_path / "keys.json") as client:
        assert client.get("/v1/version").status_code == 401
        assert client.get("/health/live").status_code == 200


class Watch:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@given(
    st.floats(0.05, 50),
    st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_no_stretch_of_time_has_more_than_its_rate_and_one_burst(rate: float, gaps: list[float]) -> None:
    watch = Watch()
    bucket = Bucket(rate, watch)
    taken: list[float] = []
    for gap in gaps:
        watch.at += gap
        wait_s = bucket.wait_s()
        assert wait_s >= 0
        if wait_s == 0:
            taken.append(watch.at)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= max(1.0, rate) + (taken[last] - taken[first]) * rate + 1e-6


@given(st.floats(0.05, 50))
def test_after_the_wait_there_is_a_place(rate: float) -> None:
    watch = Watch()
    bucket = Bucket(rate, watch)
    while not (wait_s := bucket.wait_s()):
        pass
    watch.at += wait_s * (1 + 1e-9)
    assert bucket.wait_s() == 0


def test_a_key_that_asks_too_often_waits_and_no_other_does(open_service: Open, tmp_path: Path) -> None:
    texts = []
    for per_second in (0.001, None):
        text, key = new_key("app", ["feed"], per_second, NOON)
        texts.append(text)
        change_keys(tmp_path / "keys.json", lambda keys, key=key: (*keys, key))
    with open_service(key_file=tmp_path / "keys.json") as client:
        slow, free = ([client.get("/v1/version", headers={"X-API-Key": text}) for _ in range(3)] for text in texts)
    assert [answer.status_code for answer in slow] == [200, 429, 429]
    assert 900 < int(slow[1].headers["retry-after"]) <= 1_000
    assert slow[1].json()["type"] == "urn:sanad:problem:rate"
    assert [answer.status_code for answer in free] == [200, 200, 200]


def test_other_keys_do_not_fill_the_bucket_of_one_that_stays() -> None:
    key = ServiceKey(name="app", digest="a" * 64, scopes=("feed",), per_second=0.001)
    ring = Keyring([key], is_open=False)
    assert ring.wait_s(key) == 0
    ring.replace([key, ServiceKey(name="app", digest="b" * 64, scopes=("feed",), per_second=0.001)])
    assert ring.wait_s(key) > 0
