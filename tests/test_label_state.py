"""`sanad label --state` beside a running service, over real sockets: what waits is labelled and binds the next page."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

import sanad
from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.clock import Millis, from_text, to_text
from recsys.data.tables import write_dataset
from recsys.types import Fields
from serving.deadline import MAX_DEADLINE_MS
from serving.run import run_in_thread
from serving.settings import Settings
from training.params import TrainParams
from training.text.encoder import EncoderParams
from training.train import run

EVENING: Millis = from_text("2026-11-20T18:30:00Z")
ADULT = {"age_band": "18+", "age_source": "verified", "country": "MA", "languages": ["fr", "ary"]}
CALM = {"creator_id": "c0001", "published_at": "2026-11-20T18:00:00Z", "title": "un dimanche au jardin",
        "language": "fr", "topics": ["S3"], "risk_tier": "R0", "risk_source": "platform"}  # fmt: skip

Call = Callable[..., Any]
Label = Callable[[], Fields]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a small world, with heads that know the demo's phrases, and the cache of its vectors."""
    folder = tmp_path_factory.mktemp("label-state")
    made = generate(WorldParams(n_items=1_500, n_users=40, n_events=3_000, seed=3))
    write_dataset(folder / "data", creators=made.creators, items=made.items, users=made.users, events=made.events)
    params = TrainParams(encoder=EncoderParams(model="use"))
    run(folder / "data", folder / "artifact", params, EVENING, cache=folder / "cache")
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The service's state file."""
    return tmp_path / "state.db"


@pytest.fixture
def call(folder: Path, state: Path) -> Iterator[Call]:
    """`call("GET", "/v1/...")`: the answer of a service that runs for the whole test."""
    chosen = Settings(artifact=folder / "artifact", state=state, port=0, deadline_ms=MAX_DEADLINE_MS)
    with run_in_thread(chosen, clock=lambda: EVENING) as url:

        def do(method: str, path: str, body: Any = None) -> Any:
            answer = httpx.request(method, url + path, json=body, timeout=30)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield do


@pytest.fixture
def label(folder: Path, state: Path, capfd: pytest.CaptureFixture[str]) -> Label:
    """Runs the command beside the service; what it says as JSON."""

    def do() -> Fields:
        capfd.readouterr()
        arguments = ["--state", state, "--artifact", folder / "artifact", "--cache", folder / "cache"]
        code = sanad.run(["label", *map(str, arguments), "--at", to_text(EVENING), "--json", "--quiet"])
        out, err = capfd.readouterr()
        assert code == 0, err
        found: Fields = json.loads(out)
        return found

    return do


def heavy(folder: Path, language: str) -> list[dict[str, str]]:
    """What eight items say that people called R2 and the heads are sure of."""
    items = pl.read_parquet(folder / "artifact" / "items.parquet")
    is_sure = (pl.col("risk_tier") == "R2") & (pl.col("label_confidence") > 0.9)
    return items.filter(is_sure & (pl.col("language") == language)).select("title", "text").head(8).to_dicts()


def page(call: Call, *item_ids: str, user_id: str = "adult") -> list[tuple[str, str]]:
    """Items and tiers of a page out of these items."""
    asked = {"user_id": user_id, "candidate_ids": list(item_ids), "size": 10}
    return [(item["item_id"], item["tier"]) for item in call("POST", "/v1/feed", asked)["items"]]


def n_r2(call: Call) -> int:
    """How many R2 exposures of the last 24 hours the ledger counts."""
    used: int = call("GET", "/v1/users/adult/exposure")["counters"]["R2"]["rolling_24h"]["used"]
    return used


def test_attack_07_an_edited_item_is_read_again_and_its_past_exposure_counts(
    call: Call, label: Label, folder: Path
) -> None:
    """Calm words, a label, an audience, then other words under the old label: the job reads them, the past counts."""
    call("PUT", "/v1/users/adult", ADULT)
    call("PUT", "/v1/items/swapped", CALM)
    assert page(call, "swapped") == [("swapped", "R0")]
    assert n_r2(call) == 0
    call("PATCH", "/v1/items/swapped", heavy(folder, "fr")[0] | {"risk_tier": "R0", "risk_source": "platform"})
    assert [(row["before"], row["now"]) for row in label()["raised"]] == [("R0", "R2")]
    page(call, "v00001")  # reads the new revision
    assert n_r2(call) == 1
    assert label()["n_labelled"] == 0


def zero_width(text: str) -> str:
    return "\u200b".join(text)


def look_alike(text: str) -> str:
    """Latin letters as the Cyrillic ones that look the same."""
    return text.translate(str.maketrans("aeopcx", "\u0430\u0435\u043e\u0440\u0441\u0445"))


def drawn_out(text: str) -> str:
    """The last letter of every word five times, in full-width capitals."""
    return " ".join(
        "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in w + w[-1] * 4) for w in text.split()
    )


def turned(text: str) -> str:
    return f"\u202e{text}\u202c"


DISGUISES = (zero_width, look_alike, drawn_out, turned)


@pytest.mark.parametrize("language", ["fr", "ary-Latn"])
def test_attack_08_disguised_words_are_read_like_plain_ones(
    call: Call, label: Label, folder: Path, language: str
) -> None:
    """Arabizi with its digits, and letters that are not what they seem, on items that the platform calls calm."""
    said = heavy(folder, language)
    for n, words in enumerate(said):
        for disguise in (str, *DISGUISES):
            hidden = {name: disguise(text) for name, text in words.items()}
            call("PUT", f"/v1/items/{disguise.__name__}-{n}", {**CALM, **hidden, "language": None})
    raised = [row["item_id"].split("-")[0] for row in label()["raised"] if row["now"] >= "R2"]
    found = {disguise.__name__: raised.count(disguise.__name__) for disguise in (str, *DISGUISES)}
    assert found["str"] == len(said) == 8
    assert min(found.values()) >= 7, found


def test_attack_08_mixed_speech_is_read_too(call: Call, label: Label, folder: Path) -> None:
    for n, (fr, arabizi) in enumerate(zip(heavy(folder, "fr"), heavy(folder, "ary-Latn"), strict=True)):
        both = {"title": f"{arabizi['title']}, {fr['title']}", "text": f"{fr['text']} {arabizi['text']}"}
        call("PUT", f"/v1/items/mixed-{n}", {**CALM, **both, "language": None})
    assert sum(row["now"] >= "R2" for row in label()["raised"]) >= 7


def test_attack_22_a_raise_that_was_wrong_ends_with_a_review(call: Call, label: Label, folder: Path) -> None:
    """Words of despair quoted by somebody who got out: raised by us, put right by a person, and not raised again."""
    call("PUT", "/v1/users/adult", ADULT)
    words = heavy(folder, "fr")[0]
    own = {"title": f"{words['title']} (mon histoire)"}  # the very words of an R2 item would be a copy of it
    call("PUT", "/v1/items/survivor", CALM | words | own)
    assert [row["item_id"] for row in label()["raised"]] == ["survivor"]  # what a reviewer is shown
    assert page(call, "survivor") == [("survivor", "R2")]
    call("PATCH", "/v1/items/survivor", {"risk_tier": "R0", "topics": ["S4"], "risk_source": "human"})
    assert label()["n_labelled"] == 0
    call("PUT", "/v1/users/other", ADULT)
    assert page(call, "survivor", user_id="other") == [("survivor", "R0")]
