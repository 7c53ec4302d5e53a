"""Cursors, artifacts and policies that somebody changed: each is a sentence, and nothing of them is served."""

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.errors import ArtifactError, ConfigError, StageError
from recsys.feed.engine import Engine, feed
from recsys.messages import FeedRequest
from recsys.models.artifact import load_artifact
from recsys.models.loaded import build_models
from recsys.models.manifest import read_manifest, sealed
from recsys.policy.checks import market_of
from recsys.policy.compiled import CompiledPolicy
from serving.run import open_engine
from serving.settings import Settings

ROOT = Path(__file__).parents[2]
POLICY = (ROOT / "policies" / "morocco.yaml").read_text("utf-8")
LINES = POLICY.splitlines()
BOUNDED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NOW = 1_795_000_000_000


@pytest.fixture(scope="module")
def engine(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    chosen = Settings(artifact=tiny_folder, state=tmp_path_factory.mktemp("fuzz") / "state.db", port=0)
    with open_engine(chosen, clock=lambda: NOW) as opened:
        yield opened


def cursor_of(engine: Engine, user_id: str) -> str:
    page = json.loads(feed(engine, FeedRequest(user_id=user_id, size=2), NOW).answer)
    cursor: str = page["cursor"]
    return cursor


def mutate(data: st.DataObject, text: bytes) -> bytes:
    """Bytes that differ from those that are given: cut, changed, doubled, or with something put in."""
    place = data.draw(st.integers(0, len(text) - 1))
    kind = data.draw(st.sampled_from(["cut", "change", "double", "insert"]))
    if kind == "cut":
        return text[:place]
    if kind == "double":
        return text[:place] + text
    if kind == "insert":
        return text[:place] + data.draw(st.binary(min_size=1, max_size=8)) + text[place:]
    return text[:place] + bytes([text[place] ^ data.draw(st.integers(1, 255))]) + text[place + 1 :]


@BOUNDED
@given(st.data())
def test_no_cursor_but_the_one_that_was_signed_is_read(engine: Engine, data: st.DataObject) -> None:
    good = cursor_of(engine, "casa-adult")
    forged = mutate(data, good.encode()).decode("utf-8", "replace")
    if forged == good:
        return
    for user_id in ("casa-adult", "somebody-else"):
        request = FeedRequest(user_id=user_id, size=2, cursor=forged)
        with pytest.raises(Exception) as raised:
            feed(engine, request, NOW)
        assert type(raised.value).__name__ in ("DataError", "Gone"), raised.value
    assert engine.stores.decisions.newest(1)


@BOUNDED
@given(st.text(max_size=200))
def test_no_text_is_a_cursor(engine: Engine, text: str) -> None:
    with pytest.raises(Exception) as raised:
        feed(engine, FeedRequest(user_id="casa-adult", cursor=text), NOW)
    assert type(raised.value).__name__ in ("DataError", "Gone"), raised.value


@pytest.fixture(scope="module")
def copied(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("broken") / "artifact"))


@BOUNDED
@given(st.data())
def test_a_changed_artifact_is_refused_whole(copied: Path, data: st.DataObject) -> None:
    files = sorted(path for path in copied.iterdir() if path.is_file() and path.stat().st_size)
    file = data.draw(st.sampled_from(files))
    before = file.read_bytes()
    changed = mutate(data, before)
    file.write_bytes(changed)
    try:
        if changed != before:
            with pytest.raises(ArtifactError):
                load_artifact(copied)
    finally:
        file.write_bytes(before)


def test_a_manifest_that_says_something_else_is_refused(copied: Path) -> None:
    """Or the same in other words: each byte of it is checked, since no other file tells what it said."""
    path = copied / "manifest.json"
    before = path.read_bytes()
    assumed = before.replace(b'"risk_source": "labelled"', b'"risk_source": "assumed"')
    for changed in (assumed, before.replace(b": ", b":", 1), before + b"\n"):
        assert changed != before
        json.loads(changed)
        path.write_bytes(changed)
        try:
            with pytest.raises(ArtifactError, match=r"manifest\.json .*altered or damaged; copy the artifact again"):
                load_artifact(copied)
        finally:
            path.write_bytes(before)


def test_a_manifest_without_its_own_checksum_is_that_of_an_earlier_version(copied: Path) -> None:
    path = copied / "manifest.json"
    before, (manifest, version) = path.read_bytes(), read_manifest(copied)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, sha256=msgspec.UNSET)))
    try:
        assert load_artifact(copied).version != version
    finally:
        path.write_bytes(before)


@BOUNDED
@given(st.data())
def test_an_artifact_that_was_changed_and_signed_again_ends_in_no_other_error(
    copied: Path, data: st.DataObject
) -> None:
    """Whoever can write the folder can write its checksums too: then what does not fit is still a sentence."""
    path = copied / "manifest.json"
    text, (manifest, _) = path.read_bytes(), read_manifest(copied)
    name = data.draw(st.sampled_from(sorted(manifest.files)))
    file = copied / name
    before = file.read_bytes()
    changed = mutate(data, before)
    file.write_bytes(changed)
    signed = {**manifest.files, name: sha256(changed).hexdigest()}
    path.write_bytes(sealed(msgspec.structs.replace(manifest, files=signed)))
    try:
        with np.errstate(all="ignore"):  # numbers that were changed may be huge
            build_models(load_artifact(copied))
    except (ArtifactError, StageError):
        pass
    finally:
        file.write_bytes(before)
        path.write_bytes(text)


WORDS: Any = st.sampled_from(
    ["", "null", "-1", "1e999", ".nan", "[]", "{}", "yes", "*a", "&a x", "!!python/object:os.x", "R9", "0x10", "'"]
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_changed_policy_is_a_policy_or_a_sentence(data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "value", "indent", "bytes"]))
        key, colon, _ = lines[number].partition(":")
        new = {
            "drop": [], "double": [lines[number]] * 2, "value": [f"{key}{colon} {data.draw(WORDS)}"],
            "indent": [f"  {lines[number]}"], "bytes": [data.draw(st.text(max_size=30))],
        }[kind]  # fmt: skip
        lines[number : number + 1] = new
    try:
        CompiledPolicy(market_of("\n".join(lines)))
    except ConfigError as error:
        assert all(error.problems)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_no_text_at_all_ends_the_reading_of_a_policy_but_by_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError):
        market_of(text)
